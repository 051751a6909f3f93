-- The first statement of every batch that changes runs. The statements behind it see everything that
-- was committed before the last of these locks was had; a statement that locked for itself
-- would see a snapshot older than its lock. FOR NO KEY UPDATE lets rows that refer to these be
-- inserted meanwhile.
SELECT FROM work_orders
WHERE (project_id, id) IN (SELECT * FROM {{rows m project_id uuid, id uuid}})
ORDER BY project_id, id
FOR NO KEY UPDATE

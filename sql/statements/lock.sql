-- The first statement of every batch that changes runs. The statements that follow see everything that was
-- committed before the last of these locks was acquired; a statement that both locks and reads would read a
-- snapshot older than its lock. FOR NO KEY UPDATE allows rows that refer to these to be inserted meanwhile.
SELECT FROM work_orders
WHERE (project_id, id) IN (SELECT * FROM {{rows m project_id uuid, id uuid}})
ORDER BY project_id, id
FOR NO KEY UPDATE

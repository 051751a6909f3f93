-- The next work orders to delete, behind the id $3, locked in the order in which all transactions lock them.
SELECT id FROM work_orders
WHERE project_id = $1 AND ($2::uuid IS NULL OR workflow_id = $2) AND id > $3
ORDER BY id
LIMIT 200
FOR UPDATE

-- Waiting runs of the workflow $2 of the project $1, a hundred at most, with their work orders.
SELECT w.run_id, r.work_order_id
FROM (SELECT * FROM waiting WHERE project_id = $1 AND workflow_id = $2 LIMIT 100) w
JOIN runs r ON r.project_id = w.project_id AND r.id = w.run_id
ORDER BY r.work_order_id

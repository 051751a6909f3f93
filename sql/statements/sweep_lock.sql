-- Locks the work orders of the runs that were found. Those that another transaction has locked are skipped; the next
-- sweep, or another coordinator's janitor, finds them again.
-- columns: project_id, id
SELECT o.project_id, o.id
FROM (SELECT DISTINCT * FROM {{rows m project_id uuid, id uuid}} ORDER BY 1, 2) m
CROSS JOIN LATERAL (
	SELECT project_id, id FROM work_orders
	WHERE project_id = m.project_id AND id = m.id
	LIMIT 1
	FOR NO KEY UPDATE SKIP LOCKED) o

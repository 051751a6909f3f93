-- The work orders of what was found, as far as no other transaction has them locked; the rest is for the next sweep, or
-- for another coordinator's janitor.
-- columns: project_id, id
SELECT o.project_id, o.id
FROM (SELECT DISTINCT * FROM {{rows m project_id uuid, id uuid}} ORDER BY 1, 2) m
CROSS JOIN LATERAL (
	SELECT project_id, id FROM work_orders
	WHERE project_id = m.project_id AND id = m.id
	LIMIT 1
	FOR NO KEY UPDATE SKIP LOCKED) o

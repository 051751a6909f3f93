-- The work orders of what was found, as far as nobody else is at work on them; the rest is for the next sweep, or
-- for another coordinator's janitor.
SELECT o.project_id, o.id
FROM work_orders o
WHERE (o.project_id, o.id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
ORDER BY o.project_id, o.id
FOR NO KEY UPDATE SKIP LOCKED

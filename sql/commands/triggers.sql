-- The triggers of the workflow $1 (id or name; NULL: all). A trigger that is not runnable has no enabled edge.
SELECT g.id AS trigger, g.type, w.name AS workflow, p.name AS project, g.enabled, g.runnable, cardinality(g.keys) AS keys
FROM triggers g
JOIN workflows w ON w.project_id = g.project_id AND w.id = g.workflow_id
JOIN projects p ON p.id = g.project_id
WHERE $1::text IS NULL OR w.name = $1 OR w.id::text = lower($1)
ORDER BY p.name, w.name, g.id

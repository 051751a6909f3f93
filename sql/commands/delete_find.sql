-- What the id $1 is, a project or a workflow, with its name and project; a row for each of its workflows, and one
-- without for a project that has none.
SELECT 'project' AS kind, p.name, p.id AS project_id, w.id AS workflow_id
FROM projects p LEFT JOIN workflows w ON w.project_id = p.id
WHERE p.id = $1
UNION ALL
SELECT 'workflow', w.name, w.project_id, w.id FROM workflows w WHERE w.id = $1
ORDER BY kind, workflow_id

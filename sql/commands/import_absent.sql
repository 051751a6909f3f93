-- Workflows of the project $1 that are not archived and not among $2, the workflows of its file.
SELECT id, name FROM workflows
WHERE project_id = $1 AND archived_at IS NULL
	AND id NOT IN (SELECT (v->>'id')::uuid FROM json_array_elements($2::json) v)
ORDER BY name, id

-- The project $1 as `interlock import` takes it, without what is archived: one JSON object, and no row if there is no
-- such project. Credentials are listed without their bodies.
SELECT json_strip_nulls(json_build_object(
	'id', p.id,
	'name', p.name,
	'concurrency', p.concurrency,
	'save_dataclips', p.save_dataclips,
	'options', p.options,
	'workflows', (
		SELECT coalesce(json_agg(json_build_object(
			'id', w.id,
			'name', w.name,
			'concurrency', w.concurrency,
			'triggers', (
				SELECT coalesce(json_agg(json_build_object('id', t.id, 'type', t.type, 'enabled', t.enabled,
					'keys', t.keys) ORDER BY b.i), '[]')
				FROM json_array_elements(s.body::json->'triggers') WITH ORDINALITY b(v, i)
				JOIN triggers t ON t.project_id = w.project_id AND t.id = (b.v->>'id')::uuid),
			'jobs', s.body::json->'jobs',
			'edges', s.body::json->'edges') ORDER BY w.name, w.id), '[]')
		FROM workflows w
		JOIN snapshots s ON s.project_id = w.project_id AND s.id = w.snapshot_id
		WHERE w.project_id = p.id AND w.archived_at IS NULL))) AS project
FROM projects p
WHERE p.id = $1

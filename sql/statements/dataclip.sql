-- fetch:dataclip: the run's own input, whatever id was asked for.
-- columns: ord, verdict, type, body, request
SELECT m.ord, 'accepted' AS verdict, d.type, d.body, d.request
FROM {{input project_id uuid, run_id uuid}}
LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
LEFT JOIN dataclips d ON d.project_id = r.project_id AND d.id = r.dataclip_id
ORDER BY m.ord

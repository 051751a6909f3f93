-- fetch:dataclip: the run's own input, whatever id was asked for, for the run's present worker. Of one that is larger than
-- `largest` only the size comes: it is fetched alone, when there is room for it.
-- columns: ord, verdict, type, size, body, request
SELECT m.ord, CASE WHEN r.id IS NULL THEN 'superseded' ELSE 'accepted' END AS verdict, d.type, d.size,
	CASE WHEN d.size <= {{scalar largest bigint}} THEN d.body END AS body,
	CASE WHEN d.size <= {{scalar largest bigint}} THEN d.request END AS request
FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid}}
LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id AND {{same_claim}}
LEFT JOIN LATERAL (
	SELECT type, body, request, coalesce(octet_length(body), 0) + coalesce(octet_length(request), 0) AS size
	FROM dataclips
	WHERE project_id = r.project_id AND id = r.dataclip_id
	LIMIT 1
) d ON true
ORDER BY m.ord

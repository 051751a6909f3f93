-- fetch:credential: only a credential that the run's snapshot names, only for the run's worker, and only
-- while the run is claimed or started. In all other cases the reply is the same "not found". A body that
-- is too large is not read.
-- columns: ord, verdict, body
SELECT m.ord, CASE WHEN c.id IS NULL THEN 'not_found' ELSE 'accepted' END AS verdict,
	CASE WHEN octet_length(c.body) <= m.largest THEN encode(c.body, 'hex') END AS body
FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid, credential_id uuid, largest bigint}}
LEFT JOIN runs r ON r.project_id = m.project_id AND r.id = m.run_id
	AND {{same_claim}} AND r.state IN ('claimed', 'started')
LEFT JOIN credentials c ON c.project_id = r.project_id AND c.id = m.credential_id
	AND EXISTS (SELECT FROM snapshot_jobs j
		WHERE j.project_id = r.project_id AND j.snapshot_id = r.snapshot_id
			AND j.credential_id = m.credential_id)
ORDER BY m.ord

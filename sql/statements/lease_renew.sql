-- Extends the leases of runs whose workers were active. Executed with the work orders locked, like every statement
-- that updates runs.
-- columns: ord
WITH input AS (
	SELECT * FROM {{input project_id uuid, run_id uuid, epoch int, claim uuid}}
)
UPDATE runs r SET
	active_at = now(),
	lease_expires_at = now() + {{scalar lease_ms bigint}} * interval '1 millisecond'
FROM input m
WHERE r.project_id = m.project_id AND r.id = m.run_id AND {{same_claim}}
	AND r.state IN ({{from lost}})
RETURNING m.ord

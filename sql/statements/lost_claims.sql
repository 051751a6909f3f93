-- The runs that a worker which joins worker:queue claimed earlier and never joined. New claims cannot be among them,
-- since the worker claims only after the reply to this join. Parameter: the worker's id, which is also the name of a
-- worker that gave none. Returns for each such run what its release needs.
-- columns: ord, id, project_id, work_order_id, claim_epoch, claim_id
WITH input AS MATERIALIZED (
	SELECT *
	FROM {{input worker text}}
)
SELECT m.ord, r.id, r.project_id, r.work_order_id, r.claim_epoch, r.claim_id
FROM in_flight f
CROSS JOIN LATERAL (
	{{run_by_key}}) r
JOIN input m ON m.worker = r.worker_name
WHERE r.state IN ({{from release}}) AND r.joined_at IS NULL
ORDER BY m.ord

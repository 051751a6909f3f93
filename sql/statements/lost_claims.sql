-- What a worker that joins worker:queue has claimed before and never joined: nothing that it claims from now on
-- can be among it, since it claims behind the answer to this join. Parameter: the worker's id, which is its
-- name too where it gave none. Comes back: for each such run what it takes to give it back.
-- columns: ord, id, project_id, work_order_id, claim_epoch, claim_id
WITH m AS MATERIALIZED (
	SELECT *
	FROM {{input worker text}}
)
SELECT m.ord, r.id, r.project_id, r.work_order_id, r.claim_epoch, r.claim_id
FROM in_flight f
CROSS JOIN LATERAL (
	{{run_by_key}}) r
JOIN m ON m.worker = r.worker_name
WHERE r.state IN ({{from release}}) AND r.joined_at IS NULL
ORDER BY m.ord

-- POST /i/<trigger id>: a request that cannot be enqueued has a verdict; it is not an error. The function raises for
-- an unusable trigger, so `enqueueable` removes those first: a condition in the same query could be evaluated too late.
-- If the workflow is archived meanwhile, it returns no run.
-- `proof` is the digest of the request's key with a salt of this request; the trigger's keys are hashed with the
-- same salt before they are compared, so that the time which the comparison takes reveals nothing about them.
-- The ids were made at receipt (or the sender chose the work order's), so a repeated request is recognised. All
-- coordinators insert in the same order, which prevents deadlocks between them.
-- columns: ord, verdict, work_order_id, run_id
WITH input AS MATERIALIZED (
	SELECT m.*, t.enabled AND t.type = 'webhook' AND w.archived_at IS NULL AS found, t.runnable, t.workflow_id,
		t.keys = '{}' OR EXISTS (SELECT FROM unnest(t.keys) k
			WHERE encode(sha256(convert_to(m.salt || k, 'UTF8')), 'hex') = m.proof) AS authorized
	FROM {{input trigger_id uuid, body text, request text, key text, salt text, proof text,
		work_order_id uuid, run_id uuid, clip_id uuid}}
	LEFT JOIN triggers t ON t.id = m.trigger_id
	LEFT JOIN workflows w ON w.project_id = t.project_id AND w.id = t.workflow_id
), enqueueable AS MATERIALIZED (
	SELECT * FROM input m WHERE found AND runnable AND authorized ORDER BY key, work_order_id
), enqueued AS MATERIALIZED (
	SELECT a.ord, e.work_order_id, e.run_id
	FROM enqueueable a
	CROSS JOIN LATERAL interlock_make_work_order(a.workflow_id, a.body, 'normal', 'default', a.trigger_id,
		'http_request', a.request, a.key, a.clip_id, a.work_order_id, a.run_id) e
)
SELECT m.ord,
	CASE WHEN m.found IS NOT TRUE THEN 'not_found'
		WHEN NOT m.authorized THEN 'unauthorized'
		WHEN NOT m.runnable THEN 'no_edge'
		WHEN enqueued.work_order_id IS NULL THEN 'taken'
		WHEN enqueued.run_id IS NULL THEN 'not_found'
		ELSE 'accepted' END AS verdict,
	enqueued.work_order_id, enqueued.run_id
FROM input m
LEFT JOIN enqueued ON enqueued.ord = m.ord
ORDER BY m.ord

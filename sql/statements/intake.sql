-- POST /i/<trigger id>: what cannot be enqueued is a verdict, not an error. The function raises for a
-- trigger that is not usable, so it must not see one: a condition beside it would be looked at too late.
-- A key comes as its digest under a salt of this request, `proof`, and the trigger's are hashed with the same
-- salt before they are compared: how long that takes tells nothing about them.
-- The ids were made at receipt, or the work order's is the sender's: what is sent again is recognised. What two
-- coordinators have at once they insert in one order, so that neither waits for the other.
-- columns: ord, verdict, work_order_id, run_id
WITH m AS MATERIALIZED (
	SELECT m.*, t.id IS NOT NULL AND t.enabled AND t.type = 'webhook' AS found, t.runnable, t.workflow_id,
		t.keys = '{}' OR EXISTS (SELECT FROM unnest(t.keys) k
			WHERE encode(sha256(convert_to(m.salt || k, 'UTF8')), 'hex') = m.proof) AS authorized
	FROM {{input trigger_id uuid, body text, request text, key text, salt text, proof text,
		work_order_id uuid, run_id uuid, clip_id uuid}}
	LEFT JOIN triggers t ON t.id = m.trigger_id
), enqueueable AS MATERIALIZED (
	SELECT * FROM m WHERE found AND runnable AND authorized ORDER BY key, work_order_id
), enqueued AS MATERIALIZED (
	SELECT a.ord, e.work_order_id, e.run_id
	FROM enqueueable a
	CROSS JOIN LATERAL interlock_make_work_order(a.workflow_id, a.body, 'normal', 'default', a.trigger_id,
		'http_request', a.request, a.key, a.clip_id, a.work_order_id, a.run_id) e
)
SELECT m.ord,
	CASE WHEN NOT m.found THEN 'not_found'
		WHEN NOT m.authorized THEN 'unauthorized'
		WHEN NOT m.runnable THEN 'no_edge'
		WHEN enqueued.work_order_id IS NULL THEN 'taken'
		ELSE 'accepted' END AS verdict,
	enqueued.work_order_id, enqueued.run_id
FROM m
LEFT JOIN enqueued ON enqueued.ord = m.ord
ORDER BY m.ord

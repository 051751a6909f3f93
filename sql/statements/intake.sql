-- POST /i/<trigger id>: what cannot be enqueued is a verdict, not an error. The function raises for a
-- trigger that is no good, so it must not see one: a condition beside it would be looked at too late.
WITH m AS MATERIALIZED (
	SELECT m.*, t.id IS NOT NULL AND t.enabled AND t.type = 'webhook' AS found, t.runnable, t.workflow_id
	FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
		WITH ORDINALITY AS m(trigger_id, body, request, key, ord)
	LEFT JOIN triggers t ON t.id = m.trigger_id
), able AS MATERIALIZED (
	SELECT * FROM m WHERE found AND runnable
), made AS MATERIALIZED (
	SELECT a.ord, e.work_order_id, e.run_id
	FROM able a
	CROSS JOIN LATERAL interlock_enqueue(a.workflow_id, a.body, 'normal', 'default', a.trigger_id,
		'http_request', a.request, a.key) e
)
SELECT m.ord,
	CASE WHEN NOT m.found THEN 'not_found' WHEN NOT m.runnable THEN 'no_edge' ELSE 'accepted' END AS verdict,
	made.work_order_id, made.run_id
FROM m
LEFT JOIN made ON made.ord = m.ord
ORDER BY m.ord

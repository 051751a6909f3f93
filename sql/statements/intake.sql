-- POST /i/<trigger id>: what cannot be enqueued is a verdict, not an error.
SELECT m.ord,
	CASE
	WHEN t.id IS NULL OR NOT t.enabled OR t.type <> 'webhook' THEN 'not_found'
	WHEN NOT t.runnable THEN 'no_edge'
	ELSE 'accepted'
	END AS verdict,
	e.work_order_id, e.run_id
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
	WITH ORDINALITY AS m(trigger_id, body, request, key, ord)
LEFT JOIN triggers t ON t.id = m.trigger_id
LEFT JOIN LATERAL interlock_enqueue(t.workflow_id, m.body, 'normal', 'default', t.id,
	'http_request', m.request, m.key) e
	ON t.enabled AND t.runnable AND t.type = 'webhook'
ORDER BY m.ord

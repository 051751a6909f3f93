# Runs from outside: the webhook, SQL, and that workers are notified of them at once. Health and metrics.

test the webhook makes a dataclip, a work order and a run
	http POST /i/${trigger} {"hello": "you", "n": 1.10} -> 200 {"work_order_id":"${order:=}","run_id":"${posted:=}"}
	sql> SELECT r.state, r.starting_node_id, r.snapshot_id, d.type, d.body, w.state, w.trigger_id, (SELECT count(*) FROM waiting WHERE run_id = r.id)
		FROM runs r JOIN dataclips d ON d.id = r.dataclip_id JOIN work_orders w ON w.id = r.work_order_id
		WHERE r.id = '${posted}' AND r.work_order_id = '${order}'
	= available | ${trigger} | ${snapshot} | http_request | {"hello": "you", "n": 1.10} | pending | ${trigger} | 1

test the run of a webhook sees the body and the request
	do listening
	http POST /i/${trigger} [User-Agent: a test] {"hello":"you"} -> 200 {"work_order_id":"*","run_id":"${posted:=}"}
	< ["1",null,"worker:queue","work-available",{}]
	claim {"queues":["default"]} -> ok {"runs":[{"id":"${posted}","token":"${token:=}"}]}
	let run = ${posted}
	phx_join {"token":"${token}"} -> ok
	fetch:dataclip {} -> binary {"data":{"hello":"you"},"request":{"method":"POST","path":"/i/${trigger}","headers":{"content-type":"*","user-agent":"a test"}}}

test a body of any JSON: ${body}
	each body
	= {}
	= []
	= null
	= 7
	= "text"
	= {"a":"\u0000","a":1}
	http POST /i/${trigger} ${body} -> 200 {"work_order_id":"*","run_id":"${posted:=}"}
	sql> SELECT d.body FROM runs r JOIN dataclips d ON d.id = r.dataclip_id WHERE r.id = '${posted}'
	= ${body}

test what is not JSON: ${body}
	each body
	= {nope
	= {} {}
	= {"a":1,}
	= {"a":${[*3000}${]*3000}}
	http POST /i/${trigger} ${body} -> 400 {"error":"the body is not valid JSON"}
	sql> SELECT count(*) FROM runs WHERE project_id = '${project}'
	= 1

test no body at all
	http POST /i/${trigger} -> 400

test a trigger that is not there: ${path}
	each path
	= ${unknown}
	= not-an-id
	= ${workflow}
	= ${trigger}/
	= 
	new unknown
	http POST /i/${path} {} -> 404 {"error":"no such trigger"}

test a trigger that is off, that is none for webhooks, that leads nowhere
	sql UPDATE triggers SET enabled = false WHERE id = '${trigger}'
	http POST /i/${trigger} {} -> 404 {"error":"no such trigger"}
	sql UPDATE triggers SET enabled = true, type = 'cron' WHERE id = '${trigger}'
	http POST /i/${trigger} {} -> 404 {"error":"no such trigger"}
	sql UPDATE triggers SET type = 'webhook', runnable = false WHERE id = '${trigger}'
	http POST /i/${trigger} {} -> 422 {"error":"this trigger has no enabled edge"}
	sql> SELECT count(*) FROM runs WHERE project_id = '${project}'
	= 1

test another method: ${method}
	each method
	= GET
	= PUT
	= DELETE
	= BREW
	http ${method} /i/${trigger} -> 405

test a body that is too large is refused
	daemon {"intake":{"max_body":"1KiB"}}
	http POST /i/${trigger} {"a":"${x*100000}"} -> 413 {"error":"the body is too large"}
	http POST /i/${trigger} {"a":"${x*900}"} -> 200

test a large body
	http POST /i/${trigger} {"a":"${x*1000000}"} -> 200 {"work_order_id":"*","run_id":"${posted:=}"}
	sql> SELECT length(d.body) FROM runs r JOIN dataclips d ON d.id = r.dataclip_id WHERE r.id = '${posted}'
	= 1000008

test a repeated Idempotency-Key answers the first work order
	http POST /i/${trigger} [Idempotency-Key: k1] {"n":1} -> 200 {"work_order_id":"${order:=}","run_id":"${posted:=}"}
	http POST /i/${trigger} [Idempotency-Key: k1] {"n":1} -> 200 {"work_order_id":"${order}","run_id":"${posted}"}
	http POST /i/${trigger} [Idempotency-Key: k2] {"n":1} -> 200 {"work_order_id":"${another:=}","run_id":"*"}
	http POST /i/${trigger} [Idempotency-Key: ${x*256}] {"n":1} -> 400
	sql> SELECT count(*), '${another}' <> '${order}' FROM work_orders WHERE project_id = '${project}'
	= 3 | t

test an application enqueues inside its own transaction
	do claimed
	sql BEGIN
	sql> SELECT run_id FROM interlock_enqueue('${workflow}', '{"a":1}', queue => '${queue}', idempotency_key => 'k')
	= ${made:=}
	sql> SELECT run_id = '${made}' FROM interlock_enqueue('${workflow}', '{"a":1}', queue => '${queue}', idempotency_key => 'k')
	= t
	claim {"queues":["${queue}"]} -> ok {"runs":[]}
	sql COMMIT
	< ["1",null,"worker:queue","work-available",{}]
	claim {"queues":["${queue}"]} -> ok {"runs":[{"id":"${made}","token":"*"}]}
	sql> SELECT d.type, d.body FROM runs r JOIN dataclips d ON d.id = r.dataclip_id WHERE r.id = '${made}'
	= saved_input | {"a":1}

test a run that is rolled back was never there
	do claimed
	sql BEGIN
	sql SELECT interlock_enqueue('${workflow}', queue => '${queue}')
	sql ROLLBACK
	claim {"queues":["${queue}"]} -> ok {"runs":[]}
	sql> SELECT count(*) FROM runs WHERE project_id = '${project}'
	= 1

test no more workers are notified than there are runs
	do claimed
	B do listening
	sql SELECT interlock_enqueue('${workflow}', queue => '${queue}')
	< ["1",null,"worker:queue","work-available",{}]
	< unnotified
	B< unnotified

test the worker that was notified is the last to be notified again
	do claimed
	B do listening
	sql SELECT interlock_enqueue('${workflow}', queue => '${queue}')
	< ["1",null,"worker:queue","work-available",{}]
	claim {"queues":["${queue}"]} -> ok {"runs":[{"id":"*","token":"*"}]}
	sql SELECT interlock_enqueue('${workflow}', queue => '${queue}')
	B< ["1",null,"worker:queue","work-available",{}]
	< unnotified

test a worker without capacity is not notified
	> ["1","1","worker:queue","phx_join",{"capacity":1}]
	< ["1","1","worker:queue","phx_reply",{"status":"ok","response":{}}]
	claim {"queues":["${queue}"]} -> ok {"runs":[{"id":"${run}","token":"${token:=}"}]}
	phx_join {"token":"${token}"} -> ok
	B do listening
	sql SELECT interlock_enqueue('${workflow}', queue => '${queue}')
	B< ["1",null,"worker:queue","work-available",{}]
	< unnotified

test health, readiness, metrics
	http GET /healthz -> 200 "ok"
	http GET /readyz -> 200 "ready"
	http GET /metrics -> 200 "# TYPE "
	http GET /nothing -> 404
	http POST /healthz {} -> 405
	http GET / -> 404

test a trigger with keys wants one of them
	sql UPDATE triggers SET keys = ARRAY[encode(sha256('open sesame'), 'hex'), encode(sha256('another'), 'hex')] WHERE id = '${trigger}'
	http POST /i/${trigger} {} -> 401 {"error":"this trigger requires a key: Authorization: Bearer, or X-Api-Key"}
	http POST /i/${trigger} [X-Api-Key: open sesame] {} -> 200
	http POST /i/${trigger} [x-api-key: another] {} -> 200
	http POST /i/${trigger} [Authorization: Bearer another] {} -> 200
	http POST /i/${trigger} [Authorization: bearer   another] {} -> 200
	sql> SELECT count(*) FROM runs WHERE project_id = '${project}'
	= 5

test what is no key of the trigger's is refused: X-Api-Key: ${key}
	each key
	= open sesam
	= open sesame!
	= OPEN SESAME
	= 0
	= ${x*9000}
	sql UPDATE triggers SET keys = ARRAY[encode(sha256('open sesame'), 'hex')] WHERE id = '${trigger}'
	http POST /i/${trigger} [X-Api-Key: ${key}] {} -> 401
	sql> SELECT count(*) FROM runs WHERE project_id = '${project}'
	= 1

test what is no key of the trigger's is refused: Authorization: ${key}
	each key
	= Basic b3BlbiBzZXNhbWU=
	= open sesame
	= Bearer
	= Bearer open
	= Bearer open sesame, open sesame
	sql UPDATE triggers SET keys = ARRAY[encode(sha256('open sesame'), 'hex')] WHERE id = '${trigger}'
	http POST /i/${trigger} [Authorization: ${key}] {} -> 401
	sql> SELECT count(*) FROM runs WHERE project_id = '${project}'
	= 1

test the digest of a key is not the key
	sql UPDATE triggers SET keys = ARRAY[encode(sha256('open sesame'), 'hex')] WHERE id = '${trigger}'
	http POST /i/${trigger} [X-Api-Key: 41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb] {} -> 401

test a key is neither asked of a trigger that has none, nor stored
	http POST /i/${trigger} [Authorization: Bearer very secret] {} -> 200 {"work_order_id":"*","run_id":"${posted:=}"}
	sql> SELECT d.request LIKE '%secret%' FROM runs r JOIN dataclips d ON d.id = r.dataclip_id WHERE r.id = '${posted}'
	= f

test a disabled trigger answers nothing about keys
	sql UPDATE triggers SET keys = ARRAY['x'], enabled = false WHERE id = '${trigger}'
	http POST /i/${trigger} {} -> 404 {"error":"no such trigger"}

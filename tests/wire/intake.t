# Runs from outside: the webhook, SQL, and that workers hear of them at once.

test triggers that are not there, are off, or lead nowhere
	new nobody
	http POST /i/${nobody} {} -> 404 {"error":"no such trigger"}
	http POST /i/not-an-id {} -> 404 {"error":"no such trigger"}
	sql UPDATE triggers SET enabled = false WHERE id = '${trigger}'
	http POST /i/${trigger} {} -> 404 {"error":"no such trigger"}
	sql UPDATE triggers SET enabled = true, runnable = false WHERE id = '${trigger}'
	http POST /i/${trigger} {} -> 422 {"error":"no enabled edge leaves this trigger"}

test what is not JSON, and another method
	http POST /i/${trigger} {nope -> 400 {"error":"the body is not JSON"}
	http GET /i/${trigger} -> 405

test health, readiness, metrics
	http GET /healthz -> 200
	http GET /readyz -> 200
	http GET /metrics -> 200
	http GET /nothing -> 404

test a waiting worker hears of a run that an application enqueues
	do claimed
	sql SELECT interlock_enqueue('${workflow}', '{"a":1}', queue => '${queue}')
	< ["1",null,"worker:queue","work-available",{}]
	> ["1","9","worker:queue","claim",{"demand":5,"queues":["${queue}"]}]
	< ["1","9","worker:queue","phx_reply",{"status":"ok","response":{"runs":[{"id":"*","token":"*"}]}}]

test the urgent one first, then the older
	sql SELECT interlock_enqueue('${workflow}', queue => '${queue}', priority => 'immediate')
	do listening
	> ["1","2","worker:queue","claim",{"demand":1,"queues":["${queue}"]}]
	< ["1","2","worker:queue","phx_reply",{"status":"ok","response":{"runs":[{"id":"${first:=}","token":"*"}]}}]
	sql> SELECT priority, claim_epoch FROM runs WHERE id = '${first}'
	= 0 | 1
	> ["1","3","worker:queue","claim",{"demand":7,"queues":["nothing-here","${queue}"]}]
	< ["1","3","worker:queue","phx_reply",{"status":"ok","response":{"runs":[{"id":"${run}","token":"*"}]}}]
	> ["1","4","worker:queue","claim",{"demand":1,"queues":["nothing-here"]}]
	< ["1","4","worker:queue","phx_reply",{"status":"ok","response":{"runs":[]}}]

test a claim whose worker is gone before the answer is given back
	do listening
	> ["1","2","worker:queue","claim",{"demand":1,"queues":["${queue}"]}]
	cut
	wait sql> SELECT state, claim_epoch > 0 FROM runs WHERE id = '${run}' AND state = 'available' AND claim_epoch <> 1
	= available | t

test a repeated Idempotency-Key answers the first work order
	sql> SELECT a.run_id = b.run_id FROM interlock_enqueue('${workflow}', idempotency_key => 'k1') a,
		LATERAL (SELECT a.run_id AS first) f, LATERAL interlock_enqueue('${workflow}', idempotency_key => 'k1') b
	= t

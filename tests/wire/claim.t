# claim: which runs, in which order, to whom, and the token.

# ${one}, ${two}: runs of a queue "${queue}-2" beside the one that waits in ${queue}.
define two queues
	sql SELECT interlock_enqueue('${workflow}', queue => '${queue}-2') FROM generate_series(1, 2)
	sql> SELECT id FROM runs WHERE queue = '${queue}-2' ORDER BY seq
	= ${one:=}
	= ${two:=}

test a claim that finds nothing
	do listening
	claim {"demand":1,"queues":["nothing-here"]} -> ok {"runs":[]}
	claim {"demand":1,"worker_name":null,"queues":["${queue}"]} -> ok {"runs":[{"id":"${run}","token":"*"}]}
	claim {"demand":1,"queues":["${queue}"]} -> ok {"runs":[]}

test a claimed run is in flight, its work order running, and the journal says who has it
	do claimed
	sql> SELECT r.state, r.claim_epoch, r.worker_name, r.revision, r.claimed_at IS NOT NULL, r.joined_at IS NULL,
		r.deadline_at > now() + interval '305 s', r.deadline_at < now() + interval '311 s', w.state
		FROM runs r JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = '${run}'
	= claimed | 1 | w1 | 1 | t | t | t | t | running
	sql> SELECT (SELECT count(*) FROM waiting WHERE run_id = '${run}'), (SELECT count(*) FROM in_flight WHERE run_id = '${run}')
	= 0 | 1
	sql> SELECT event, from_state, to_state, outcome, worker, epoch, revision FROM transitions WHERE run_id = '${run}'
	= claim | available | claimed | accepted | w1 | 1 | 1

test a run is claimed once
	do claimed
	B do listening
	B claim {"demand":1,"worker_name":"w2","queues":["${queue}"]} -> ok {"runs":[]}
	sql> SELECT state, claim_epoch, worker_name FROM runs WHERE id = '${run}'
	= claimed | 1 | w1

test demand: ${demand}
	each demand | runs
	= "demand":1, | [{"id":"${one}","token":"*"}]
	= "demand":2, | [{"id":"${one}","token":"*"},{"id":"${two}","token":"*"}]
	= "demand":99, | [{"id":"${one}","token":"*"},{"id":"${two}","token":"*"}]
	= "demand":0, | [{"id":"${one}","token":"*"}]
	= "demand":-3, | [{"id":"${one}","token":"*"}]
	= "demand":"2", | [{"id":"${one}","token":"*"}]
	= "demand":1.5, | [{"id":"${one}","token":"*"}]
	= "demand":99999999999999999999, | [{"id":"${one}","token":"*"}]
	=  | [{"id":"${one}","token":"*"}]
	do two queues
	do listening
	claim {${demand}"queues":["${queue}-2"]} -> ok {"runs":${runs}}

test queues: ${queues}
	each queues | runs
	= ["${queue}","${queue}-2"] | [{"id":"${run}","token":"*"},{"id":"${one}","token":"*"},{"id":"${two}","token":"*"}]
	= ["${queue}-2","${queue}"] | [{"id":"${one}","token":"*"},{"id":"${two}","token":"*"},{"id":"${run}","token":"*"}]
	= ["${queue}-2","*"] | [{"id":"${one}","token":"*"},{"id":"${two}","token":"*"},{"id":"${run}","token":"*"}]
	= ["${queue}-2"] | [{"id":"${one}","token":"*"},{"id":"${two}","token":"*"}]
	= ["nothing","${queue}"] | [{"id":"${run}","token":"*"}]
	= ["nothing"] | []
	= ["*"] | [{"id":"${run}","token":"*"},{"id":"${one}","token":"*"},{"id":"${two}","token":"*"}]
	do two queues
	do listening
	claim {"demand":9,"queues":${queues}} -> ok {"runs":${runs}}

test malformed queues mean manual first, then any: ${queues}
	each queues
	= 
	= ,"queues":null
	= ,"queues":[]
	= ,"queues":"${queue}"
	= ,"queues":{"0":"${queue}"}
	= ,"queues":[1]
	= ,"queues":["${queue}",null]
	= ,"queues":["${queue}","\u0000"]
	= ,"queues":[""]
	= ,"queues":["${x*2000}"]
	sql SELECT interlock_enqueue('${workflow}', queue => 'manual')
	sql> SELECT id FROM runs WHERE workflow_id = '${workflow}' AND queue = 'manual'
	= ${manual:=}
	do listening
	claim {"demand":2${queues}} -> ok {"runs":[{"id":"${manual}","token":"*"},{"id":"${run}","token":"*"}]}

test a claim whose payload is no object is a claim for one: ${payload}
	each payload
	= []
	= null
	= "claim"
	do listening
	claim ${payload} -> ok {"runs":[{"id":"${run}","token":"*"}]}

test priority goes before age, the queue's preference before priority
	do two queues
	sql SELECT interlock_enqueue('${workflow}', queue => '${queue}-2', priority => 'immediate')
	sql> SELECT id FROM runs WHERE queue = '${queue}-2' AND priority = 0
	= ${urgent:=}
	do listening
	claim {"demand":2,"queues":["${queue}-2"]} -> ok {"runs":[{"id":"${urgent}","token":"*"},{"id":"${one}","token":"*"}]}
	sql SELECT interlock_enqueue('${workflow}', queue => '${queue}-2', priority => 'immediate')
	claim {"demand":1,"queues":["${queue}","${queue}-2"]} -> ok {"runs":[{"id":"${run}","token":"*"}]}

test the name of the worker: ${named}
	each named | name
	= "worker_name":"w1", | w1
	= "worker_name":"Zoë", | Zoë
	= "worker_name":"", | worker-7
	= "worker_name":null, | worker-7
	= "worker_name":7, | worker-7
	= "worker_name":"\u0000", | worker-7
	=  | worker-7
	token mine {"claims":{"worker_id":"worker-7"}}
	connect token=${mine} -> 101
	do listening
	claim {${named}"queues":["${queue}"]} -> ok {"runs":[{"id":"${run}","token":"*"}]}
	sql> SELECT worker_name FROM runs WHERE id = '${run}'
	= ${name}

test the token of a run
	do claimed
	claims ${token} {"header":{"alg":"EdDSA"},"iss":"Lightning","id":"${run}","sub":"run:${run}",
		"epoch":1,"claim":"${claim:=}","iat":"${iat:=}","nbf":"${nbf:=}","exp":"${exp:=}",...}
	sql> SELECT abs(${iat} - extract(epoch FROM now())) < 5, ${nbf} <= ${iat} - 86400,
		${exp} >= extract(epoch FROM deadline_at) + 3600 + 7 * 86400 - 1, claim_id FROM runs WHERE id = '${run}'
	= t | t | t | ${claim}

test the epoch grows with every claim, and each has an id of its own
	do claimed
	do unjoined
	sql WITH f AS (DELETE FROM in_flight WHERE run_id = '${run}')
		INSERT INTO waiting SELECT project_id, workflow_id, queue, priority, seq, id FROM runs WHERE id = '${run}'
	claim {"queues":["${queue}"]} -> ok {"runs":[{"id":"${run}","token":"${again:=}"}]}
	claims ${token} {"epoch":1,"claim":"${first:=}",...}
	claims ${again} {"epoch":3,"claim":"${second:=}",...}
	sql> SELECT '${first}' <> '${second}', claim_id, unjoined_claims FROM runs WHERE id = '${run}'
	= t | ${second} | {${first}}
	phx_join {"token":"${token}"} -> refused - "superseded" superseded
	phx_join {"token":"${again}"} -> ok

test a claim whose worker is gone before the answer is given back
	do listening
	sql BEGIN
	sql SELECT pg_advisory_xact_lock(hashtext('interlock claims'))
	> ["1","2","worker:queue","claim",{"demand":1,"queues":["${queue}"]}]
	wait sql> SELECT count(*) FROM pg_locks WHERE NOT granted
	= 1
	cut
	B< quiet
	sql COMMIT
	wait sql> SELECT r.state, r.claim_epoch, w.state FROM runs r JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = '${run}'
	= available | 2 | pending
	sql> SELECT claim_id, array_length(unjoined_claims, 1) FROM runs WHERE id = '${run}'
	= null | 1
	sql> SELECT event, from_state, to_state, outcome FROM transitions WHERE run_id = '${run}' ORDER BY id
	= claim | available | claimed | accepted
	= release | claimed | available | released

test a claim whose queue channel was left before the answer is given back
	do listening
	sql BEGIN
	sql SELECT pg_advisory_xact_lock(hashtext('interlock claims'))
	> ["1","2","worker:queue","claim",{"demand":1,"queues":["${queue}"]}]
	wait sql> SELECT count(*) FROM pg_locks WHERE NOT granted
	= 1
	> ["1","3","worker:queue","phx_leave",{}]
	< ["1","3","worker:queue","phx_reply",{"status":"ok","response":{}}]
	< ["1","1","worker:queue","phx_close",{}]
	sql COMMIT
	< ["1","2","worker:queue","phx_reply",{"status":"ok","response":{"runs":[]}}]
	wait sql> SELECT state, claim_epoch FROM runs WHERE id = '${run}'
	= available | 2

test claims of several workers at the same moment share what there is
	do two queues
	do listening
	B do listening
	sql BEGIN
	sql SELECT pg_advisory_xact_lock(hashtext('interlock claims'))
	> ["1","2","worker:queue","claim",{"demand":1,"worker_name":"w1","queues":["${queue}-2"]}]
	wait sql> SELECT count(*) FROM pg_locks WHERE NOT granted
	= 1
	B> ["1","2","worker:queue","claim",{"demand":5,"worker_name":"w2","queues":["${queue}-2"]}]
	# The daemon has it; its poll may notify of waiting runs meanwhile.
	B> [null,"3","phoenix","heartbeat",{}]
	B< [null,"3","phoenix","phx_reply",{"status":"ok","response":{}}]
	sql COMMIT
	< ["1","2","worker:queue","phx_reply",{"status":"ok","response":{"runs":[{"id":"${one}","token":"*"}]}}]
	B< ["1","2","worker:queue","phx_reply",{"status":"ok","response":{"runs":[{"id":"${two}","token":"*"}]}}]
	sql> SELECT worker_name FROM runs WHERE queue = '${queue}-2' ORDER BY seq
	= w1
	= w2

test a run that an application inserts by plain SQL is noticed at once
	do listening
	claim {"queues":["${queue}"]} -> ok {"runs":[{"id":"${run}","token":"*"}]}
	sql INSERT INTO runs (project_id, id, work_order_id, workflow_id, snapshot_id, starting_node_id, dataclip_id, queue)
		SELECT project_id, gen_random_uuid(), work_order_id, workflow_id, snapshot_id, starting_node_id, dataclip_id, queue
		FROM runs WHERE id = '${run}'
	< ["1",null,"worker:queue","work-available",{}]
	claim {"queues":["${queue}"]} -> ok {"runs":[{"id":"*","token":"*"}]}

# Channels: join, join again, leave, several on one socket, and what comes before the join is answered.

test the heartbeat
	> [null,"1","phoenix","heartbeat",{}]
	< [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]
	do joined
	> ["3","9","phoenix","heartbeat",{"more":1}]
	< ["3","9","phoenix","phx_reply",{"status":"ok","response":{}}]

test a second join replaces the first, which is closed
	do listening
	> ["7","7","worker:queue","phx_join",{}]
	< ["1","1","worker:queue","phx_close",{}]
	< ["7","7","worker:queue","phx_reply",{"status":"ok","response":{}}]
	> ["1","8","worker:queue","claim",{"queues":["${queue}"]}]
	< ["1","8","worker:queue","phx_reply",{"status":"error","response":{"reason":"unmatched topic",...}}]
	> ["7","9","worker:queue","claim",{"queues":["${queue}"]}]
	< ["7","9","worker:queue","phx_reply",{"status":"ok","response":{"runs":[{"id":"${run}","token":"*"}]}}]

test a second join of a run replaces the first
	do started
	> ["7","7","run:${run}","phx_join",{"token":"${token}"}]
	< ["3","3","run:${run}","phx_close",{}]
	< ["7","7","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["7","8","run:${run}","run:complete",{"reason":"success"}]
	< ["7","8","run:${run}","phx_reply",{"status":"ok","response":{}}]

test join, leave, join, as after a reconnect: only the last counts
	> ["1","1","worker:queue","phx_join",{}]
	> ["1","2","worker:queue","phx_leave",{}]
	> ["3","3","worker:queue","phx_join",{}]
	< ["1","1","worker:queue","phx_reply",{"status":"ok","response":{}}]
	< ["1","2","worker:queue","phx_reply",{"status":"ok","response":{}}]
	< ["1","1","worker:queue","phx_close",{}]
	< ["3","3","worker:queue","phx_reply",{"status":"ok","response":{}}]
	> ["3","4","worker:queue","claim",{"queues":["${queue}"]}]
	< ["3","4","worker:queue","phx_reply",{"status":"ok","response":{"runs":[{"id":"${run}","token":"*"}]}}]

test leaving is answered and followed by phx_close
	do joined
	> ["3","4","run:${run}","phx_leave",{}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{}}]
	< ["3","3","run:${run}","phx_close",{}]
	> ["1","5","worker:queue","phx_leave",{}]
	< ["1","5","worker:queue","phx_reply",{"status":"ok","response":{}}]
	< ["1","1","worker:queue","phx_close",{}]
	< quiet

test leaving a run does not end it, and it may be joined again
	do started
	> ["3","5","run:${run}","phx_leave",{}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{}}]
	< ["3","3","run:${run}","phx_close",{}]
	run:complete {"reason":"success"} -> refused - "unmatched topic" unmatched_topic
	phx_join {"token":"${token}"} -> ok
	run:complete {"reason":"success"} -> ok

test a topic that is not joined: ${event}
	each event
	= phx_leave
	= run:start
	= claim
	> ["9","9","run:${run}","${event}",{}]
	< ["9","9","run:${run}","phx_reply",{"status":"error","response":{"base":["unmatched topic"],"errors":{"base":["unmatched topic"]},"reason":"unmatched topic","code":"unmatched_topic","retryable":false}}]
	> ["9","9","worker:queue","${event}",{}]
	< ["9","9","worker:queue","phx_reply",{"status":"error","response":{"base":["unmatched topic"],"errors":{"base":["unmatched topic"]},"reason":"unmatched topic","code":"unmatched_topic","retryable":false}}]

test an unknown topic: ${topic}
	each topic
	= nobody
	= phoenix
	= worker:other
	= runs:1
	> ["1","1","${topic}","phx_join",{}]
	< ["1","1","${topic}","phx_reply",{"status":"error","response":{"reason":"unmatched topic",...}}]

test a stale join_ref
	do joined
	> ["2","4","run:${run}","fetch:plan",{}]
	< ["2","4","run:${run}","phx_reply",{"status":"error","response":{"base":["unmatched topic"],"errors":{"base":["unmatched topic"]},"reason":"unmatched topic","code":"unmatched_topic","retryable":false}}]
	> ["2","5","run:${run}","phx_leave",{}]
	< ["2","5","run:${run}","phx_reply",{"status":"error","response":{"base":["unmatched topic"],"errors":{"base":["unmatched topic"]},"reason":"unmatched topic","code":"unmatched_topic","retryable":false}}]
	fetch:plan {} -> ok {"id":"${run}",...}

test an unknown event
	do joined
	> ["3","4","run:${run}","run:dance",{}]
	< ["3","4","run:${run}","phx_reply",{"status":"error","response":{"base":["unknown event"],"errors":{"base":["unknown event"]},"reason":"unknown event","code":"unknown_event","retryable":false}}]
	> ["3","5","run:${run}","claim",{}]
	< ["3","5","run:${run}","phx_reply",{"status":"error","response":{"base":["unknown event"],"errors":{"base":["unknown event"]},"reason":"unknown event","code":"unknown_event","retryable":false}}]
	> ["1","6","worker:queue","run:start",{}]
	< ["1","6","worker:queue","phx_reply",{"status":"error","response":{"base":["unknown event"],"errors":{"base":["unknown event"]},"reason":"unknown event","code":"unknown_event","retryable":false}}]
	run:start {} -> ok

test unknown fields are ignored
	do joined
	run:start {"flavour":"vanilla","timestamp":"${now}","state":"success"} -> ok

test what is sent before the join is answered waits for it, in order
	do claimed
	sql BEGIN
	sql SELECT FROM work_orders WHERE id = '${work_order}' FOR NO KEY UPDATE
	> ["3","3","run:${run}","phx_join",{"token":"${token}"}]
	> ["3","4","run:${run}","fetch:plan",{}]
	> ["3","5","run:${run}","run:dance",{}]
	> ["3","6","run:${run}","run:start",{}]
	wait sql> SELECT count(*) FROM pg_locks WHERE NOT granted
	= 1
	< quiet
	sql COMMIT
	< ["3","3","run:${run}","phx_reply",{"status":"ok","response":{}}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{"id":"${run}",...}}]
	< ["3","5","run:${run}","phx_reply",{"status":"error","response":{"reason":"unknown event",...}}]
	< ["3","6","run:${run}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT state FROM runs WHERE id = '${run}'
	= started

test what waits for a join that is refused belongs to no channel
	do claimed
	sql BEGIN
	sql SELECT FROM work_orders WHERE id = '${work_order}' FOR NO KEY UPDATE
	> ["3","3","run:${run}","phx_join",{"token":"${token}"}]
	> ["3","4","run:${run}","run:start",{}]
	wait sql> SELECT count(*) FROM pg_locks WHERE NOT granted
	= 1
	do unjoined
	sql COMMIT
	< ["3","3","run:${run}","phx_reply",{"status":"error","response":{"reason":"superseded",...}}]
	< ["3","4","run:${run}","phx_reply",{"status":"error","response":{"reason":"unmatched topic",...}}]
	sql> SELECT state FROM runs WHERE id = '${run}'
	= available

test a run's channel is joined again, as after a lost socket
	do started
	cut
	B> ["1","1","run:${run}","phx_join",{"token":"${token}"}]
	B< ["1","1","run:${run}","phx_reply",{"status":"ok","response":{}}]
	B> ["1","2","run:${run}","run:complete",{"reason":"success"}]
	B< ["1","2","run:${run}","phx_reply",{"status":"ok","response":{}}]

test a message whose worker is gone is stored all the same
	do started
	sql BEGIN
	sql SELECT FROM work_orders WHERE id = '${work_order}' FOR NO KEY UPDATE
	> ["3","5","run:${run}","run:complete",{"reason":"success"}]
	wait sql> SELECT count(*) FROM pg_locks WHERE NOT granted
	= 1
	cut
	sql COMMIT
	wait sql> SELECT state FROM runs WHERE id = '${run}'
	= success

test several runs on one socket, each for itself
	sql SELECT interlock_enqueue('${workflow}', queue => '${queue}')
	do listening
	claim {"demand":2,"queues":["${queue}"]} -> ok {"runs":[{"id":"${run}","token":"${token:=}"},{"id":"*","token":"${other_token:=}"}]}
	sql> SELECT id FROM runs WHERE queue = '${queue}' AND id <> '${run}'
	= ${other:=}
	> ["3","3","run:${run}","phx_join",{"token":"${token}"}]
	< ["3","3","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["4","4","run:${other}","phx_join",{"token":"${other_token}"}]
	< ["4","4","run:${other}","phx_reply",{"status":"ok","response":{}}]
	> ["3","5","run:${run}","run:start",{}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["4","6","run:${other}","run:complete",{"reason":"fail"}]
	< ["4","6","run:${other}","phx_reply",{"status":"ok","response":{}}]
	> ["3","7","run:${other}","run:start",{}]
	< ["3","7","run:${other}","phx_reply",{"status":"error","response":{"reason":"unmatched topic",...}}]
	> ["4","8","run:${other}","phx_leave",{}]
	< ["4","8","run:${other}","phx_reply",{"status":"ok","response":{}}]
	< ["4","4","run:${other}","phx_close",{}]
	> ["3","9","run:${run}","run:complete",{"reason":"success"}]
	< ["3","9","run:${run}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT state FROM runs WHERE queue = '${queue}' ORDER BY seq
	= success
	= failed

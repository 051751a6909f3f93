# Channels: join, re-join, leave, several on one socket.

test a second join replaces the first
	do listening
	> ["7","7","worker:queue","phx_join",{}]
	< ["1","1","worker:queue","phx_close",{}]
	< ["7","7","worker:queue","phx_reply",{"status":"ok","response":{}}]

test join, leave, join: only the last counts
	> ["1","1","worker:queue","phx_join",{}]
	> ["1","2","worker:queue","phx_leave",{}]
	> ["3","3","worker:queue","phx_join",{}]
	< ["1","1","worker:queue","phx_reply",{"status":"ok","response":{}}]
	< ["1","2","worker:queue","phx_reply",{"status":"ok","response":{}}]
	< ["1","1","worker:queue","phx_close",{}]
	< ["3","3","worker:queue","phx_reply",{"status":"ok","response":{}}]
	> ["3","4","worker:queue","claim",{"queues":["${queue}"]}]
	< ["3","4","worker:queue","phx_reply",{"status":"ok","response":{"runs":[{"id":"${run}","token":"*"}]}}]

test a stale join_ref
	do joined
	> ["2","4","run:${run}","fetch:plan",{}]
	< ["2","4","run:${run}","phx_reply",{"status":"error","response":{"reason":"unmatched topic","code":"unmatched_topic","retryable":false}}]

test a topic that nobody knows
	> ["1","1","nobody","phx_join",{}]
	< ["1","1","nobody","phx_reply",{"status":"error","response":{"reason":"unmatched topic",...}}]

test an unknown event
	do joined
	> ["3","4","run:${run}","run:dance",{}]
	< ["3","4","run:${run}","phx_reply",{"status":"error","response":{"reason":"unknown event","code":"unknown_event","retryable":false}}]

test what is sent before the join is answered waits for it
	do claimed
	> ["3","3","run:${run}","phx_join",{"token":"${token}"}]
	> ["3","4","run:${run}","run:start",{}]
	< ["3","3","run:${run}","phx_reply",{"status":"ok","response":{}}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT state FROM runs WHERE id = '${run}'
	= started

test a run's channel is joined again, as after a lost socket
	do started
	cut
	B> ["1","1","run:${run}","phx_join",{"token":"${token}"}]
	B< ["1","1","run:${run}","phx_reply",{"status":"ok","response":{}}]
	B> ["1","2","run:${run}","run:complete",{"reason":"success"}]
	B< ["1","2","run:${run}","phx_reply",{"status":"ok","response":{}}]

test a join without a good token
	do claimed
	> ["3","3","run:${run}","phx_join",{"token":"a.b.c"}]
	< ["3","3","run:${run}","phx_reply",{"status":"error","response":{"reason":"unauthorized","code":"unauthorized","retryable":false}}]
	> ["4","4","run:${run}","phx_join",{}]
	< ["4","4","run:${run}","phx_reply",{"status":"error","response":{"reason":"unauthorized",...}}]
	> ["5","5","run:${project}","phx_join",{"token":"${token}"}]
	< ["5","5","run:${project}","phx_reply",{"status":"error","response":{"reason":"unauthorized",...}}]

test a worker's own token opens no run
	do claimed
	token mine {"claims": {"iss": "Lightning", "id": "${run}", "sub": "run:${run}", "epoch": 1, "exp": 4000000000}}
	> ["3","3","run:${run}","phx_join",{"token":"${mine}"}]
	< ["3","3","run:${run}","phx_reply",{"status":"error","response":{"reason":"unauthorized",...}}]

test a claim that was released before it was joined is superseded
	do claimed
	sql UPDATE runs SET claim_epoch = claim_epoch + 1 WHERE id = '${run}'
	> ["3","3","run:${run}","phx_join",{"token":"${token}"}]
	< ["3","3","run:${run}","phx_reply",{"status":"error","response":{"reason":"superseded","code":"superseded","retryable":false}}]

test a worker that once held the run gets an empty plan, and changes nothing
	do started
	sql UPDATE runs SET claim_epoch = claim_epoch + 1 WHERE id = '${run}'
	> ["5","5","run:${run}","phx_join",{"token":"${token}"}]
	< ["3","3","run:${run}","phx_close",{}]
	< ["5","5","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["5","6","run:${run}","fetch:plan",{}]
	< ["5","6","run:${run}","phx_reply",{"status":"ok","response":{"id":"${run}","jobs":[],...}}]
	> ["5","7","run:${run}","run:complete",{"reason":"success"}]
	< ["5","7","run:${run}","phx_reply",{"status":"error","response":{"state":["claimed by another worker"],"errors":{"state":["claimed by another worker"]},"code":"superseded","retryable":false}}]
	> ["5","8","run:${run}","run:log",{"message":["late"],"level":"info"}]
	< ["5","8","run:${run}","phx_reply",{"status":"ok","response":{"log_line_id":"*","warnings":{"state":["claimed by another worker"]}}}]
	sql> SELECT state, (SELECT count(*) FROM log_lines l WHERE l.run_id = r.id) FROM runs r WHERE id = '${run}'
	= started | 0

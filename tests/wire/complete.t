# run:start and run:complete: states, refusals, the final dataclip, the work order.

test every reason has its state
	do joined
	> ["3","4","run:${run}","run:complete",{"reason":"kill","error_type":"OOMError","error_message":"out of memory"}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT state, error_type, error_message, started_at IS NULL, finished_at IS NOT NULL FROM runs WHERE id = '${run}'
	= killed | OOMError | out of memory | t | t

test a reason that no worker may say
	do started
	> ["3","5","run:${run}","run:complete",{"reason":"lost"}]
	< ["3","5","run:${run}","phx_reply",{"status":"error","response":{"state":["is invalid"],"errors":{"state":["is invalid"]},"code":"invalid","retryable":false}}]
	> ["3","6","run:${run}","run:complete",{}]
	< ["3","6","run:${run}","phx_reply",{"status":"error","response":{"state":["can't be blank"],...}}]
	sql> SELECT state FROM runs WHERE id = '${run}'
	= started

test started twice, and completed twice
	do started
	> ["3","5","run:${run}","run:start",{"timestamp":"1795485247440999"}]
	< ["3","5","run:${run}","phx_reply",{"status":"error","response":{"state":["already started"],"errors":{"state":["already started"]},"code":"already_started","retryable":false,"current_state":"started"}}]
	> ["3","6","run:${run}","run:complete",{"reason":"ok","timestamp":1795485247455752}]
	< ["3","6","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["3","7","run:${run}","run:complete",{"reason":"ok","timestamp":"1795485247455752"}]
	< ["3","7","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["3","8","run:${run}","run:complete",{"reason":"fail","timestamp":"1795485247455752"}]
	< ["3","8","run:${run}","phx_reply",{"status":"error","response":{"state":["already in completed state"],"code":"already_final","current_state":"success",...}}]
	sql> SELECT outcome, code FROM transitions WHERE run_id = '${run}' ORDER BY id
	= accepted | null
	= accepted | null
	= refused | already_started
	= accepted | null
	= replayed | null
	= refused | already_final

test a run that nobody claims cannot be started
	do joined
	sql UPDATE runs SET state = 'available' WHERE id = '${run}'
	> ["3","4","run:${run}","run:start",{}]
	< ["3","4","run:${run}","phx_reply",{"status":"error","response":{"state":["cannot mark run started that has not been claimed by a worker"],"code":"not_claimed","current_state":"available",...}}]

test times: milliseconds, a number, nonsense
	do joined
	> ["3","4","run:${run}","run:start",{"timestamp":"1795485247440"}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["3","5","run:${run}","run:complete",{"reason":"success","timestamp":"yesterday"}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT extract(epoch FROM started_at)::numeric(16, 3), finished_at > now() - interval '1 minute' FROM runs WHERE id = '${run}'
	= 1795485247.440 | t

test a final dataclip that does not exist, without and with a final state
	do started
	new nobody
	> ["3","5","run:${run}","run:complete",{"reason":"success","final_dataclip_id":"${nobody}"}]
	< ["3","5","run:${run}","phx_reply",{"status":"error","response":{"final_dataclip_id":["does not exist"],"errors":{"final_dataclip_id":["does not exist"]},"code":"does_not_exist",...}}]
	> ["3","6","run:${run}","run:complete",{"reason":"success","final_dataclip_id":"not a uuid"}]
	< ["3","6","run:${run}","phx_reply",{"status":"error","response":{"final_dataclip_id":["does not exist"],...}}]
	> ["3","7","run:${run}","run:complete",{"reason":"success","final_dataclip_id":"${nobody}","final_state":{"a":1.10,"configuration":{"x":1},"c\u006ffiguration":2,"configur\u0061tion":3}}]
	< ["3","7","run:${run}","phx_reply",{"status":"ok","response":{"warnings":{"final_dataclip_id":["does not exist"]}}}]
	sql> SELECT d.type, d.body FROM runs r JOIN dataclips d ON d.id = r.final_dataclip_id WHERE r.id = '${run}'
	= step_result | {"a":1.10,"c\u006ffiguration":2}

test a final state that is no object
	do started
	> ["3","5","run:${run}","run:complete",{"reason":"success","final_state":42}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT d.body FROM runs r JOIN dataclips d ON d.id = r.final_dataclip_id WHERE r.id = '${run}'
	= {"value":42}

test a large final state goes ahead of its message
	do started
	> ["3","5","run:${run}","run:complete",{"reason":"success","final_state":{"a":"${x*70000}"}}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT length(d.body) FROM runs r JOIN dataclips d ON d.id = r.final_dataclip_id WHERE r.id = '${run}'
	= 70008

test open steps are closed as lost, and the work order follows
	do stepping
	> ["3","6","run:${run}","run:complete",{"reason":"crash"}]
	< ["3","6","run:${run}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT s.exit_reason, w.state FROM steps s, work_orders w WHERE s.id = '${step}' AND w.id = '${work_order}'
	= lost | crashed

test the newest run decides, and one in flight more
	do started
	sql SELECT interlock_retry('${run}')
	sql> SELECT state FROM work_orders WHERE id = '${work_order}'
	= running
	> ["3","5","run:${run}","run:complete",{"reason":"fail"}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT state FROM work_orders WHERE id = '${work_order}'
	= pending

test a run that saves no dataclips keeps none, and its input is wiped
	given {"save_dataclips": false}
	do started
	> ["3","5","run:${run}","run:complete",{"reason":"success","final_state":{"a":1}}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT r.final_dataclip_id IS NULL, d.body IS NULL, d.wiped_at IS NOT NULL FROM runs r
		JOIN dataclips d ON d.id = r.dataclip_id WHERE r.id = '${run}'
	= t | t | t

# One whole run as it looks on the wire, frame by frame, from the claim to the end.

test a run of one step
	> ["1","1","worker:queue","phx_join",{"capacity":5}]
	< ["1","1","worker:queue","phx_reply",{"status":"ok","response":{}}]
	> ["1","2","worker:queue","claim",{"demand":1,"worker_name":"w1","queues":["${queue}","*"]}]
	< ["1","2","worker:queue","phx_reply",{"status":"ok","response":{"runs":[{"id":"${run}","token":"${token:=}"}]}}]
	> ["3","3","run:${run}","phx_join",{"token":"${token}"}]
	< ["3","3","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["3","4","run:${run}","fetch:plan",{}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{"id":"${run}","dataclip_id":"${dataclip}","starting_node_id":"${trigger}",...}}]
	> ["3","5","run:${run}","run:log",{"run_id":"${run}","message":["ready"],"source":"R/T","level":"info","timestamp":"1795485247440407"}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{"log_line_id":"*"}}]
	> ["3","6","run:${run}","run:start",{"timestamp":"1795485247440566","versions":{"worker":"1.25.0"}}]
	< ["3","6","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["3","7","run:${run}","fetch:dataclip",{"id":"${dataclip}"}]
	< binary ["3","7","run:${run}","ok","{\"data\":{\"n\":7}}"]
	> ["3","8","run:${run}","fetch:credential",{"id":"${credential}"}]
	< ["3","8","run:${run}","phx_reply",{"status":"ok","response":{"user":"u","password":"p"}}]
	new step clip
	> ["3","9","run:${run}","step:start",{"step_id":"${step}","job_id":"${job_a}","input_dataclip_id":"${dataclip}","timestamp":"1795485247442730"}]
	< ["3","9","run:${run}","phx_reply",{"status":"ok","response":{"step_id":"${step}"}}]
	> ["3","10","run:${run}","step:complete",{"step_id":"${step}","job_id":"${job_a}","reason":"success",
		"error_type":null,"error_message":null,"output_dataclip_id":"${clip}","output_dataclip":"{\"n\":1.10}",
		"mem":{"job":8543216,"system":91799552},"duration":12,"thread_id":2,"timestamp":"1795485247455482"}]
	< ["3","10","run:${run}","phx_reply",{"status":"ok","response":{"step_id":"${step}"}}]
	> ["3","11","run:${run}","run:complete",{"reason":"success","error_type":null,"error_message":null,
		"timestamp":"1795485247455752","final_dataclip_id":"${clip}","final_state":{"n":1.10}}]
	< ["3","11","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["3","12","run:${run}","phx_leave",{}]
	< ["3","12","run:${run}","phx_reply",{"status":"ok","response":{}}]
	< ["3","3","run:${run}","phx_close",{}]
	sql> SELECT r.state, r.final_dataclip_id, d.body, w.state FROM runs r
		JOIN dataclips d ON d.id = r.final_dataclip_id
		JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = '${run}'
	= success | ${clip} | {"n":1.10} | success
	sql> SELECT event, from_state, to_state, outcome, revision FROM transitions WHERE run_id = '${run}' ORDER BY id
	= claim | available | claimed | accepted | 1
	= run:start | claimed | started | accepted | 2
	= step:start | started | started | accepted | 2
	= step:complete | started | started | accepted | 2
	= run:complete | started | success | accepted | 3

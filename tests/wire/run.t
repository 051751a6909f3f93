# One run from its claim to its end.

test a run is claimed once
	do claimed
	B do listening
	B> ["1","2","worker:queue","claim",{"demand":1,"worker_name":"w2","queues":["${queue}"]}]
	B< ["1","2","worker:queue","phx_reply",{"status":"ok","response":{"runs":[]}}]
	sql> SELECT state, claim_epoch, worker_name FROM runs WHERE id = '${run}'
	= claimed | 1 | w1

test the plan and the input
	do joined
	> ["3","4","run:${run}","fetch:plan",{}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{"id":"${run}","project_id":"${project}",
		"dataclip_id":"${dataclip}","starting_node_id":"${trigger}","triggers":[{"id":"${trigger}",...}],
		"jobs":[{"id":"${job_a}",...},{"id":"${job_b}",...}],
		"edges":[{"condition":"always",...},{"condition":"on_job_success",...}],"options":{...},...}}]
	> ["3","5","run:${run}","fetch:dataclip",{"id":"${dataclip}"}]
	< binary ["3","5","run:${run}","ok","{\"data\":{\"n\":7}}"]

test the webhook makes a run
	http POST /i/${trigger} {"hello":"you"} -> 200 {"work_order_id":"${order:=}","run_id":"${posted:=}"}
	sql> SELECT r.state, d.type, d.body FROM runs r JOIN dataclips d ON d.id = r.dataclip_id
		WHERE r.id = '${posted}' AND r.work_order_id = '${order}'
	= available | http_request | {"hello":"you"}

test a step and a run are completed
	do stepping
	new clip
	> ["3","6","run:${run}","step:complete",{"step_id":"${step}","job_id":"${job_a}","reason":"success",
		"error_type":null,"error_message":null,"output_dataclip_id":"${clip}",
		"output_dataclip":"{\"n\":1.10}","timestamp":"1795485247455482","duration":12,"thread_id":2}]
	< ["3","6","run:${run}","phx_reply",{"status":"ok","response":{"step_id":"${step}"}}]
	> ["3","7","run:${run}","run:complete",{"reason":"success","error_type":null,"error_message":null,
		"timestamp":"1795485247455752","final_dataclip_id":"${clip}"}]
	< ["3","7","run:${run}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT r.state, r.final_dataclip_id, d.body, w.state FROM runs r
		JOIN dataclips d ON d.id = r.final_dataclip_id
		JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = '${run}'
	= success | ${clip} | {"n":1.10} | success
	sql> SELECT exit_reason, finished_at IS NOT NULL FROM steps WHERE id = '${step}'
	= success | t

# step:start and step:complete. The step survives its dataclip.

test a job of another workflow, none at all, and what is no id
	do started
	new step job
	> ["3","5","run:${run}","step:start",{"step_id":"${step}","job_id":"${job}"}]
	< ["3","5","run:${run}","phx_reply",{"status":"error","response":{"job_id":["does not exist"],"errors":{"job_id":["does not exist"]},"code":"does_not_exist",...}}]
	> ["3","6","run:${run}","step:start",{"step_id":"${step}"}]
	< ["3","6","run:${run}","phx_reply",{"status":"error","response":{"job_id":["This field can't be blank."],"errors":{"job_id":["This field can't be blank."]},"code":"invalid","retryable":false}}]
	> ["3","7","run:${run}","step:start",{"step_id":"${step}","job_id":"job1"}]
	< ["3","7","run:${run}","phx_reply",{"status":"error","response":{"job_id":["does not exist"],...}}]
	sql> SELECT count(*) FROM steps WHERE id = '${step}'
	= 0

test a step that overtakes the start of its run starts it, and the start is welcome
	do joined
	new step
	> ["3","4","run:${run}","step:start",{"step_id":"${step}","job_id":"${job_a}"}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{"step_id":"${step}"}}]
	> ["3","5","run:${run}","run:start",{"versions":{"worker":"1.25.0"}}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["3","6","run:${run}","run:start",{}]
	< ["3","6","run:${run}","phx_reply",{"status":"error","response":{"code":"already_started",...}}]
	sql> SELECT state, versions FROM runs WHERE id = '${run}'
	= started | {"worker":"1.25.0"}

test an input that is nobody's
	do started
	new step nobody
	> ["3","5","run:${run}","step:start",{"step_id":"${step}","job_id":"${job_a}","input_dataclip_id":"${nobody}"}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{"step_id":"${step}","warnings":{"input_dataclip_id":["does not exist"]}}}]

test the same step twice, and with other content
	do stepping
	> ["3","6","run:${run}","step:start",{"step_id":"${step}","job_id":"${job_a}","timestamp":"1795485247442730","input_dataclip_id":"${dataclip}"}]
	< ["3","6","run:${run}","phx_reply",{"status":"ok","response":{"step_id":"${step}"}}]
	> ["3","7","run:${run}","step:start",{"step_id":"${step}","job_id":"${job_b}"}]
	< ["3","7","run:${run}","phx_reply",{"status":"error","response":{"step_id":["has already been taken"],"code":"conflict",...}}]

test a step that is not of this run
	do started
	new step
	> ["3","5","run:${run}","step:complete",{"step_id":"${step}","reason":"success"}]
	< ["3","5","run:${run}","phx_reply",{"status":"error","response":{"step_id":["not found"],"code":"not_found",...}}]

test a step whose start was lost is made and completed in one
	do started
	new step
	> ["3","5","run:${run}","step:complete",{"step_id":"${step}","job_id":"${job_a}","reason":"success"}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{"step_id":"${step}"}}]
	sql> SELECT s.exit_reason, t.outcome FROM steps s JOIN transitions t ON t.step_id = s.id WHERE s.id = '${step}'
	= success | implicit

test an output that is not JSON
	do stepping
	new clip
	> ["3","6","run:${run}","step:complete",{"step_id":"${step}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"{nope"}]
	< ["3","6","run:${run}","phx_reply",{"status":"ok","response":{"step_id":"${step}","warnings":{"output_dataclip":["is not valid JSON"]}}}]
	sql> SELECT s.exit_reason, d.body IS NULL FROM steps s JOIN dataclips d ON d.id = s.output_dataclip_id WHERE s.id = '${step}'
	= success | t

test an output id that is in use
	do stepping
	> ["3","6","run:${run}","step:complete",{"step_id":"${step}","reason":"success","output_dataclip_id":"${dataclip}","output_dataclip":"{}"}]
	< ["3","6","run:${run}","phx_reply",{"status":"error","response":{"output_dataclip_id":["has already been taken"],"code":"taken",...}}]
	sql> SELECT exit_reason IS NULL FROM steps WHERE id = '${step}'
	= t

test the bytes of an output are kept, large ones too, and sent twice stored once
	do stepping
	new clip
	> ["3","6","run:${run}","step:complete",{"step_id":"${step}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"{\"a\":0.10,\"a\":\"\\u0000${x*70000}\"}","timestamp":"1795485247455482"}]
	< ["3","6","run:${run}","phx_reply",{"status":"ok","response":{"step_id":"${step}"}}]
	> ["3","7","run:${run}","step:complete",{"step_id":"${step}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"{\"a\":0.10,\"a\":\"\\u0000${x*70000}\"}","timestamp":"1795485247455482"}]
	< ["3","7","run:${run}","phx_reply",{"status":"ok","response":{"step_id":"${step}"}}]
	sql> SELECT left(body, 20), length(body) FROM dataclips WHERE id = '${clip}'
	= {"a":0.10,"a":"\u000 | 70023

test a step of a final run
	do stepping
	> ["3","6","run:${run}","run:complete",{"reason":"success"}]
	< ["3","6","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["3","7","run:${run}","step:complete",{"step_id":"${step}","reason":"success"}]
	< ["3","7","run:${run}","phx_reply",{"status":"error","response":{"state":["already in completed state"],"code":"already_final","current_state":"success",...}}]

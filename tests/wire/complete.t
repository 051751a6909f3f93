# run:complete: the states, the final dataclip, the work order.

test the reason ${reason} makes the run ${state}
	each reason | state
	= success | success
	= ok | success
	= fail | failed
	= crash | crashed
	= cancel | cancelled
	= kill | killed
	= exception | exception
	do started
	run:complete {"reason":"${reason}","error_type":"E","error_message":"why","timestamp":"1795485247455752"} -> ok
	sql> SELECT r.state, r.error_type, r.error_message, extract(epoch FROM r.finished_at), r.finalized_at IS NOT NULL, w.state
		FROM runs r JOIN work_orders w ON w.id = r.work_order_id WHERE r.id = '${run}'
	= ${state} | E | why | 1795485247.455752 | t | ${state}
	sql> SELECT event, from_state, to_state, outcome, code, revision FROM transitions WHERE run_id = '${run}' AND event = 'run:complete'
	= run:complete | started | ${state} | accepted | null | 3
	sql> SELECT count(*) FROM in_flight WHERE run_id = '${run}'
	= 0

test a run that fails before it started, without a timestamp
	do joined
	run:complete {"reason":"exception","error_type":"CredentialLoadError","error_message":"no"} -> ok
	sql> SELECT state, started_at IS NULL, finished_at > now() - interval '1 min', error_type FROM runs WHERE id = '${run}'
	= exception | t | t | CredentialLoadError

test a reason that no worker may say: ${what}
	each what | message
	= "reason":"lost" | is invalid
	= "reason":"failed" | is invalid
	= "reason":"Success" | is invalid
	= "reason":"available" | is invalid
	= "reason":7 | is invalid
	= "reason":true | is invalid
	= "reason":{} | is invalid
	= "reason":"suc\u0000cess" | is invalid
	= "reason":"${x*1000}" | is invalid
	= "reason":"" | can't be blank
	= "reason":null | can't be blank
	= "error_type":"E" | can't be blank
	do started
	run:complete {${what}} -> refused state "${message}" invalid started
	sql> SELECT state, revision FROM runs WHERE id = '${run}'
	= started | 2
	sql> SELECT event, from_state, to_state, outcome, code, revision FROM transitions WHERE run_id = '${run}' ORDER BY id DESC LIMIT 1
	= run:complete | started | started | refused | invalid | 2

test a run that is ${state} stays so
	each state
	= success
	= failed
	= crashed
	= cancelled
	= killed
	= exception
	do started
	let final = ${state}
	do final
	run:complete {"reason":"success"} -> refused state "already in completed state" already_final ${state}
	run:complete {"reason":"crash","error_type":"E"} -> refused state "already in completed state" already_final ${state}
	sql> SELECT state, revision, error_type FROM runs WHERE id = '${run}'
	= ${state} | 2 | null
	sql> SELECT to_state, outcome, code, message FROM transitions WHERE run_id = '${run}' AND outcome = 'refused' ORDER BY id
	= ${state} | refused | already_final | {"reason":"success"}
	= ${state} | refused | already_final | {"reason":"crash","error_type":"E"}

test a run that is not claimed cannot become ${state}
	each reason | state
	= success | success
	= fail | failed
	= kill | killed
	do joined
	sql UPDATE runs SET state = 'available', claimed_at = NULL WHERE id = '${run}'
	run:complete {"reason":"${reason}"} -> refused state "cannot mark run ${state} that has not been claimed by a worker" not_claimed available

test the same run:complete again is a replay: ${what}
	each what
	= "reason":"success","timestamp":"1795485247455752"
	= "reason":"success","timestamp":"1795485247455752","final_state":{"a":1}
	= "reason":"fail","timestamp":"1795485247455752","error_type":"E","error_message":"why"
	= "reason":"success","timestamp":"1795485247455752","final_state":{"a":"${x*70000}"}
	= "reason":"success","timestamp":"1795485247455752","final_dataclip_id":"${dataclip}"
	= "reason":"success","timestamp":"1795485247455752","final_dataclip_id":"${trigger}","final_state":{}
	do started
	> ["3","5","run:${run}","run:complete",{${what}}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":"${first:=}"}]
	run:complete {${what}} -> ok ${first}
	sql> SELECT outcome, revision FROM transitions WHERE run_id = '${run}' AND event = 'run:complete' ORDER BY id
	= accepted | 3
	= replayed | 3
	sql> SELECT count(*) <= 2 FROM dataclips WHERE project_id = '${project}'
	= t

test an end that differs from the first is refused: ${what}
	each what
	= "reason":"fail","timestamp":"1795485247455752","error_type":"E"
	= "reason":"crash","timestamp":"1795485247455753","error_type":"E"
	= "reason":"crash","timestamp":"1795485247455752","error_type":"F"
	= "reason":"crash","timestamp":"1795485247455752"
	= "reason":"crash","error_type":"E"
	= "reason":"crash","timestamp":"1795485247455752","error_type":"E","final_dataclip_id":"${dataclip}"
	do started
	run:complete {"reason":"crash","timestamp":"1795485247455752","error_type":"E"} -> ok
	run:complete {${what}} -> refused state "already in completed state" already_final crashed

test long texts are cut, secrets in them replaced
	given {"secret":{"user":"ophelia","password":"nymph and orisons"}}
	do started
	run:complete {"reason":"fail","error_type":"${x*300}","error_message":"nymph and orisons: no"} -> ok
	sql> SELECT length(error_type), error_message FROM runs WHERE id = '${run}'
	= 255 | ***: no

test open steps are closed as lost, those that ended are left alone
	do stepping
	new other
	step:start {"step_id":"${other}","job_id":"${job_b}"} -> ok {"step_id":"${other}"}
	step:complete {"step_id":"${other}","reason":"fail"} -> ok {"step_id":"${other}"}
	run:complete {"reason":"crash"} -> ok
	sql> SELECT exit_reason, finished_at IS NOT NULL FROM steps WHERE id = '${step}' OR id = '${other}' ORDER BY exit_reason
	= fail | t
	= lost | t

test the newest run decides, though an older one ends later; one in flight counts more
	do started
	sql SELECT interlock_retry('${run}')
	sql> SELECT state FROM work_orders WHERE id = '${work_order}'
	= running
	claim {"queues":["${queue}"]} -> ok {"runs":[{"id":"${second:=}","token":"${second_token:=}"}]}
	> ["4","4","run:${second}","phx_join",{"token":"${second_token}"}]
	< ["4","4","run:${second}","phx_reply",{"status":"ok","response":{}}]
	> ["4","5","run:${second}","run:complete",{"reason":"success"}]
	< ["4","5","run:${second}","phx_reply",{"status":"ok","response":{}}]
	sql> SELECT state FROM work_orders WHERE id = '${work_order}'
	= running
	run:complete {"reason":"fail"} -> ok
	sql> SELECT w.state, w.last_activity >= (SELECT max(finalized_at) FROM runs WHERE work_order_id = w.id)
		FROM work_orders w WHERE id = '${work_order}'
	= success | t

test a run that waits makes its work order pending
	do started
	sql SELECT interlock_retry('${run}')
	run:complete {"reason":"fail"} -> ok
	sql> SELECT state FROM work_orders WHERE id = '${work_order}'
	= pending

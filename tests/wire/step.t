# step:start and step:complete.

# ${other}: a second run of the same workflow, which this worker holds too, its channel joined as "4".
define another run
	sql SELECT interlock_enqueue('${workflow}', queue => '${queue}')
	claim {"queues":["${queue}"]} -> ok {"runs":[{"id":"${other:=}","token":"${other_token:=}"}]}
	> ["4","4","run:${other}","phx_join",{"token":"${other_token}"}]
	< ["4","4","run:${other}","phx_reply",{"status":"ok","response":{}}]

test a step begins and ends
	do started
	new step clip
	step:start {"step_id":"${step}","job_id":"${job_a}","input_dataclip_id":"${dataclip}","timestamp":"1795485247442730"} -> ok {"step_id":"${step}"}
	sql> SELECT job_id, snapshot_id, input_dataclip_id, exit_reason, finished_at, extract(epoch FROM started_at) FROM steps WHERE id = '${step}'
	= ${job_a} | ${snapshot} | ${dataclip} | null | null | 1795485247.442730
	step:complete {"step_id":"${step}","job_id":"${job_a}","reason":"fail","error_type":"E","error_message":"why","mem":{"job":1,"system":2},
		"duration":3,"thread_id":4,"output_dataclip_id":"${clip}","output_dataclip":"{\"n\":1.10}","timestamp":"1795485247455482"} -> ok {"step_id":"${step}"}
	sql> SELECT s.exit_reason, s.error_type, s.error_message, extract(epoch FROM s.finished_at), d.body, d.type, d.source_id
		FROM steps s JOIN dataclips d ON d.id = s.output_dataclip_id WHERE s.id = '${step}'
	= fail | E | why | 1795485247.455482 | {"n":1.10} | step_result | ${step}
	sql> SELECT event, from_state, to_state, outcome, step_id, revision FROM transitions WHERE run_id = '${run}' AND step_id IS NOT NULL ORDER BY id
	= step:start | started | started | accepted | ${step} | 2
	= step:complete | started | started | accepted | ${step} | 2

test a step without timestamps, as after a hard crash
	do started
	new step
	step:start {"step_id":"${step}","job_id":"${job_a}"} -> ok {"step_id":"${step}"}
	step:complete {"step_id":"${step}","reason":"kill"} -> ok {"step_id":"${step}"}
	sql> SELECT exit_reason, started_at > now() - interval '1 min', finished_at > now() - interval '1 min' FROM steps WHERE id = '${step}'
	= kill | t | t

test step:start refuses: ${what}
	each what | refusal
	= "job_id":"${job_a}" | step_id "This field can't be blank." invalid started
	= "step_id":null,"job_id":"${job_a}" | step_id "This field can't be blank." invalid started
	= "step_id":"x","job_id":"${job_a}" | step_id "is invalid" invalid started
	= "step_id":7,"job_id":"${job_a}" | step_id "is invalid" invalid started
	= "step_id":"${step}" | job_id "This field can't be blank." invalid started
	= "step_id":"${step}","job_id":null | job_id "This field can't be blank." invalid started
	= "step_id":"${step}","job_id":"${unknown}" | job_id "does not exist" does_not_exist started
	= "step_id":"${step}","job_id":"${trigger}" | job_id "does not exist" does_not_exist started
	= "step_id":"${step}","job_id":"job1" | job_id "does not exist" does_not_exist started
	= "step_id":"${step}","job_id":7 | job_id "does not exist" does_not_exist started
	do started
	new step unknown
	step:start {${what}} -> refused ${refusal}
	sql> SELECT count(*) FROM steps WHERE project_id = '${project}'
	= 0
	sql> SELECT event, from_state, to_state, outcome, revision FROM transitions WHERE run_id = '${run}' ORDER BY id DESC LIMIT 1
	= step:start | started | started | refused | 2

test a job of another snapshot does not exist
	do started
	new step later
	sql INSERT INTO snapshots (project_id, id, workflow_id, lock_version, name, body) VALUES ('${project}', '${later}', '${workflow}', 2, 'later', '{}')
	sql INSERT INTO snapshot_jobs (project_id, snapshot_id, job_id, name) VALUES ('${project}', '${later}', '${later}', 'later')
	step:start {"step_id":"${step}","job_id":"${later}"} -> refused job_id "does not exist" does_not_exist started
	step:complete {"step_id":"${step}","job_id":"${later}","reason":"success"} -> refused step_id "not found" not_found started

test a step that overtakes the start of its run starts it
	do joined
	new step
	step:start {"step_id":"${step}","job_id":"${job_a}","timestamp":"1795485247442730"} -> ok {"step_id":"${step}"}
	sql> SELECT state, extract(epoch FROM started_at), deadline_at > now() + interval '305 s' FROM runs WHERE id = '${run}'
	= started | 1795485247.442730 | t
	sql> SELECT from_state, to_state, outcome FROM transitions WHERE run_id = '${run}' AND event = 'step:start'
	= claimed | started | accepted

test an input that is ${which} is stored as none, with the same warning
	each which | id
	= unknown | "${unknown}"
	= another project's | "${foreign}"
	= no id | "x"
	= a number | 7
	do started
	do foreign
	new step unknown
	step:start {"step_id":"${step}","job_id":"${job_a}","input_dataclip_id":${id}} -> ok {"step_id":"${step}","warnings":{"input_dataclip_id":["does not exist"]}}
	sql> SELECT input_dataclip_id FROM steps WHERE id = '${step}'
	= null

test an input that is null needs no warning
	do started
	new step
	step:start {"step_id":"${step}","job_id":"${job_a}","input_dataclip_id":null} -> ok {"step_id":"${step}"}

test a credential counts if the job names it: ${which}
	each which | job | id | stored
	= its own | ${job_a} | ${credential} | ${credential}
	= another job's | ${job_b} | ${credential} | null
	= unknown | ${job_a} | ${unknown} | null
	= no id | ${job_a} | x | null
	do started
	new step unknown
	step:start {"step_id":"${step}","job_id":"${job}","credential_id":"${id}"} -> ok {"step_id":"${step}"}
	sql> SELECT credential_id FROM steps WHERE id = '${step}'
	= ${stored}

test the same step:start again is a replay: ${what}
	each what
	= "timestamp":"1795485247442730","input_dataclip_id":"${dataclip}"
	= "input_dataclip_id":"${dataclip}"
	do stepping
	step:start {"step_id":"${step}","job_id":"${job_a}",${what}} -> ok {"step_id":"${step}"}
	sql> SELECT outcome, revision FROM transitions WHERE run_id = '${run}' AND event = 'step:start' ORDER BY id
	= accepted | 2
	= replayed | 2

test the same step with other content is a conflict: ${what}
	each what
	= "job_id":"${job_b}","timestamp":"1795485247442730","input_dataclip_id":"${dataclip}"
	= "job_id":"${job_a}","timestamp":"1795485247442731","input_dataclip_id":"${dataclip}"
	= "job_id":"${job_a}","timestamp":"1795485247442730"
	do stepping
	step:start {"step_id":"${step}",${what}} -> refused step_id "has already been taken" conflict started

test steps of another run are not to be had
	do stepping
	do another run
	> ["4","5","run:${other}","step:start",{"step_id":"${step}","job_id":"${job_a}","timestamp":"1795485247442730","input_dataclip_id":"${dataclip}"}]
	< ["4","5","run:${other}","phx_reply",{"status":"error","response":{"step_id":["has already been taken"],"code":"conflict",...}}]
	> ["4","6","run:${other}","step:complete",{"step_id":"${step}","reason":"success"}]
	< ["4","6","run:${other}","phx_reply",{"status":"error","response":{"step_id":["not found"],"errors":{"step_id":["not found"]},"code":"not_found","retryable":false,"current_state":"claimed"}}]
	> ["4","7","run:${other}","step:complete",{"step_id":"${step}","job_id":"${job_a}","reason":"success"}]
	< ["4","7","run:${other}","phx_reply",{"status":"error","response":{"step_id":["not found"],"code":"not_found",...}}]
	sql> SELECT exit_reason FROM steps WHERE id = '${step}'
	= null
	step:complete {"step_id":"${step}","reason":"success"} -> ok {"step_id":"${step}"}

test step:complete refuses: ${what}
	each what | refusal
	= "reason":"success" | step_id "This field can't be blank." invalid started
	= "step_id":null,"reason":"success" | step_id "This field can't be blank." invalid started
	= "step_id":"x","reason":"success" | step_id "not found" not_found started
	= "step_id":"${unknown}","reason":"success" | step_id "not found" not_found started
	= "step_id":"${unknown}","job_id":"x","reason":"success" | step_id "not found" not_found started
	= "step_id":"${unknown}","job_id":"${unknown}","reason":"success" | step_id "not found" not_found started
	= "step_id":"${step}" | reason "This field can't be blank." invalid started
	= "step_id":"${step}","reason":"" | reason "This field can't be blank." invalid started
	= "step_id":"${step}","reason":7 | reason "is invalid" invalid started
	do stepping
	new unknown
	step:complete {${what}} -> refused ${refusal}
	sql> SELECT exit_reason FROM steps WHERE project_id = '${project}'
	= null
	sql> SELECT event, from_state, to_state, outcome, revision FROM transitions WHERE run_id = '${run}' ORDER BY id DESC LIMIT 1
	= step:complete | started | started | refused | 2

test a step ends as its worker says: ${reason}
	each reason
	= success
	= fail
	= crash
	= whatever
	do stepping
	step:complete {"step_id":"${step}","reason":"${reason}"} -> ok {"step_id":"${step}"}
	sql> SELECT exit_reason FROM steps WHERE id = '${step}'
	= ${reason}

test a step whose start was lost is made and completed in one
	do started
	new step clip
	step:complete {"step_id":"${step}","job_id":"${job_a}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"{}","timestamp":"1795485247455482"} -> ok {"step_id":"${step}"}
	sql> SELECT s.exit_reason, s.job_id, s.output_dataclip_id, s.started_at, t.outcome FROM steps s
		JOIN transitions t ON t.step_id = s.id JOIN run_steps r ON r.step_id = s.id AND r.run_id = '${run}' WHERE s.id = '${step}'
	= success | ${job_a} | ${clip} | null | implicit
	step:complete {"step_id":"${step}","job_id":"${job_a}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"{}","timestamp":"1795485247455482"} -> ok {"step_id":"${step}"}

test the same, before the run's start was received
	do joined
	new step
	step:complete {"step_id":"${step}","job_id":"${job_a}","reason":"success"} -> ok {"step_id":"${step}"}
	sql> SELECT r.state, s.exit_reason FROM runs r, steps s WHERE r.id = '${run}' AND s.id = '${step}'
	= claimed | success

test the same step:complete again is a replay: ${what}
	each what
	= "reason":"fail","error_type":"E","error_message":"why","timestamp":"1795485247455482","output_dataclip_id":"${clip}","output_dataclip":"{}"
	= "reason":"fail","error_type":"E","output_dataclip_id":"${clip}"
	do stepping
	let clip = ${job_a}
	step:complete {"step_id":"${step}","reason":"fail","error_type":"E","error_message":"why","timestamp":"1795485247455482","output_dataclip_id":"${clip}","output_dataclip":"{}"} -> ok {"step_id":"${step}"}
	step:complete {"step_id":"${step}",${what}} -> ok {"step_id":"${step}",...}
	sql> SELECT outcome, revision FROM transitions WHERE run_id = '${run}' AND event = 'step:complete' ORDER BY id
	= accepted | 2
	= replayed | 2

test the same step with another end is a conflict: ${what}
	each what
	= "reason":"success","timestamp":"1795485247455482"
	= "reason":"fail","timestamp":"1795485247455483"
	= "reason":"fail","error_type":"E","timestamp":"1795485247455482"
	= "reason":"fail","timestamp":"1795485247455482","output_dataclip_id":"${trigger}","output_dataclip":"{}"
	do stepping
	step:complete {"step_id":"${step}","reason":"fail","timestamp":"1795485247455482"} -> ok {"step_id":"${step}"}
	step:complete {"step_id":"${step}",${what}} -> refused step_id "has already been taken" conflict started

test a run that is ${state} has no more steps
	each state
	= success
	= failed
	= crashed
	= cancelled
	= killed
	= exception
	do stepping
	new other
	let final = ${state}
	do final
	step:start {"step_id":"${other}","job_id":"${job_a}"} -> refused state "already in completed state" already_final ${state}
	step:complete {"step_id":"${step}","reason":"success"} -> refused state "already in completed state" already_final ${state}
	step:complete {"step_id":"${other}","job_id":"${job_a}","reason":"success"} -> refused state "already in completed state" already_final ${state}
	sql> SELECT count(*), count(exit_reason) FROM steps WHERE project_id = '${project}'
	= 1 | 0

test a run that is not claimed has no steps
	do joined
	new step
	sql UPDATE runs SET state = 'available', claimed_at = NULL WHERE id = '${run}'
	step:start {"step_id":"${step}","job_id":"${job_a}"} -> refused state "cannot mark run started that has not been claimed by a worker" not_claimed available
	step:complete {"step_id":"${step}","job_id":"${job_a}","reason":"success"} -> refused state "cannot mark run started that has not been claimed by a worker" not_claimed available

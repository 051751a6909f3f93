# How a worker comes to hold a run; what other transcripts begin with. Every test has a project of
# its own, and its run waits in a queue of its own.

define listening
	> ["1","1","worker:queue","phx_join",{"capacity":5}]
	< ["1","1","worker:queue","phx_reply",{"status":"ok","response":{}}]

define claimed
	do listening
	> ["1","2","worker:queue","claim",{"demand":1,"worker_name":"w1","queues":["${queue}"]}]
	< ["1","2","worker:queue","phx_reply",{"status":"ok","response":{"runs":[{"id":"${run}","token":"${token:=}"}]}}]

define joined
	do claimed
	> ["3","3","run:${run}","phx_join",{"token":"${token}"}]
	< ["3","3","run:${run}","phx_reply",{"status":"ok","response":{}}]

define started
	do joined
	> ["3","4","run:${run}","run:start",{"timestamp":"1795485247440566","versions":{"worker":"1.25.0"}}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{}}]

# Step ${step} of job a is open.
define stepping
	do started
	new step
	> ["3","5","run:${run}","step:start",{"step_id":"${step}","job_id":"${job_a}",
		"timestamp":"1795485247442730","input_dataclip_id":"${dataclip}"}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{"step_id":"${step}"}}]

# The claim was released, as the janitor does it if its worker has not joined in time.
define unjoined
	sql UPDATE runs SET state = 'available', claimed_at = NULL, claim_epoch = claim_epoch + 1, claim_id = NULL,
		unjoined_claims = ARRAY[claim_id] WHERE id = '${run}'

# The run is in the final state ${final}, its epoch and its channel as they were.
define final
	sql WITH f AS (DELETE FROM in_flight WHERE run_id = '${run}')
		UPDATE runs SET state = '${final}', finished_at = now(), finalized_at = now() WHERE id = '${run}'

# ${foreign}: a dataclip of another project.
define foreign
	new foreign elsewhere
	sql INSERT INTO projects (id, name) VALUES ('${elsewhere}', 'elsewhere')
	sql INSERT INTO dataclips (project_id, id, type, body) VALUES ('${elsewhere}', '${foreign}', 'step_result', '{"secret":1}')

# What breaks the real worker: a test for each row of that table in the protocol. What needs an absent database
# is in tests/faults; a trigger edge without a condition and adaptor versions are refused or
# warned about at the import (cli.test.sh).

test fetch:plan is never answered with an error: ${when}
	each when | state
	= the run is over | 'success', finished_at = now(), finalized_at = now()
	= the run is lost | 'lost', lost_from = 'started', finished_at = now(), finalized_at = now()
	= another worker has it | 'started', claim_epoch = 9
	= it is not claimed | 'available', claim_epoch = 2
	do started
	sql UPDATE runs SET state = ${state} WHERE id = '${run}'
	fetch:plan {"id":[]} -> ok {"id":"${run}",...}
	cut
	B phx_join {"token":"${token}"} -> ok
	B fetch:plan {} -> ok {"id":"${run}",...}

test run:log and run:batch_logs are never answered with an error: ${payload}
	each payload
	= {}
	= []
	= null
	= "text"
	= {"message":null,"logs":null}
	= {"message":{"a":["\u0000"]},"logs":[[],{},7]}
	= {"message":"x","logs":[{"message":"x"}],"step_id":7,"timestamp":{},"level":[],"source":{}}
	= {"message":["${x*2000000}"],"logs":[{"message":["${x*2000000}"]}]}
	= {"message":${[*5000}${]*5000}}
	do joined
	run:log ${payload} -> ok {...}
	run:batch_logs ${payload} -> ok {...}
	run:complete {"reason":"success"} -> ok

test a worker's last line, after which its run:complete comes, is ok whatever became of the run
	do started
	sql UPDATE runs SET claim_epoch = 9 WHERE id = '${run}'
	run:log {"message":["done"]} -> warned state "claimed by another worker"

# Also: at its end every test fails if the daemon has closed a socket with 1000.
test no socket is closed with 1000: ${frame}
	each frame | code
	= nonsense | 1007
	= [] | 1002
	> ${frame}
	< close ${code}

test worker:queue is closed only for a worker that left it, or joined it again
	do listening
	> ["1","2","worker:queue","phx_join",[]]
	< ["1","1","worker:queue","phx_close",{}]
	< ["1","2","worker:queue","phx_reply",{"status":"ok","response":{}}]
	> ["1","3","worker:queue","dance",{}]
	< ["1","3","worker:queue","phx_reply",{"status":"error","response":{"reason":"unknown event",...}}]
	> ["9","4","worker:queue","claim",{}]
	< ["9","4","worker:queue","phx_reply",{"status":"error","response":{"reason":"unmatched topic",...}}]
	< quiet

test a run's channel stays, whatever becomes of the run
	do started
	run:complete {"reason":"success"} -> ok
	< quiet
	sql UPDATE runs SET claim_epoch = 9 WHERE id = '${run}'
	run:complete {"reason":"success"} -> refused state "claimed by another worker" superseded
	< quiet
	run:log {"message":["late"]} -> warned state "claimed by another worker"
	< quiet

test the re-join of a run that this worker once held is never refused: ${state}
	each state
	= 'started', claim_epoch = 9
	= 'available', claim_epoch = 2, claimed_at = NULL
	= 'failed', finished_at = now(), finalized_at = now()
	= 'failed', finished_at = now(), finalized_at = now(), claim_epoch = 9
	= 'lost', lost_from = 'started', finished_at = now(), finalized_at = now(), deadline_at = now() - interval '1 day'
	= 'lost', lost_from = 'started', finished_at = now() - interval '1 day', finalized_at = now() - interval '1 day'
	do joined
	cut
	sql UPDATE runs SET started_at = now(), state = ${state} WHERE id = '${run}'
	B phx_join {"token":"${token}"} -> ok

test a claim is answered at once: ${payload}
	each payload
	= {}
	= {"demand":5,"queues":["nothing-here"]}
	= {"demand":-1,"queues":{}}
	= []
	sql DELETE FROM waiting
	do listening
	claim ${payload} -> ok {"runs":[]}

test every heartbeat is answered, with anything in it
	> [null,"1","phoenix","heartbeat",{}]
	< [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]
	> [null,"2","phoenix","heartbeat",null]
	< [null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]
	> ["7",null,"phoenix","heartbeat",[1,2]]
	< ["7",null,"phoenix","phx_reply",{"status":"ok","response":{}}]

test a heartbeat is answered while a message of the same socket waits for the database
	do started
	sql BEGIN
	sql SELECT FROM work_orders WHERE id = '${work_order}' FOR NO KEY UPDATE
	> ["3","5","run:${run}","run:complete",{"reason":"success"}]
	wait sql> SELECT count(*) FROM pg_locks WHERE NOT granted
	= 1
	> [null,"6","phoenix","heartbeat",{}]
	< [null,"6","phoenix","phx_reply",{"status":"ok","response":{}}]
	sql COMMIT
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{}}]

test every trigger edge of a plan has a condition
	do joined
	fetch:plan {} -> ok {"edges":[{"source_trigger_id":"${trigger}","condition":"always",...},{"condition":"on_job_success",...}],...}

test a run that starts at a trigger without an enabled edge is refused when it is enqueued
	sql UPDATE triggers SET runnable = false WHERE id = '${trigger}'
	http POST /i/${trigger} {} -> 422
	sql SELECT interlock_enqueue('${workflow}') -> "no such trigger with an enabled edge"

test a large frame is no reason to drop the socket
	do started
	new step clip
	step:complete {"step_id":"${step}","job_id":"${job_a}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"\"${x*9000000}\""} -> ok {"step_id":"${step}"}
	run:complete {"reason":"success","final_state":{"a":"${x*9000000}"}} -> ok
	sql> SELECT length(d.body) FROM runs r JOIN dataclips d ON d.id = r.final_dataclip_id WHERE r.id = '${run}'
	= 9000008

test a frame above max_message is answered, and the socket stays
	daemon {"limits":{"max_message":"4KiB"}}
	do started
	run:start {"versions":{"a":"${x*1000000}"}} -> refused - "message is too large" too_large started
	run:complete {"reason":"success"} -> ok

test a run that fails early says so without a start, a timestamp or a final state
	do joined
	run:complete {"reason":"exception","error_type":"ValidationError","error_message":"no","final_dataclip_id":null} -> ok
	sql> SELECT state, started_at, error_type FROM runs WHERE id = '${run}'
	= exception | null | ValidationError

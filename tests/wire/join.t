# The join of a run's channel: the token decides which run and which claim the channel speaks for.

test a token is refused: ${why}
	each why | what
	= signed with another key | {"by":"another key"}
	= signed with a key of another kind | {"by":"a key of another kind"}
	= signed with the secret of workers | {"by":"the secret"}
	= signed with the public key as if it were a secret | {"by":"the public key"}
	= unsigned, alg none | {"by":"unsigned"}
	= signed well, alg none | {"alg":"none"}
	= another algorithm is named | {"alg":"RS512"}
	= HS256 is named | {"alg":"HS256"}
	= sub is another run's | {"claims":{"sub":"run:${dataclip}"}}
	= id is another run's | {"claims":{"id":"${dataclip}"}}
	= id is no id | {"claims":{"id":"7"}}
	= sub is no run's | {"claims":{"sub":"${run}"}}
	= another issuer | {"claims":{"iss":"lightning"}}
	= the epoch is a string | {"claims":{"epoch":"1"}}
	= the epoch is no integer | {"claims":{"epoch":1.5}}
	= the epoch is beyond all numbers of ours | {"claims":{"epoch":4294967297}}
	= exp is past | {"claims":{"exp":1700000000}}
	= exp is a string | {"claims":{"exp":"4102444800"}}
	= nbf is ahead | {"claims":{"nbf":4102444800}}
	= nbf is a string | {"claims":{"nbf":"1700000000"}}
	= no issuer | {"claims":{"iss":null}}
	= no id | {"claims":{"id":null}}
	= no sub | {"claims":{"sub":null}}
	= no epoch | {"claims":{"epoch":null}}
	= no claim | {"claims":{"claim":null}}
	= the claim is no id | {"claims":{"claim":"1"}}
	= the claim is a number | {"claims":{"claim":1}}
	= no iat | {"claims":{"iat":null}}
	= no nbf | {"claims":{"nbf":null}}
	= no exp | {"claims":{"exp":null}}
	= no project | {"claims":{"project_id":null}}
	= no work order | {"claims":{"work_order_id":null}}
	do claimed
	run token x ${what}
	phx_join {"token":"${x}"} -> refused - "unauthorized" unauthorized
	sql> SELECT joined_at IS NULL FROM runs WHERE id = '${run}'
	= t
	phx_join {"token":"${token}"} -> ok

test what is no token: ${payload}
	each payload
	= {}
	= {"token":null}
	= {"token":7}
	= {"token":""}
	= {"token":"a.b.c"}
	= {"token":"\u0000"}
	= {"token":{"token":"${token}"}}
	= []
	= null
	do claimed
	phx_join ${payload} -> refused - "unauthorized" unauthorized
	phx_join {"token":"${token}"} -> ok

test the token of one run opens no other, nor does a worker's
	do claimed
	let first = ${run}
	new run
	phx_join {"token":"${token}"} -> refused - "unauthorized" unauthorized
	let run = ${first}
	token mine {"claims":{"iss":"Lightning","id":"${run}","sub":"run:${run}","epoch":1,"nbf":1,"exp":4000000000,"project_id":"${project}","work_order_id":"${work_order}"}}
	phx_join {"token":"${mine}"} -> refused - "unauthorized" unauthorized

# It was there, or there would be no token: a failover has lost it, and its worker gets an empty plan.
test a run that does not exist, or not in this project: ${why}
	each why | named | claims
	= there is none | ${trigger} | {"id":"${trigger}","sub":"run:${trigger}"}
	= of another project | ${run} | {"project_id":"${workflow}"}
	do claimed
	run token x {"claims":${claims}}
	let run = ${named}
	phx_join {"token":"${x}"} -> ok
	fetch:plan {} -> ok {"id":"${run}","jobs":[],"edges":[],"triggers":[],...}
	fetch:dataclip {} -> refused state "claimed by another worker" superseded
	run:start {} -> refused state "claimed by another worker" superseded
	run:complete {"reason":"success","final_state":{"a":"${x*70000}"}} -> refused state "claimed by another worker" superseded
	run:log {"message":["late"],"level":"info"} -> warned state "claimed by another worker"

test the join is noted, once
	do claimed
	phx_join {"token":"${token}"} -> ok
	sql> SELECT joined_at IS NOT NULL, state FROM runs WHERE id = '${run}'
	= t | claimed
	sql> SELECT joined_at FROM runs WHERE id = '${run}'
	= ${at:=}
	B phx_join {"token":"${token}"} -> ok
	sql> SELECT joined_at FROM runs WHERE id = '${run}'
	= ${at}

test a claim that was released before it was joined is superseded
	do claimed
	do unjoined
	phx_join {"token":"${token}"} -> refused - "superseded" superseded

test it is superseded when another worker has the run, too
	do claimed
	do unjoined
	sql UPDATE runs SET state = 'claimed', claimed_at = now(), claim_epoch = 3, claim_id = gen_random_uuid() WHERE id = '${run}'
	phx_join {"token":"${token}"} -> refused - "superseded" superseded

test a worker that once held the run gets an empty plan, and changes nothing
	do stepping
	sql UPDATE runs SET claim_epoch = 3 WHERE id = '${run}'
	> ["3","9","run:${run}","phx_leave",{}]
	< ["3","9","run:${run}","phx_reply",{"status":"ok","response":{}}]
	< ["3","3","run:${run}","phx_close",{}]
	phx_join {"token":"${token}"} -> ok
	fetch:plan {} -> ok {"id":"${run}","jobs":[],"edges":[],"triggers":[],...}
	fetch:dataclip {"id":"${dataclip}"} -> refused state "claimed by another worker" superseded
	run:start {} -> refused state "claimed by another worker" superseded
	step:start {"step_id":"${trigger}","job_id":"${job_b}"} -> refused state "claimed by another worker" superseded
	step:complete {"step_id":"${step}","reason":"success"} -> refused state "claimed by another worker" superseded
	run:complete {"reason":"success"} -> refused state "claimed by another worker" superseded
	run:complete {"reason":"success","final_state":{"a":"${x*70000}"}} -> refused state "claimed by another worker" superseded
	run:log {"message":["late"],"level":"info"} -> warned state "claimed by another worker"
	run:batch_logs {"logs":[{"message":["late"]}]} -> warned state "claimed by another worker"
	fetch:credential {"id":"${credential}"} -> error {"errors":{"id":["Credential not found!"]}}
	sql> SELECT r.state, r.revision, s.exit_reason, (SELECT count(*) FROM steps WHERE project_id = r.project_id),
		(SELECT count(*) FROM log_lines l WHERE l.run_id = r.id), (SELECT count(*) FROM dataclips d WHERE d.project_id = r.project_id)
		FROM runs r, steps s WHERE r.id = '${run}' AND s.id = '${step}'
	= started | 2 | null | 1 | 0 | 1
	sql> SELECT event, outcome, code FROM transitions WHERE run_id = '${run}' AND outcome <> 'accepted' ORDER BY id
	= run:start | refused | superseded
	= step:start | refused | superseded
	= step:complete | refused | superseded
	= run:complete | refused | superseded
	= run:complete | refused | superseded

# As after a failover to a standby that lacked the last commits.
test a claim that the run has never known gets an empty plan: ${why}
	each why | token | row
	= the same epoch, another claim | {"claims":{"claim":"${dataclip}"}} | claim_epoch = 1
	= a larger epoch | {"claims":{"claim":"${dataclip}","epoch":7}} | claim_epoch = 1
	= a smaller epoch | {"claims":{"claim":"${dataclip}"}} | claim_epoch = 3
	= the right claim, another epoch | {"claims":{"epoch":2}} | claim_epoch = 1
	= the run is not claimed | {} | claim_epoch = 0, claim_id = NULL, state = 'available', claimed_at = NULL
	do claimed
	run token x ${token}
	sql UPDATE runs SET ${row} WHERE id = '${run}'
	phx_join {"token":"${x}"} -> ok
	fetch:plan {} -> ok {"id":"${run}","jobs":[],"edges":[],"triggers":[],...}
	run:start {} -> refused state "claimed by another worker" superseded
	run:complete {"reason":"success"} -> refused state "claimed by another worker" superseded
	run:log {"message":["late"],"level":"info"} -> warned state "claimed by another worker"
	fetch:credential {"id":"${credential}"} -> error {"errors":{"id":["Credential not found!"]}}
	sql> SELECT joined_at, started_at, finished_at, revision FROM runs WHERE id = '${run}'
	= null | null | null | 1

test a channel that was joined before another worker claimed the run is superseded too
	do started
	sql UPDATE runs SET claim_epoch = 3 WHERE id = '${run}'
	run:complete {"reason":"success"} -> refused state "claimed by another worker" superseded
	run:log {"message":["late"]} -> warned state "claimed by another worker"

test the join of a final run is accepted: late messages and logs follow
	do started
	run:complete {"reason":"success","timestamp":"1795485247455752"} -> ok
	B phx_join {"token":"${token}"} -> ok
	B fetch:plan {} -> ok {"id":"${run}","jobs":[{...},{...}],...}
	B run:log {"message":["late"]} -> ok {"log_line_id":"*"}
	B run:complete {"reason":"success","timestamp":"1795485247455752"} -> ok
	B run:complete {"reason":"fail"} -> refused state "already in completed state" already_final success
	sql> SELECT message FROM log_lines WHERE run_id = '${run}'
	= late

test a started run's worker joins again and goes on
	do stepping
	cut
	B phx_join {"token":"${token}"} -> ok
	B step:complete {"step_id":"${step}","reason":"success"} -> ok {"step_id":"${step}"}
	B run:complete {"reason":"success"} -> ok

# run:start, and times.

test a claimed run starts
	do joined
	run:start {"timestamp":"1795485247440566","versions":{"worker":"1.25.0","node":"18"}} -> ok
	sql> SELECT state, started_at AT TIME ZONE 'UTC', versions, revision, claimed_at > now() - interval '1 min',
		deadline_at > now() + interval '305 s' FROM runs WHERE id = '${run}'
	= started | 2026-11-24 01:54:07.440566 | {"worker":"1.25.0","node":"18"} | 2 | t | t
	sql> SELECT event, from_state, to_state, outcome, code, extract(epoch FROM worker_at), revision FROM transitions
		WHERE run_id = '${run}' AND event = 'run:start'
	= run:start | claimed | started | accepted | null | 1795485247.440566 | 2

test a timestamp is read: ${timestamp}
	each timestamp | seconds
	= "1795485247440566" | 1795485247.440566
	= 1795485247440566 | 1795485247.440566
	= "1795485247440" | 1795485247.440000
	= 1795485247440 | 1795485247.440000
	do joined
	run:start {"timestamp":${timestamp}} -> ok
	sql> SELECT extract(epoch FROM started_at) FROM runs WHERE id = '${run}'
	= ${seconds}
	run:complete {"reason":"success","timestamp":${timestamp}} -> ok
	sql> SELECT extract(epoch FROM finished_at) FROM runs WHERE id = '${run}'
	= ${seconds}

test a missing timestamp is the receipt's, and so is what is none: ${timestamp}
	each timestamp
	= 
	= "timestamp":null
	= "timestamp":""
	= "timestamp":"yesterday"
	= "timestamp":"2026-11-24T01:54:07Z"
	= "timestamp":true
	= "timestamp":{}
	= "timestamp":-5
	= "timestamp":0
	= "timestamp":1795485247440566.5
	= "timestamp":"1795485247440566x"
	= "timestamp":"99999999999999999999999"
	= "timestamp":9223372036854775807
	do joined
	run:start {${timestamp}} -> ok
	sql> SELECT abs(extract(epoch FROM now() - started_at)) < 60 FROM runs WHERE id = '${run}'
	= t

test the clocks of worker and database need not agree: finished long before it started
	do started
	run:complete {"reason":"success","timestamp":"1000000000000000"} -> ok
	sql> SELECT finished_at < started_at, finalized_at > now() - interval '1 min' FROM runs WHERE id = '${run}'
	= t | t

test versions: ${versions}
	each versions | stored
	= {"worker":"1.25.0"} | {"worker":"1.25.0"}
	= "1.25.0" | "1.25.0"
	= null | null
	= {"a":"${x*5000}"} | null
	do joined
	run:start {"versions":${versions}} -> ok
	sql> SELECT versions FROM runs WHERE id = '${run}'
	= ${stored}

test the same run:start again is a replay
	do joined
	run:start {"timestamp":"1795485247440566","versions":{"worker":"1.25.0"}} -> ok
	run:start {"timestamp":"1795485247440566","versions":{"worker":"1.25.0"}} -> ok
	run:start {"timestamp":"1795485247440566"} -> ok
	sql> SELECT outcome, revision FROM transitions WHERE run_id = '${run}' AND event = 'run:start' ORDER BY id
	= accepted | 2
	= replayed | 2
	= replayed | 2

test another run:start is refused: ${what}
	each what
	= {"timestamp":"1795485247440999","versions":{"worker":"1.25.0"}}
	= {"timestamp":"1795485247440566","versions":{"worker":"9.99.9"}}
	= {}
	do started
	run:start ${what} -> refused state "already started" already_started started
	sql> SELECT revision, versions FROM runs WHERE id = '${run}'
	= 2 | {"worker":"1.25.0"}

test a run that is ${state} does not start
	each state
	= success
	= failed
	= crashed
	= cancelled
	= killed
	= exception
	do joined
	let final = ${state}
	do final
	run:start {} -> refused state "already in completed state" already_final ${final}
	sql> SELECT state, started_at IS NULL FROM runs WHERE id = '${run}'
	= ${final} | t
	sql> SELECT event, from_state, to_state, outcome, code, message FROM transitions WHERE run_id = '${run}' AND outcome <> 'accepted'
	= run:start | ${final} | ${final} | refused | already_final | {}

test a run that is not claimed cannot be started
	do joined
	sql UPDATE runs SET state = 'available', claimed_at = NULL WHERE id = '${run}'
	run:start {} -> refused state "cannot mark run started that has not been claimed by a worker" not_claimed available

test a run that a step has started takes its first run:start, and only that
	do joined
	new step
	step:start {"step_id":"${step}","job_id":"${job_a}","timestamp":"1795485247442730"} -> ok {"step_id":"${step}"}
	run:start {"timestamp":"1795485247440566","versions":{"worker":"1.25.0"}} -> ok
	run:start {"timestamp":"1795485247440999"} -> refused state "already started" already_started started
	sql> SELECT state, versions, extract(epoch FROM started_at) FROM runs WHERE id = '${run}'
	= started | {"worker":"1.25.0"} | 1795485247.440566

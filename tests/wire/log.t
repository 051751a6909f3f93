# run:log and run:batch_logs: always ok, and no secret reaches the table.

test a line: ${message}
	each message | stored
	= ["hello"] | hello
	= ["hello","you"] | hello you
	= "plain" | plain
	= ["a",{"b":1.10},[1,null],true,7] | a {"b":1.10} [1,null] true 7
	= {"a":1} | {"a":1}
	= 7 | 7
	= false | false
	= [] | 
	= "" | 
	= ["tab\tand \"quotes\" é"] | tab	and "quotes" é
	= ["a\u0000b"] | a\u0000b
	= ["\ud83d\ude00 and \ud83d"] | \ud83d\ude00 and \ud83d
	do joined
	run:log {"run_id":"${run}","message":${message},"source":"R/T","level":"info","timestamp":"1795485247440907"} -> ok {"log_line_id":"${id:=}"}
	sql> SELECT id, message, source, level, step_id, extract(epoch FROM timestamp) FROM log_lines WHERE run_id = '${run}'
	= ${id} | ${stored} | R/T | info | null | 1795485247.440907

test a level: ${level}
	each level | stored
	= "debug" | debug
	= "info" | info
	= "success" | success
	= "warn" | warn
	= "error" | error
	= "always" | always
	= "loud" | info
	= "ERROR" | info
	= "" | info
	= null | info
	= 7 | info
	do joined
	run:log {"message":["x"],"level":${level}} -> ok {"log_line_id":"*"}
	sql> SELECT level FROM log_lines WHERE run_id = '${run}'
	= ${stored}

test lines come before run:start, in a step, and after the end
	do joined
	run:log {"message":["before"]} -> ok {"log_line_id":"*"}
	run:start {} -> ok
	new step
	step:start {"step_id":"${step}","job_id":"${job_a}"} -> ok {"step_id":"${step}"}
	run:log {"message":["in"],"step_id":"${step}"} -> ok {"log_line_id":"*"}
	run:complete {"reason":"success"} -> ok
	run:log {"message":["after"],"step_id":"${step}"} -> ok {"log_line_id":"*"}
	sql> SELECT message, step_id FROM log_lines WHERE run_id = '${run}' ORDER BY id
	= before | null
	= in | ${step}
	= after | ${step}

test lines of a lost run are kept: evidence is never thrown away
	do started
	sql UPDATE runs SET state = 'lost', lost_from = 'started', finished_at = now(), finalized_at = now() WHERE id = '${run}'
	run:log {"message":["late"]} -> ok {"log_line_id":"*"}
	sql> SELECT message FROM log_lines WHERE run_id = '${run}'
	= late

test a step that is ${which} is dropped from its line
	each which | id
	= nobody's | "${nobody}"
	= another run's | "${other}"
	= no id | "x"
	= a number | 7
	do stepping
	new nobody other
	sql INSERT INTO steps (project_id, id, snapshot_id, job_id) VALUES ('${project}', '${other}', '${snapshot}', '${job_a}')
	run:log {"message":["x"],"step_id":${id}} -> ok {"log_line_id":"*","warnings":{"step_id":["must be associated with the run"]}}
	run:batch_logs {"logs":[{"message":["y"],"step_id":${id}},{"message":["z"],"step_id":"${step}"}]} -> ok {"warnings":{"step_id":["must be associated with the run"]}}
	sql> SELECT message, step_id FROM log_lines WHERE run_id = '${run}' ORDER BY id
	= x | null
	= y | null
	= z | ${step}

test another run_id in the payload changes nothing
	do joined
	run:log {"run_id":"${trigger}","message":["x"]} -> ok {"log_line_id":"*"}
	run:batch_logs {"run_id":7,"logs":[{"message":["y"]}]} -> ok
	sql> SELECT count(*) FROM log_lines WHERE run_id = '${run}'
	= 2

test a batch keeps its order
	do joined
	run:batch_logs {"run_id":"${run}","logs":[
		{"message":["one"],"level":"debug","source":"R/T","timestamp":"1795485247440907"},
		{"message":"two","level":"loud"},{"message":[3],"level":"always","timestamp":1795485247440}]} -> ok
	sql> SELECT message, level, source, timestamp > now() - interval '1 min' FROM log_lines WHERE run_id = '${run}' ORDER BY id
	= one | debug | R/T | f
	= two | info | null | t
	= 3 | always | null | f

test what cannot be stored is named: ${payload}
	each event | payload | reply | lines
	= run:log | {"level":"info"} | {"warnings":{"message":["can't be blank"]}} | 0
	= run:log | {"message":null} | {"warnings":{"message":["can't be blank"]}} | 0
	= run:log | [] | {"warnings":{"message":["could not be stored: invalid"]}} | 0
	= run:log | null | {"warnings":{"message":["could not be stored: invalid"]}} | 0
	= run:batch_logs | {} | {"warnings":{"logs":["is invalid"]}} | 0
	= run:batch_logs | {"logs":7} | {"warnings":{"logs":["is invalid"]}} | 0
	= run:batch_logs | {"logs":{"message":["x"]}} | {"warnings":{"logs":["is invalid"]}} | 0
	= run:batch_logs | {"logs":[]} | {} | 0
	= run:batch_logs | "logs" | {"warnings":{"message":["could not be stored: invalid"]}} | 0
	= run:batch_logs | {"logs":[7,null,[],{"level":"info"}]} | {"warnings":{"message":["can't be blank"]}} | 0
	= run:batch_logs | {"logs":[{"message":["x"]},{"level":"info"},{"message":["y"]}]} | {"warnings":{"message":["can't be blank"]}} | 2
	= run:log | {"message":["${é*600000}"]} | {"log_line_id":"*","warnings":{"message":["is too large and was cut"]}} | 1
	do joined
	${event} ${payload} -> ok ${reply}
	sql> SELECT count(*), coalesce(max(octet_length(message)), 0) <= 1048576 FROM log_lines WHERE run_id = '${run}'
	= ${lines} | t
	run:complete {"reason":"success"} -> ok

test times and sources that are none
	do joined
	run:log {"message":["x"],"timestamp":"yesterday","source":7} -> ok {"log_line_id":"*"}
	run:log {"message":["x"],"timestamp":{},"source":"${x*300}"} -> ok {"log_line_id":"*"}
	sql> SELECT timestamp > now() - interval '1 min', length(source) <= 255 FROM log_lines WHERE run_id = '${run}' ORDER BY id
	= t | null
	= t | null

test a secret is replaced: ${what}
	each what | message | stored
	= plain | ["it is nymph & \"orisons\"!"] | it is ***!
	= twice | ["nymph & \"orisons\"nymph & \"orisons\""] | ******
	= in a string of JSON | [{"p":"nymph & \"orisons\""}] | {"p":"***"}
	= base64 | ["bnltcGggJiAib3Jpc29ucyI="] | ***=
	= base64, amidst more | ["x bnltcGggJiAib3Jpc29ucyI= y"] | x ***= y
	= a basic-auth pair | ["Authorization: Basic b3BoZWxpYTpueW1waCAmICJvcmlzb25zIg=="] | Authorization: Basic ***==
	= a number | ["pin 123456 and 12345"] | pin *** and 12345
	= a number as a value | [{"pin":123456}] | {"pin":***}
	= nested | ["key: deep-down-key"] | key: ***
	= joined across strings of the message | ["nymph","& \"orisons\""] | ***
	= not what is short | ["abc ophelia"] | abc ***
	given {"secret":{"username":"ophelia","password":"nymph & \"orisons\"","pin":123456,"s":"abc","n":12345,"deep":{"keys":["deep-down-key"]}}}
	do joined
	run:log {"message":${message}} -> ok {"log_line_id":"*"}
	run:batch_logs {"logs":[{"message":${message}}]} -> ok
	sql> SELECT message FROM log_lines WHERE run_id = '${run}'
	= ${stored}
	= ${stored}

test another run's secrets are not replaced, nor anything where there are none
	given {"secret":{}}
	do joined
	run:log {"message":["nymph & orisons 123456"]} -> ok {"log_line_id":"*"}
	sql> SELECT message FROM log_lines WHERE run_id = '${run}'
	= nymph & orisons 123456

test the journal keeps no secret either
	given {"secret":{"password":"nymph and orisons"}}
	do started
	run:complete {"reason":"success"} -> ok
	run:complete {"reason":"fail","error_message":"nymph and orisons"} -> refused state "already in completed state" already_final success
	sql> SELECT message FROM transitions WHERE run_id = '${run}' AND outcome = 'refused'
	= {"reason":"fail","error_message":"***"}

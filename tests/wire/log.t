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
	= unknown | "${unknown}"
	= another run's | "${other}"
	= no id | "x"
	= a number | 7
	do stepping
	new unknown other
	sql INSERT INTO steps (project_id, id, run_id, snapshot_id, job_id) VALUES ('${project}', '${other}', '${unknown}', '${snapshot}', '${job_a}')
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

# Its last line of base64 is shorter than what counts by itself.
test a secret of several lines is replaced: ${what}
	each what | message
	= as it is | "-----BEGIN KEY-----\nMIIEvAIBADANBgkqhkiG9w0B\nAQEF/A==\n-----END KEY-----\n"
	= trimmed | "-----BEGIN KEY-----\nMIIEvAIBADANBgkqhkiG9w0B\nAQEF/A==\n-----END KEY-----"
	= one line of it | "MIIEvAIBADANBgkqhkiG9w0B"
	= CRLF | "-----BEGIN KEY-----\r\nMIIEvAIBADANBgkqhkiG9w0B\r\nAQEF/A==\r\n-----END KEY-----"
	= CR | "-----BEGIN KEY-----\rMIIEvAIBADANBgkqhkiG9w0B\rAQEF/A==\r-----END KEY-----"
	= spaces for newlines | "-----BEGIN KEY----- MIIEvAIBADANBgkqhkiG9w0B AQEF/A== -----END KEY-----"
	= no newlines | "-----BEGIN KEY-----MIIEvAIBADANBgkqhkiG9w0BAQEF/A==-----END KEY-----"
	= in a string of JSON | ["-----BEGIN KEY-----\\nMIIEvAIBADANBgkqhkiG9w0B\\nAQEF/A==\\n-----END KEY-----\\n"]
	= in a string of JSON within one | ["-----BEGIN KEY-----\\\\nMIIEvAIBADANBgkqhkiG9w0B\\\\nAQEF/A==\\\\n-----END KEY-----\\\\n"]
	given {"secret":{"key":"-----BEGIN KEY-----\nMIIEvAIBADANBgkqhkiG9w0B\nAQEF/A==\n-----END KEY-----\n"}}
	do joined
	run:log {"message":${message}} -> ok {"log_line_id":"*"}
	run:log {"message":"{\"k\":\"-----BEGIN KEY-----\\nMIIEvAIBADANBgkqhkiG9w0B\\nAQEF/A==\\n-----END KEY-----\"}"} -> ok {"log_line_id":"*"}
	sql> SELECT count(*), bool_or(message ~ 'MII|AQEF|KEY') FROM log_lines WHERE run_id = '${run}'
	= 2 | f

test a line's source is scrubbed like its text
	given {"secret":{"password":"nymph and orisons"}}
	do joined
	run:log {"message":["x"],"source":"R/nymph and orisons/T"} -> ok {"log_line_id":"*"}
	run:batch_logs {"logs":[{"message":["y"],"source":"R/nymph and orisons/T"}]} -> ok
	sql> SELECT message, source FROM log_lines WHERE run_id = '${run}' ORDER BY id
	= x | R/***/T
	= y | R/***/T

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

# What is repeated is compared as it was stored.
test what a worker says of errors is scrubbed, also in a repetition
	given {"secret":{"password":"nymph and orisons"}}
	do stepping
	step:complete {"step_id":"${step}","job_id":"${job_a}","reason":"fail: nymph and orisons","error_type":"E: nymph and orisons","error_message":"nymph and orisons","timestamp":"1795485247442740"} -> ok {"step_id":"${step}"}
	step:complete {"step_id":"${step}","job_id":"${job_a}","reason":"fail: nymph and orisons","error_type":"E: nymph and orisons","error_message":"nymph and orisons","timestamp":"1795485247442740"} -> ok {"step_id":"${step}"}
	sql> SELECT exit_reason, error_type, error_message FROM steps WHERE id = '${step}'
	= fail: *** | E: *** | ***
	run:complete {"reason":"fail","error_type":"E: nymph and orisons","error_message":"nymph and orisons","timestamp":"1795485247442750"} -> ok
	run:complete {"reason":"fail","error_type":"E: nymph and orisons","error_message":"nymph and orisons","timestamp":"1795485247442750"} -> ok
	sql> SELECT state, error_type, error_message FROM runs WHERE id = '${run}'
	= failed | E: *** | ***
	sql> SELECT event, outcome FROM transitions WHERE run_id = '${run}' AND outcome <> 'accepted' ORDER BY id
	= step:complete | replayed
	= run:complete | replayed

test a secret that a text is cut in the middle of leaves no beginning
	given {"secret":{"password":"nymph and orisons"}}
	do started
	run:complete {"reason":"fail","error_type":"${x*250}nymph and orisons","error_message":"${x*8185}nymph and orisons"} -> ok
	sql> SELECT error_type ~ '^x+[*]+$', error_message ~ '^x+[*]+$' FROM runs WHERE id = '${run}'
	= t | t

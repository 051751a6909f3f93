# Bad frames. Each gets an answer or a close with its own code, never 1000, and the daemon goes on.

test not a frame: ${what}
	each what | frame | code
	= not JSON | nonsense | 1007
	= the beginning of JSON | ["1","1","phoenix","heartbeat",{"a":"x | 1007
	= two documents | ["1","1","phoenix","heartbeat",{}] [] | 1007
	= a comma too many | ["1","1","phoenix","heartbeat",{},] | 1007
	= a bare key | ["1","1","phoenix","heartbeat",{a:1}] | 1007
	= an object | {"a":1} | 1002
	= a number | 17 | 1002
	= an empty list | [] | 1002
	= four elements | ["1","1","phoenix","heartbeat"] | 1002
	= six elements | ["1","1","phoenix","heartbeat",{},{}] | 1002
	= the ref is a number | ["1",1,"phoenix","heartbeat",{}] | 1002
	= the join_ref is a number | [1,"1","phoenix","heartbeat",{}] | 1002
	= the ref is a list | ["1",["1"],"phoenix","heartbeat",{}] | 1002
	= the topic is null | ["1","1",null,"heartbeat",{}] | 1002
	= the topic is an object | ["1","1",{},"heartbeat",{}] | 1002
	= the event is true | ["1","1","phoenix",true,{}] | 1002
	= NUL in the topic | ["1","1","pho\u0000enix","heartbeat",{}] | 1002
	= NUL in the event | ["1","1","phoenix","heart\u0000beat",{}] | 1002
	= NUL in a ref | ["1","\u0000","phoenix","heartbeat",{}] | 1002
	= half a surrogate pair in the topic | ["1","1","\ud800","heartbeat",{}] | 1002
	= a huge ref | ["1","${x*300}","phoenix","heartbeat",{}] | 1002
	= a huge topic | ["1","1","${x*300}","heartbeat",{}] | 1002
	= a huge event | ["1","1","phoenix","${x*300}",{}] | 1002
	> ${frame}
	< close ${code}
	B< quiet

test bytes that are no frame: ${what}
	each what | form | code
	= an empty text frame | text hex | 1007
	= invalid UTF-8 | text hex 5b ff 5d | 1007
	= overlong UTF-8 in a string | text hex 5b 22 c0 af 22 5d | 1007
	= half a surrogate pair as UTF-8 | text hex 5b 22 ed a0 80 22 5d | 1007
	= a NUL between the elements | text hex 5b 00 5d | 1007
	= an empty binary frame | hex | 1002
	= binary garbage | hex ff 00 13 37 | 1002
	= a reply, which only the server sends | hex 01 01 01 01 02 31 31 74 6f 6b | 1002
	= sizes that reach beyond the end | hex 00 ff ff ff ff 31 | 1002
	= a binary topic that is not UTF-8 | hex 00 00 01 01 01 31 ff 65 | 1007
	= a binary topic with NUL | hex 00 00 01 01 01 31 00 65 | 1002
	> ${form}
	< close ${code}
	B< quiet

test refs of any text come back as they came
	> [null,"a\"\u00e9\\","phoenix","heartbeat",{}]
	< [null,"a\"é\\","phoenix","phx_reply",{"status":"ok","response":{}}]
	> ["${x*255}","${y*255}","phoenix","heartbeat",{}]
	< ["${x*255}","${y*255}","phoenix","phx_reply",{"status":"ok","response":{}}]
	> [null,null,"phoenix","heartbeat",{}]
	< [null,null,"phoenix","phx_reply",{"status":"ok","response":{}}]

test white space between the elements
	> [ null ,
		"1" , "phoenix", "heartbeat" , { } ]
	< [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]

test an escaped event is the event
	> [null,"1","ph\u006fenix","he\u0061rtbeat",{}]
	< [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]

test a malformed payload no object: ${payload}
	each payload
	= [1]
	= "text"
	= 7
	= null
	= true
	do joined
	run:start ${payload} -> refused - "payload must be an object" invalid claimed
	step:start ${payload} -> refused - "payload must be an object" invalid claimed
	run:complete ${payload} -> refused - "payload must be an object" invalid claimed
	sql> SELECT event, outcome, code, message LIKE '{"length":%}' FROM transitions WHERE run_id = '${run}' ORDER BY id OFFSET 1
	= run:start | refused | invalid | t
	= step:start | refused | invalid | t
	= run:complete | refused | invalid | t

test a payload nested beyond all bounds
	do joined
	run:start {"a":${[*5000}${]*5000}} -> refused - "payload must be an object" invalid claimed
	run:log {"message":${[*5000}${]*5000}} -> warned message "could not be stored: invalid"
	sql> SELECT state FROM runs WHERE id = '${run}'
	= claimed

test a payload nested deeply
	do joined
	run:log {"message":["a",${[*1000}${]*1000}]} -> ok {"log_line_id":"*"}

test NUL and half a surrogate pair in a payload do no harm
	do joined
	run:log {"message":["a\u0000b","\ud800"],"level":"info"} -> ok {"log_line_id":"*"}
	run:start {"versions":{"a\u0000":"\udfff"}} -> ok
	sql> SELECT message FROM log_lines WHERE run_id = '${run}'
	= a\u0000b \ud800

test a binary push is accepted, its payload is not JSON
	do joined
	> binary ["3","4","run:${run}","fetch:plan",""]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{"id":"${run}",...}}]
	> binary ["","5","phoenix","heartbeat","{}"]
	< [null,"5","phoenix","phx_reply",{"status":"ok","response":{}}]
	> binary ["3","6","run:${run}","run:start","{}"]
	< ["3","6","run:${run}","phx_reply",{"status":"error","response":{"base":["payload must be an object"],"errors":{"base":["payload must be an object"]},"reason":"payload must be an object","code":"invalid","retryable":false,"current_state":"claimed"}}]
	> binary ["3","7","run:${run}","run:log","{}"]
	< ["3","7","run:${run}","phx_reply",{"status":"ok","response":{"warnings":{"message":["could not be stored: invalid"]}}}]

test a frame above max_message is too large, and the socket stays
	daemon {"limits":{"max_message":"4KiB"}}
	do joined
	run:start {"timestamp":"${now}","versions":"${x*5000}"} -> refused - "message is too large" too_large claimed
	step:start {"step_id":"${x*9000}"} -> refused - "message is too large" too_large claimed
	step:complete {"reason":"success","output_dataclip":"\"${x*100000}\""} -> refused - "message is too large" too_large claimed
	run:complete {"final_state":{"reason":"success","a":"${x*100000}"}} -> refused - "message is too large" too_large claimed
	run:complete {"final_state":{"a":"${x*100000}","reason":"success"}} -> refused - "message is too large" too_large claimed
	run:complete {"final_state":"${x*100000}\",\"reason\":\"success"} -> refused - "message is too large" too_large claimed
	run:log {"message":["${x*5000}"]} -> warned message "could not be stored: too_large"
	run:batch_logs {"logs":[{"message":["${x*5000}"]}]} -> warned message "could not be stored: too_large"
	fetch:plan {"a":"${x*5000}"} -> ok {"id":"${run}",...}
	claim {"queues":["${x*5000}"]} -> ok {"runs":[]}
	run:start {"timestamp":"${now}","versions":"${x*3000}"} -> ok
	sql> SELECT state FROM runs WHERE id = '${run}'
	= started

test a frame above max_message whose head cannot be read
	daemon {"limits":{"max_message":"4KiB"}}
	> ["1","1","${x*5000}","heartbeat",{}]
	< close 1002
	B< quiet

test many frames at once are answered in order
	> [null,"1","phoenix","heartbeat",{}]
	> [null,"2","nothing","event",{}]
	> [null,"3","phoenix","heartbeat",{}]
	< [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]
	< [null,"2","nothing","phx_reply",{"status":"error","response":{"reason":"unmatched topic",...}}]
	< [null,"3","phoenix","phx_reply",{"status":"ok","response":{}}]

# Bad frames: each gets an answer or a close with its own code, never 1000, and the daemon goes on.

test not an array
	> {"a":1}
	< close 1002

test four elements
	> ["1","1","phoenix","heartbeat"]
	< close 1002

test a ref that is a number
	> ["1",1,"phoenix","heartbeat",{}]
	< close 1002

test a topic that is null
	> ["1","1",null,"heartbeat",{}]
	< close 1002

test invalid UTF-8
	> ["1","1","phoenix","heartbeat",{"a":"x
	< close 1007

test a NUL in the topic
	> ["1","1","pho\u0000enix","heartbeat",{}]
	< close 1002

test a huge ref
	> ["1","${x*300}","phoenix","heartbeat",{}]
	< close 1002

test binary garbage
	> hex ff 00 13
	< close *

test a NUL and a lone surrogate in a payload do no harm
	do joined
	> ["3","4","run:${run}","run:log",{"message":["a\u0000b","\ud800"],"level":"info"}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{"log_line_id":"*"}}]
	sql> SELECT message FROM log_lines WHERE run_id = '${run}'
	= a\u0000b \ud800

test a payload that is no object
	do joined
	> ["3","4","run:${run}","run:start",[1]]
	< ["3","4","run:${run}","phx_reply",{"status":"error","response":{"reason":"payload must be an object","code":"invalid","retryable":false}}]

test a binary push is heard
	do joined
	> binary ["3","4","run:${run}","fetch:plan",""]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{"id":"${run}",...}}]

# What a worker fetches, and what it logs.

test a credential that the run names, one that it does not, and none
	do started
	new nobody
	> ["3","5","run:${run}","fetch:credential",{"id":"${credential}"}]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{...}}]
	> ["3","6","run:${run}","fetch:credential",{"id":"${nobody}"}]
	< ["3","6","run:${run}","phx_reply",{"status":"error","response":{"id":["Credential not found!"],"errors":{"id":["Credential not found!"]},"code":"not_found","retryable":false}}]
	> ["3","7","run:${run}","fetch:credential",{}]
	< ["3","7","run:${run}","phx_reply",{"status":"error","response":{"errors":{"id":["This field can't be blank."]},"code":"invalid",...}}]
	> ["3","8","run:${run}","run:complete",{"reason":"success"}]
	< ["3","8","run:${run}","phx_reply",{"status":"ok","response":{}}]
	> ["3","9","run:${run}","fetch:credential",{"id":"${credential}"}]
	< ["3","9","run:${run}","phx_reply",{"status":"error","response":{"code":"not_found",...}}]

test the input of a webhook's run has the shape of a request
	http POST /i/${trigger} {"hello":"you"} -> 200 {"work_order_id":"*","run_id":"${posted:=}"}
	sql UPDATE runs SET dataclip_id = (SELECT dataclip_id FROM runs WHERE id = '${posted}') WHERE id = '${run}'
	do joined
	> ["3","4","run:${run}","fetch:dataclip",{"id":"whatever"}]
	< binary ["3","4","run:${run}","ok",{"data":{"hello":"you"},"request":{"method":"POST",...}}]

test an input that was wiped is null
	do joined
	sql UPDATE dataclips SET body = NULL, wiped_at = now() WHERE id = '${dataclip}'
	> ["3","4","run:${run}","fetch:dataclip",{}]
	< binary ["3","4","run:${run}","ok","null"]

test log lines: strings, other values, levels, a step of nobody
	do joined
	new nobody
	> ["3","4","run:${run}","run:batch_logs",{"run_id":"${run}","logs":[{"message":["a",{"b":1}],"level":"debug","source":"R/T","timestamp":"1795485247440907"},
		{"message":"plain","level":"loud"},{"message":[1.10],"level":"always","step_id":"${nobody}"}]}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{"warnings":{"step_id":["must be associated with the run"]}}}]
	sql> SELECT level, message, step_id IS NULL FROM log_lines WHERE run_id = '${run}' ORDER BY id
	= debug | a {"b":1} | t
	= info | plain | t
	= always | 1.10 | t

test a log message is never refused
	do joined
	> ["3","4","run:${run}","run:log",{"level":"info"}]
	< ["3","4","run:${run}","phx_reply",{"status":"ok","response":{"warnings":{"message":["can't be blank"]}}}]
	> ["3","5","run:${run}","run:log",[]]
	< ["3","5","run:${run}","phx_reply",{"status":"ok","response":{"warnings":{"message":["could not be stored: invalid"]}}}]
	> ["3","6","run:${run}","run:batch_logs",{"logs":7}]
	< ["3","6","run:${run}","phx_reply",{"status":"ok","response":{"warnings":{"logs":["is invalid"]}}}]
	> ["3","7","run:${run}","run:batch_logs",{"logs":[]}]
	< ["3","7","run:${run}","phx_reply",{"status":"ok","response":{}}]

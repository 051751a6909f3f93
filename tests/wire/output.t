# The step survives its dataclip: one bad output does not turn a finished run into a lost one.

test the bytes of an output are kept: ${what}
	each what | sent | stored
	= numbers | {\"a\":1.10,\"b\":12345678901234567890,\"c\":1e400} | {"a":1.10,"b":12345678901234567890,"c":1e400}
	= keys twice | {\"a\":1,\"a\":2} | {"a":1,"a":2}
	= escapes | {\"a\":\"\\u0000\\ud800\\u00e9\"} | {"a":"\u0000\ud800\u00e9"}
	= white space | {  \"a\" : 1 } | {  "a" : 1 }
	= no object | [1,\"two\",null] | [1,"two",null]
	= null | null | null
	= a number | 42 | 42
	= other letters | {\"é\":\"\u00e9\"} | {"é":"é"}
	do stepping
	new clip
	step:complete {"step_id":"${step}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"${sent}"} -> ok {"step_id":"${step}"}
	sql> SELECT d.body FROM steps s JOIN dataclips d ON d.id = s.output_dataclip_id WHERE s.id = '${step}' AND d.id = '${clip}'
	= ${stored}

test an output that cannot be stored leaves an empty row under its id: ${what}
	each what | output | warning
	= not JSON | ,"output_dataclip":"{nope" | is not valid JSON
	= empty | ,"output_dataclip":"" | is not valid JSON
	= two documents | ,"output_dataclip":"{}{}" | is not valid JSON
	= NUL in it | ,"output_dataclip":"{}\u0000" | cannot be stored
	= half a surrogate pair in it | ,"output_dataclip":"\"\ud800\"" | cannot be stored
	= an object, not its text | ,"output_dataclip":{"a":1} | cannot be stored
	= a number, not its text | ,"output_dataclip":7 | cannot be stored
	= null | ,"output_dataclip":null | can't be blank
	= none |  | can't be blank
	do stepping
	new clip
	step:complete {"step_id":"${step}","reason":"success","output_dataclip_id":"${clip}"${output}} -> ok {"step_id":"${step}","warnings":{"output_dataclip":["${warning}"]}}
	sql> SELECT s.exit_reason, d.body, d.wiped_at IS NOT NULL FROM steps s JOIN dataclips d ON d.id = s.output_dataclip_id WHERE d.id = '${clip}'
	= success | null | t
	sql> SELECT outcome, message FROM transitions WHERE step_id = '${step}' ORDER BY id DESC LIMIT 1
	= accepted | {"warnings":{"output_dataclip":["${warning}"]}}
	step:start {"step_id":"${clip}","job_id":"${job_b}","input_dataclip_id":"${clip}"} -> ok {"step_id":"${clip}"}
	run:complete {"reason":"success","final_dataclip_id":"${clip}"} -> ok

test an output without an id: ${what}
	each what
	= "output_dataclip":"{}"
	= "output_dataclip":"{}","output_dataclip_id":null
	= "output_dataclip":"{}","output_dataclip_id":"not-an-id"
	do stepping
	step:complete {"step_id":"${step}","reason":"success",${what}} -> ok {"step_id":"${step}","warnings":{"output_dataclip_id":["can't be blank"]}}
	sql> SELECT s.exit_reason, s.output_dataclip_id, (SELECT count(*) FROM dataclips WHERE project_id = '${project}') FROM steps s WHERE s.id = '${step}'
	= success | null | 1

test an output that was too large for the worker itself
	do stepping
	step:complete {"step_id":"${step}","reason":"success","output_dataclip_error":"DATACLIP_TOO_LARGE"} -> ok {"step_id":"${step}","warnings":{"output_dataclip":["DATACLIP_TOO_LARGE"]}}
	sql> SELECT exit_reason, output_dataclip_id FROM steps WHERE id = '${step}'
	= success | null
	sql> SELECT outcome, message FROM transitions WHERE step_id = '${step}' ORDER BY id DESC LIMIT 1
	= accepted | {"warnings":{"output_dataclip":["DATACLIP_TOO_LARGE"]}}

test an id that is in use: ${which}
	each which | id
	= the run's input | ${dataclip}
	= another step's output | ${clip}
	do stepping
	new other clip
	step:complete {"step_id":"${other}","job_id":"${job_b}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"{}"} -> ok {"step_id":"${other}"}
	step:complete {"step_id":"${step}","reason":"success","output_dataclip_id":"${id}","output_dataclip":"{}"} -> refused output_dataclip_id "has already been taken" taken started
	step:complete {"step_id":"${step}","reason":"success","output_dataclip_id":"${id}","output_dataclip":"\"${x*100000}\""} -> refused output_dataclip_id "has already been taken" taken started
	sql> SELECT exit_reason FROM steps WHERE id = '${step}'
	= null
	sql> SELECT max(length(body)) < 100 FROM dataclips WHERE project_id = '${project}'
	= t

test an id that another project uses is free in this one
	do stepping
	do foreign
	step:complete {"step_id":"${step}","reason":"success","output_dataclip_id":"${foreign}","output_dataclip":"{}"} -> ok {"step_id":"${step}"}
	sql> SELECT project_id = '${project}', body FROM dataclips WHERE id = '${foreign}' ORDER BY 1
	= f | {"secret":1}
	= t | {}

test a large output goes ahead of its message, and sent again it is a replay
	do stepping
	new clip
	let whole = {"step_id":"${step}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"{\"a\":0.10,\"b\":\"${x*100000}\"}","timestamp":"1795485247455482"}
	step:complete ${whole} -> ok {"step_id":"${step}"}
	step:complete ${whole} -> ok {"step_id":"${step}"}
	sql> SELECT left(d.body, 16), length(d.body), d.source_id, (SELECT count(*) FROM dataclips WHERE project_id = '${project}') FROM dataclips d WHERE id = '${clip}'
	= {"a":0.10,"b":"x | 100017 | ${step} | 2
	sql> SELECT outcome FROM transitions WHERE run_id = '${run}' AND event = 'step:complete' ORDER BY id
	= accepted
	= replayed

test a large output that is not JSON
	do stepping
	new clip
	step:complete {"step_id":"${step}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"{${x*100000}"} -> warned output_dataclip "is not valid JSON"

test a large output of an unknown step
	do started
	new step clip
	step:complete {"step_id":"${step}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"\"${x*100000}\""} -> refused step_id "not found" not_found started

test the response of a job to its webhook is not ours to keep
	do stepping
	step:complete {"step_id":"${step}","reason":"success","webhook_response":{"status":200,"body":"private"}} -> ok {"step_id":"${step}"}

test a run that saves no dataclips: ${what}
	each what
	= "output_dataclip_id":"${clip}"
	= "output_dataclip_id":"${clip}","output_dataclip":"{\"private\":1}"
	= "output_dataclip_id":"${clip}","output_dataclip":"{nope"
	= "output_dataclip_id":"${clip}","output_dataclip":"\"${x*100000}\""
	given {"save_dataclips": false}
	do stepping
	let clip = ${job_a}
	step:complete {"step_id":"${step}","reason":"success",${what}} -> ok {"step_id":"${step}"}
	sql> SELECT d.body, d.wiped_at IS NOT NULL, s.output_dataclip_id FROM dataclips d JOIN steps s ON s.id = '${step}' WHERE d.id = '${clip}'
	= null | t | ${clip}
	run:complete {"reason":"success","final_dataclip_id":"${clip}","final_state":{"private":1}} -> ok

# As the real worker sends it: the large member stands between what names the step and the reason.
test the step whose whole message is too large is completed, without its output
	daemon {"limits":{"max_message":"4KiB"}}
	do stepping
	new clip
	step:complete {"step_id":"${step}","job_id":"${job_a}","mem":{"job":1,"system":2},"duration":13,"thread_id":2,
		"timestamp":"1795485994939006","output_dataclip_id":"${clip}","output_dataclip":"{\"a\":\"${x*1000000}\"}",
		"reason":"fail","error_type":"JobError","error_message":"bo\"om\\\\"} -> ok {"step_id":"${step}","warnings":{"output_dataclip":["is too large"]}}
	sql> SELECT exit_reason, error_type, error_message, output_dataclip_id = '${clip}', finished_at = '2026-11-24 02:06:34.939006+00'
		FROM steps WHERE id = '${step}'
	= fail | JobError | bo"om\\ | t | t
	sql> SELECT body, wiped_at IS NOT NULL, type FROM dataclips WHERE id = '${clip}'
	= null | t | step_result
	sql> SELECT outcome, message FROM transitions WHERE run_id = '${run}' AND event = 'step:complete'
	= accepted | {"warnings":{"output_dataclip":["is too large"]}}
	run:complete {"timestamp":"${now}","final_state":{"a":"${x*1000000}"},"reason":"fail","error_type":"JobError",
		"error_message":"boom","final_dataclip_id":"${clip}"} -> ok {"warnings":{"final_state":["is too large"]}}
	sql> SELECT state, error_type, error_message, final_dataclip_id = '${clip}' FROM runs WHERE id = '${run}'
	= failed | JobError | boom | t

test the same where the large member comes first, last, or is another one: ${payload}
	each payload | warnings
	= "output_dataclip":"\"${x*100000}\"","output_dataclip_id":"${clip}","step_id":"${step}","reason":"success" | "output_dataclip":["is too large"]
	= "output_dataclip_id":"${clip}","step_id":"${step}","reason":"success","output_dataclip":"\"${x*100000}\"" | "output_dataclip":["is too large"]
	daemon {"limits":{"max_message":"4KiB"}}
	do stepping
	new clip
	step:complete {${payload}} -> ok {"step_id":"${step}","warnings":{${warnings}}}

test an output that is whole in a message that is too large is stored
	daemon {"limits":{"max_message":"4KiB"}}
	do stepping
	new clip
	step:complete {"step_id":"${step}","webhook_response":{"body":"${x*100000}"},"output_dataclip_id":"${clip}","output_dataclip":"{\"a\":1}","reason":"success"} -> ok {"step_id":"${step}"}
	sql> SELECT body FROM dataclips WHERE id = '${clip}'
	= {"a":1}

test a run whose final state is too large names an unknown dataclip
	daemon {"limits":{"max_message":"4KiB"}}
	do started
	new unknown
	run:complete {"timestamp":"${now}","final_state":{"a":"${x*100000}"},"reason":"success","final_dataclip_id":"${unknown}"} -> ok {"warnings":{"final_state":["is too large"],"final_dataclip_id":["does not exist"]}}
	sql> SELECT state, final_dataclip_id FROM runs WHERE id = '${run}'
	= success | null

test the message of a run that saves nothing is too large, and nothing is missing
	given {"save_dataclips": false}
	daemon {"limits":{"max_message":"4KiB"}}
	do stepping
	new clip
	step:complete {"step_id":"${step}","output_dataclip_id":"${clip}","webhook_response":"${x*100000}","reason":"success"} -> ok {"step_id":"${step}"}
	run:complete {"timestamp":"${now}","final_state":"${x*100000}","reason":"success","final_dataclip_id":"${clip}"} -> ok

test it is a repetition where it is one
	daemon {"limits":{"max_message":"4KiB"}}
	do stepping
	new clip
	step:complete {"step_id":"${step}","timestamp":"1795485994939006","output_dataclip_id":"${clip}","output_dataclip":"\"${x*100000}\"","reason":"success"} -> warned output_dataclip "is too large"
	step:complete {"step_id":"${step}","timestamp":"1795485994939006","output_dataclip_id":"${clip}","output_dataclip":"\"${x*100000}\"","reason":"success"} -> warned output_dataclip "is too large"
	sql> SELECT outcome FROM transitions WHERE run_id = '${run}' AND event = 'step:complete' ORDER BY id
	= accepted
	= replayed

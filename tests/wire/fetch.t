# What a worker fetches before it begins: the plan, the input, credentials.

test the plan
	do joined
	fetch:plan {} -> ok {"id":"${run}","project_id":"${project}","name":"test","dataclip_id":"${dataclip}",
		"starting_node_id":"${trigger}","triggers":[{"id":"${trigger}","type":"webhook"}],
		"jobs":[{"id":"${job_a}","name":"a","adaptor":"*","credential_id":"${credential}","body":"*"},
			{"id":"${job_b}","name":"b","adaptor":"*","credential_id":null,"body":"*"}],
		"edges":[{"id":"*","source_trigger_id":"${trigger}","target_job_id":"${job_a}","condition":"always","enabled":true},
			{"id":"*","source_job_id":"${job_a}","target_job_id":"${job_b}","condition":"on_job_success","enabled":true}],
		"options":{"output_dataclips":true,"run_timeout_ms":300000}}

test the options of a run are in its plan, and so is whether outputs are wanted
	given {"save_dataclips": false}
	sql UPDATE runs SET options = '{"run_memory_limit_mb":500,"job_log_level":"info","payload_limit_mb":10}', run_timeout_ms = 7000 WHERE id = '${run}'
	do joined
	fetch:plan {} -> ok {"options":{"output_dataclips":false,"run_timeout_ms":7000,"run_memory_limit_mb":500,"job_log_level":"info","payload_limit_mb":10},...}

test the plan of a run without an input has none
	sql UPDATE runs SET dataclip_id = NULL WHERE id = '${run}'
	do joined
	fetch:plan {} -> ok {"id":"${run}","project_id":"${project}","name":"test","starting_node_id":"${trigger}","triggers":[...],"jobs":[...],"edges":[...],"options":{...}}
	fetch:dataclip {} -> binary "null"

test the plan is answered from memory, whatever it is asked with: ${payload}
	each payload
	= {}
	= []
	= null
	= {"id":7}
	do joined
	sql UPDATE snapshots SET body = '{}' WHERE id = '${snapshot}'
	fetch:plan ${payload} -> ok {"id":"${run}","jobs":[{...},{...}],...}

test the input, byte by byte: ${input}
	each input | escaped
	= {"data":{"n":7}} | {\"data\":{\"n\":7}}
	= {"a": 1.10, "a":"\u0000é"} | {\"a\": 1.10, \"a\":\"\\u0000é\"}
	= [1,2] | [1,2]
	= null | null
	sql UPDATE dataclips SET body = '${input}' WHERE id = '${dataclip}'
	do joined
	fetch:dataclip {"id":"${dataclip}"} -> binary "${escaped}"

test the input is the run's own, whatever id is asked for: ${which}
	each which | payload
	= unknown | {"id":"${unknown}"}
	= another project's | {"id":"${foreign}"}
	= no id | {"id":"x"}
	= none | {}
	= no object | []
	do foreign
	new unknown
	do joined
	fetch:dataclip ${payload} -> binary {"data":{"n":7}}

test an input of type ${type}
	each type | seen
	= http_request | {"data":{"n":7},"request":{"method":"POST"}}
	= kafka | {"data":{"n":7},"request":{"method":"POST"}}
	= global | {"n":7}
	= saved_input | {"n":7}
	= step_result | {"n":7}
	given {"input": "{\"n\":7}"}
	sql UPDATE dataclips SET type = '${type}', request = '{"method":"POST"}' WHERE id = '${dataclip}'
	do joined
	fetch:dataclip {"id":"${dataclip}"} -> binary ${seen}

test an http_request without a request, and one that was wiped
	given {"input": "{\"n\":7}"}
	sql UPDATE dataclips SET type = 'http_request' WHERE id = '${dataclip}'
	do joined
	fetch:dataclip {} -> binary {"data":{"n":7},"request":null}
	sql UPDATE dataclips SET body = NULL, wiped_at = now() WHERE id = '${dataclip}'
	fetch:dataclip {} -> binary {"data":null,"request":null}

test an input that was wiped is null
	do joined
	sql UPDATE dataclips SET body = NULL, wiped_at = now() WHERE id = '${dataclip}'
	fetch:dataclip {"id":"${dataclip}"} -> binary "null"

test a large input
	sql UPDATE dataclips SET body = '"${x*200000}"' WHERE id = '${dataclip}'
	do joined
	fetch:dataclip {"id":"${dataclip}"} -> binary "\"${x*200000}\""

test a large input of a request
	sql UPDATE dataclips SET type = 'http_request', body = '"${x*200000}"', request = '{"method":"POST"}' WHERE id = '${dataclip}'
	do joined
	fetch:dataclip {} -> binary {"data":"${x*200000}","request":{"method":"POST"}}

test an input is for the worker that has the run, a ${size} one too
	each size | body
	= small | "x"
	= large | "${x*200000}"
	sql UPDATE dataclips SET body = '${body}' WHERE id = '${dataclip}'
	do joined
	sql UPDATE runs SET claim_epoch = 3, claim_id = gen_random_uuid() WHERE id = '${run}'
	fetch:dataclip {"id":"${dataclip}"} -> refused state "claimed by another worker" superseded

test a credential that the run names
	given {"secret":{"user":"u","password":"p","nested":{"n":[1,2.50]}}}
	do joined
	fetch:credential {"id":"${credential}"} -> ok {"user":"u","password":"p","nested":{"n":[1,2.5]}}
	run:start {} -> ok
	fetch:credential {"id":"${credential}","more":1} -> ok {"user":"u",...}

test a credential that is ${which} is not found, in the same bytes
	each which | id
	= unknown | "${unknown}"
	= another project's | "${foreign}"
	= no id | "x"
	= a number | 7
	do started
	new unknown foreign elsewhere
	sql INSERT INTO projects (id, name) VALUES ('${elsewhere}', 'elsewhere')
	sql INSERT INTO credentials (project_id, id, name, body) SELECT '${elsewhere}', '${foreign}', name, body FROM credentials WHERE id = '${credential}'
	fetch:credential {"id":${id}} -> error {"errors":{"id":["Credential not found!"]}}

test a credential of this project that no job of the run names
	do started
	sql UPDATE snapshot_jobs SET credential_id = NULL WHERE snapshot_id = '${snapshot}'
	fetch:credential {"id":"${credential}"} -> error {"errors":{"id":["Credential not found!"]}}

test no id
	do started
	fetch:credential {} -> error {"errors":{"id":["This field can't be blank."]}}
	fetch:credential {"id":null} -> error {"errors":{"id":["This field can't be blank."]}}
	fetch:credential {"id":""} -> error {"errors":{"id":["This field can't be blank."]}}
	fetch:credential [] -> error {"errors":{"id":["This field can't be blank."]}}

test no credentials for a run that is ${state}
	each state
	= success
	= failed
	= cancelled
	do started
	let final = ${state}
	do final
	fetch:credential {"id":"${credential}"} -> error {"errors":{"id":["Credential not found!"]}}

test no credentials for a run that is lost, or not claimed
	do started
	sql UPDATE runs SET state = 'lost', lost_from = 'started', finished_at = now(), finalized_at = now() WHERE id = '${run}'
	fetch:credential {"id":"${credential}"} -> error {"errors":{"id":["Credential not found!"]}}
	sql UPDATE runs SET state = 'available', lost_from = NULL, finished_at = NULL, finalized_at = NULL WHERE id = '${run}'
	fetch:credential {"id":"${credential}"} -> error {"errors":{"id":["Credential not found!"]}}

test a credential that the key does not open
	sql UPDATE credentials SET body = '\x0102030405' WHERE id = '${credential}'
	do joined
	fetch:credential {"id":"${credential}"} -> error {"errors":{"id":["Credential not found!"]}}

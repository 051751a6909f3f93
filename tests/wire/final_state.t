# The final dataclip of a run: named, sent along, or neither.

test a final dataclip of the run's own project
	do stepping
	new clip
	step:complete {"step_id":"${step}","reason":"success","output_dataclip_id":"${clip}","output_dataclip":"{\"n\":1.10}"} -> ok {"step_id":"${step}"}
	run:complete {"reason":"success","final_dataclip_id":"${clip}"} -> ok
	sql> SELECT final_dataclip_id FROM runs WHERE id = '${run}'
	= ${clip}

test where a valid id came the final state is not stored
	do started
	run:complete {"reason":"success","final_dataclip_id":"${dataclip}","final_state":{"a":1}} -> ok
	sql> SELECT r.final_dataclip_id, (SELECT count(*) FROM dataclips WHERE project_id = '${project}') FROM runs r WHERE id = '${run}'
	= ${dataclip} | 1

test an id that is ${which} changes nothing, and is answered in the same bytes
	each which | id
	= unknown | ${unknown}
	= another project's | ${foreign}
	= no id | not-an-id
	= a run's | ${run}
	= empty | 
	= a number in quotes | 7
	do started
	do foreign
	new unknown
	run:complete {"reason":"success","final_dataclip_id":"${id}"} -> refused final_dataclip_id "does not exist" does_not_exist started
	sql> SELECT state, final_dataclip_id, revision FROM runs WHERE id = '${run}'
	= started | null | 2
	sql> SELECT outcome, code FROM transitions WHERE run_id = '${run}' AND event = 'run:complete'
	= refused | does_not_exist
	run:complete {"reason":"success","final_dataclip_id":"${id}","final_state":{"a":1}} -> ok {"warnings":{"final_dataclip_id":["does not exist"]}}
	sql> SELECT r.state, d.body, d.type FROM runs r JOIN dataclips d ON d.project_id = r.project_id AND d.id = r.final_dataclip_id WHERE r.id = '${run}'
	= success | {"a":1} | step_result

test a final state is stored: ${sent}
	each sent | stored
	= {} | {}
	= {"a":1.10,"b":12345678901234567890.5} | {"a":1.10,"b":12345678901234567890.5}
	= {"a":1,"a":2} | {"a":1,"a":2}
	= {"a":"\u0000\ud800"} | {"a":"\u0000\ud800"}
	= {"a":{"configuration":1}} | {"a":{"configuration":1}}
	= {"configuration":{"password":1},"a":1} | {"a":1}
	= {"a":1,"configuration":1,"b":2,"configuration":3} | {"a":1,"b":2}
	= {"\u0063onfiguration":1,"c\u006fnfiguration":2,"a":3} | {"a":3}
	= {"configuratio\u006e":1,"configuration ":2,"Configuration":3} | {"configuration ":2,"Configuration":3}
	= {"configuration":1} | {}
	= 42 | {"value":42}
	= "text" | {"value":"text"}
	= true | {"value":true}
	= false | {"value":false}
	= [{"configuration":1}] | {"value":[{"configuration":1}]}
	do started
	run:complete {"reason":"success","final_state":${sent}} -> ok
	sql> SELECT d.type, d.body FROM runs r JOIN dataclips d ON d.id = r.final_dataclip_id WHERE r.id = '${run}'
	= step_result | ${stored}

test no final state, no dataclip: ${what}
	each what
	= "final_state":null
	= "final_dataclip_id":null
	= "final_state":null,"final_dataclip_id":null
	do started
	run:complete {"reason":"success",${what}} -> ok
	sql> SELECT state, final_dataclip_id FROM runs WHERE id = '${run}'
	= success | null

test a large final state goes ahead of its message
	do started
	run:complete {"reason":"success","final_state":{"configuration":1,"a":"${x*100000}"}} -> ok
	sql> SELECT length(d.body), left(d.body, 8) FROM runs r JOIN dataclips d ON d.id = r.final_dataclip_id WHERE r.id = '${run}'
	= 100008 | {"a":"xx

test a large final state beside an unknown id
	do started
	new unknown
	run:complete {"reason":"success","final_dataclip_id":"${unknown}","final_state":{"a":"${x*100000}"}} -> warned final_dataclip_id "does not exist"
	sql> SELECT length(d.body) FROM runs r JOIN dataclips d ON d.id = r.final_dataclip_id WHERE r.id = '${run}'
	= 100008

test a large final state of a run that is final already is not stored
	do started
	run:complete {"reason":"success"} -> ok
	run:complete {"reason":"fail","final_state":{"a":"${x*100000}"}} -> refused state "already in completed state" already_final success
	sql> SELECT count(*) FROM dataclips WHERE project_id = '${project}'
	= 1

test what the journal keeps of a refused end has no contents in it
	do started
	run:complete {"reason":"nonsense","final_state":{"a":"private"}} -> refused state "is invalid" invalid started
	run:complete {"reason":"success"} -> ok
	run:complete {"reason":"fail","final_state":{"a":"private"}} -> refused state "already in completed state" already_final success
	sql> SELECT message FROM transitions WHERE run_id = '${run}' AND outcome = 'refused'
	= {"reason":"nonsense","final_state":{"length":15,"sha256":"4ccfc78f70fc248ecbc09f1a3eb70427cfbc754eca87d39b4aa7d3e540239fb9"}}
	= {"reason":"fail","final_state":{"length":15,"sha256":"4ccfc78f70fc248ecbc09f1a3eb70427cfbc754eca87d39b4aa7d3e540239fb9"}}

test a run that saves no dataclips keeps none, and its input is wiped
	given {"save_dataclips": false}
	do started
	run:complete {"reason":"success","final_state":{"a":1}} -> ok
	sql> SELECT r.final_dataclip_id, d.body, d.wiped_at IS NOT NULL, (SELECT count(*) FROM dataclips WHERE project_id = '${project}')
		FROM runs r JOIN dataclips d ON d.id = r.dataclip_id WHERE r.id = '${run}'
	= null | null | t | 1

test such a run's large final state is not stored either
	given {"save_dataclips": false}
	do started
	run:complete {"reason":"success","final_state":{"a":"${x*100000}"}} -> ok
	sql> SELECT count(*), count(body) FROM dataclips WHERE project_id = '${project}'
	= 1 | 0

test such a run's input stays while a retry may want it
	given {"save_dataclips": false}
	do started
	sql SELECT interlock_retry('${run}')
	run:complete {"reason":"success"} -> ok
	sql> SELECT body IS NOT NULL FROM dataclips WHERE id = '${dataclip}'
	= t

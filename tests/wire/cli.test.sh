#!/usr/bin/env bash
# The operator's command against a database of its own in the test cluster. What a command says and how
# it exits is compared with patterns (of `case`); what it stored is asked of the database.
#
#   DATABASE_OWNER_URL=… DATABASE_URL=… INTERLOCK_BIN=build/interlock INTERLOCKD_BIN=build/interlockd tests/wire/cli.test.sh
set -uo pipefail
: "${DATABASE_OWNER_URL:?}" "${DATABASE_URL:?}" "${INTERLOCK_BIN:?}"

# with URL KEY=VALUE...: the same connection with something else about it.
with() {
	local url=$1 kv
	for kv in "${@:2}"; do
		case $url in
		postgres*://*\?*) url+="&$kv" ;;
		postgres*://*) url+="?$kv" ;;
		*) url+=" $kv" ;;
		esac
	done
	echo "$url"
}

dir=$(mktemp -d)
db=interlock_cli_$$
super=$(with "$DATABASE_OWNER_URL" user=postgres)
owner=$(with "$DATABASE_OWNER_URL" dbname=$db)
daemon=$(with "$DATABASE_URL" dbname=$db)

leave() {
	psql -qX "$super" -c "DROP DATABASE IF EXISTS $db WITH (FORCE)" -c "DROP ROLE IF EXISTS interlock_app_$$" 2>/dev/null
	rm -rf "$dir"
}
trap leave EXIT
psql -qX "$super" -c "CREATE DATABASE $db OWNER interlock_owner" || exit 1

conf=$dir/interlock.conf
cat >"$conf" <<-EOF
	[database]
	url = $daemon
	migrate_url = $owner
	[keys]
	worker_secret = $dir/keys/worker_secret
	run_token_key = $dir/keys/run_token_key
	credential_key = $dir/keys/credential_key
EOF

passed=0 failed=0
report() { # HOLDS DESCRIPTION [DIFFERENCE]
	if [ "$1" = 0 ]; then
		passed=$((passed + 1))
		echo "ok - $2"
	else
		failed=$((failed + 1))
		echo "not ok - $2"
		echo "${3:-}" | sed 's/^/# /'
	fi
}

cli() { # runs the command; $out, $err and $status are what came of it
	"$INTERLOCK_BIN" -c "$conf" "$@" >"$dir/out" 2>"$dir/err"
	status=$?
	out=$(<"$dir/out")
	err=$(<"$dir/err")
}

matches() {
	# shellcheck disable=SC2254
	case $1 in $2) return 0 ;; *) return 1 ;; esac
}

said() { # DESCRIPTION STATUS STDOUT STDERR: of the command that cli has run; patterns
	[ "$status" = "$2" ] && matches "$out" "$3" && matches "$err" "$4"
	report $? "$1" "status $status, expected $2
stdout: $out
stderr: $err"
}

sql() { psql -qXAt -v ON_ERROR_STOP=1 "$owner" -c "$1" 2>&1; }

is() { # DESCRIPTION EXPECTED GOT
	[ "$3" = "$2" ]
	report $? "$1" "expected: $2
got:      $3"
}

id() { # NAME: the same id for the same name
	local h
	h=$(echo -n "$1" | md5sum)
	echo "${h:0:8}-${h:8:4}-4${h:13:3}-8${h:17:3}-${h:20:12}"
}

project() { # [FILTER]: the project's file, changed by jq
	jq -n --arg p "$(id P | tr a-f A-F)" --arg w "$(id W)" --arg t "$(id T)" --arg a "$(id A)" \
		--arg b "$(id B)" --arg c "$(id C)" --arg e1 "$(id E1)" --arg e2 "$(id E2)" '
	{ id: $p, name: "clinic", concurrency: 7, options: {run_timeout_ms: 60000},
	  credentials: [{ id: $c, name: "key", body: { user: "u", password: "very secret" } }],
	  workflows: [{ id: $w, name: "intake",
	    jobs: [
	      { id: $a, name: "first", adaptor: "@openfn/language-common@3.2.3", body: "fn(s => s)",
	        credential_id: $c },
	      { id: $b, name: "second", adaptor: "@openfn/language-common@3.2.3", body: "" }],
	    triggers: [{ id: $t, type: "webhook", enabled: true }],
	    edges: [
	      { id: $e1, source_trigger_id: $t, target_job_id: $a, condition: null },
	      { id: $e2, source_job_id: $a, target_job_id: $b, condition: "on_job_success" }]}]}' |
		jq "${1:-.}"
}
import() { cli import <(project "${1:-.}"); }

# ---- usage

cli --help
said 'help lists the commands' 0 '*migrate*import*enqueue*retry*runs*run*keys*' ''
cli runs --help
said "a command's help lists its options" 0 '*usage: interlock runs*--state STATE*--json*' ''
cli --version
said 'the version names the schema' 0 'interlock *, schema [0-9]*' ''
cli
said 'no command is a fault of usage' 2 '' '*no command given*'
cli dance
said 'an unknown command too' 2 '' '*unknown command "dance"*'
cli runs --wat
said 'an unknown option too' 2 '' '*--wat*'
cli runs extra
said 'an operand too many too' 2 '' '*takes no arguments;*'
cli run
said 'a missing operand too' 2 '' '*takes exactly one argument, RUN;*'
cli runs --limit many
said 'a number that is none too' 2 '' '*--limit: got "many", expected a number from 1 *'
cli runs --state ready
said 'a state that is unknown too' 2 '' '*--state: got "ready", expected one of available, claimed, *'
cli run 17
said 'an id that is none too' 2 '' '*got "17", expected a UUID*'

echo '[database' >"$dir/broken.conf"
"$INTERLOCK_BIN" -c "$dir/broken.conf" runs 2>"$dir/err"
is 'a broken configuration is refused' 1 $?
"$INTERLOCK_BIN" -c "$dir/missing.conf" runs 2>"$dir/err"
is 'a missing one too' 1 $?

# Libpq's own sentence of each of these quotes the password, or what it takes a part of it for.
for url in 'postgresql://u:hun%ter@/db' 'postgresql://u:hun/ter@/db' 'postgresql://u:a@hunter@h/db' \
	'postgresql://u:hunter@[::1]x/db' 'host=h password=a hunter' 'host=h password=a hunter=b'; do
	printf '[database]\nmigrate_url = %s\n' "$url" >"$dir/broken.conf"
	for program in "$INTERLOCK_BIN -c $dir/broken.conf check" "${INTERLOCKD_BIN:?} -c $dir/broken.conf"; do
		out=$($program 2>&1)
		[ $? = 1 ] && matches "$out" "*broken.conf:2: ?database? migrate_url: got an invalid value, expected *" &&
			! matches "$out" '*hun*'
		report $? "$url is refused, and not shown: ${program##*/}" "$out"
	done
done

# ---- migrate

import
said 'an empty database: says what to do' 1 '' '*no interlock schema: run `interlock migrate`'
"$INTERLOCK_BIN" -c "$conf" migrate >"$dir/one" 2>&1 &
one=$!
"$INTERLOCK_BIN" -c "$conf" migrate >"$dir/two" 2>&1
two=$?
wait $one
is 'two migrations at once both succeed' '0 0' "$? $two"
is 'and one of them did it' 1 "$(cat "$dir/one" "$dir/two" | grep -c '^applied 001_schema$')"
cli migrate
said 'a migration with nothing to do' 0 'the schema is at version [0-9]*' ''
is 'each migration has its row' t \
	"$(sql "SELECT bool_and(name LIKE to_char(version, 'FM000') || '_%' AND applied_at <= now())
		FROM schema_migrations")"
is "functions that run as the owner look for temporary tables last" t "$(sql "SELECT bool_and(
	proconfig @> ARRAY['search_path=public, pg_temp']) FROM pg_proc WHERE prosecdef
	AND proname LIKE 'interlock%'")"
sql "INSERT INTO schema_migrations (version, name) VALUES (999, '999_future')" >/dev/null
cli migrate
said 'a newer schema is refused' 1 '' '*schema version 999 *install the newer interlock'
cli runs
is 'it serves the other commands, if it has no options of its own' 0 "$status"
sql 'UPDATE schema_migrations SET serves = 999' >/dev/null
cli runs
said 'and if it says so, it does not' 1 '' '*schema version 999, which serves builds for version 999 *'
sql 'UPDATE schema_migrations SET serves = 0' >/dev/null
sql 'DELETE FROM schema_migrations WHERE version = 999' >/dev/null

# ---- keys

cli keys
said 'keys needs to know what to do' 2 '' '*either --dir DIR or --public;*'
cli keys --public
said 'a missing key is named' 1 '' '*run_token_key: cannot read *'
cli keys --dir "$dir/keys"
said 'keys are made' 0 'made *worker_secret
made *run_token_key
made *credential_key' ''
is 'for their owner only' '600 600 600' "$(stat -c %a "$dir"/keys/* | xargs)"
is 'nothing else is left there' 3 "$(find "$dir/keys" -type f | wc -l)"
before=$(cat "$dir/keys/run_token_key")
rm "$dir/keys/worker_secret"
cli keys --dir "$dir/keys"
said 'keys that are there are kept' 0 'made *worker_secret
kept *run_token_key
kept *credential_key' ''
is 'byte for byte' "$before" "$(cat "$dir/keys/run_token_key")"
is 'the credential key is 64 digits' 1 "$(grep -Ecx '[0-9a-f]{64}' "$dir/keys/credential_key")"
cli keys --public
said 'the public key is printed' 0 '-----BEGIN PUBLIC KEY-----*-----END PUBLIC KEY-----' ''
is 'and belongs to the private one' "$(openssl pkey -in "$dir/keys/run_token_key" -pubout)" "$out"

# ---- import

stored() { sql "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM (
	SELECT p::text FROM projects p UNION ALL SELECT w::text FROM workflows w
	UNION ALL SELECT s::text FROM snapshots s UNION ALL SELECT j::text FROM snapshot_jobs j
	UNION ALL SELECT g::text FROM triggers g UNION ALL SELECT c::text FROM credentials c) t"; }

import
said 'a project is imported' 0 "project $(id P) stored
credential $(id C) stored
workflow $(id W) stored as version 1" ''
is 'with its options' 'clinic|7|t|{"run_timeout_ms": 60000}' \
	"$(sql 'SELECT name, concurrency, save_dataclips, options FROM projects')"
body=$(jq -nc --arg t "$(id T)" --arg a "$(id A)" --arg b "$(id B)" --arg c "$(id C)" \
	--arg e1 "$(id E1)" --arg e2 "$(id E2)" '
	{ triggers: [{ id: $t, type: "webhook" }],
	  jobs: [
	    { id: $a, name: "first", adaptor: "@openfn/language-common@3.2.3", body: "fn(s => s)",
	      credential_id: $c },
	    { id: $b, name: "second", adaptor: "@openfn/language-common@3.2.3", body: "",
	      credential_id: null }],
	  edges: [
	    { id: $e1, source_trigger_id: $t, source_job_id: null, target_job_id: $a,
	      condition: "always", enabled: true },
	    { id: $e2, source_trigger_id: null, source_job_id: $a, target_job_id: $b,
	      condition: "on_job_success", enabled: true }]}')
is 'the snapshot is what the plan shows' "$body" \
	"$(sql 'SELECT s.body FROM snapshots s JOIN workflows w ON w.snapshot_id = s.id')"
is 'the jobs have their rows' "first|$(id C)
second|" "$(sql 'SELECT name, credential_id FROM snapshot_jobs ORDER BY name')"
is 'the trigger can run' 'webhook|t|t' "$(sql 'SELECT type, enabled, runnable FROM triggers')"
is 'the secret is sealed' '1|f' "$(sql "SELECT get_byte(body, 0), position('very' IN body) > 0
	FROM credentials" | sed 's/|0$/|f/;s/|[1-9].*/|t/')"
before=$(stored)
cli import - < <(project)
said 'the same again changes nothing' 0 "project $(id P) unchanged
credential $(id C) unchanged
workflow $(id W) unchanged" ''
is 'not even the sealed bytes' "$before" "$(stored)"

import '.workflows[0].jobs[1].body = "fn(s => 2)"'
said 'another body is another version' 0 "*workflow $(id W) stored as version 2" ''
import '.workflows[0].name = "new name"'
said 'so is another name' 0 "*workflow $(id W) stored as version 3" ''
import '.workflows[0] |= (.name = "new name" | .concurrency = 2)'
said 'another limit is not' 0 "*workflow $(id W) stored" ''
import '.credentials[0].body.password = "other"'
said 'another secret is stored' 0 "*credential $(id C) stored*" ''
import 'del(.credentials)'
said 'a credential may be in the database' 0 "*workflow $(id W) unchanged" ''
import 'del(.workflows[0].edges[0])'
said 'without an edge from its trigger: a warning' 0 '*' '*workflows?0?: no trigger has an enabled edge*'
is 'it cannot run' f "$(sql 'SELECT runnable FROM triggers')"
cli enqueue intake
said 'nor be enqueued' 1 '' '*no such trigger with an enabled edge*'
import '.workflows[0].jobs[0].adaptor = "@openfn/language-http@latest"'
said 'a version that means another one each day: a warning' 0 '*' \
	'*workflows?0?.jobs?0?.adaptor:*latest*'
import
said 'back again' 0 '*' ''

# refused FILTER MISTAKE...: all of them are named, nothing else is, and nothing has changed.
refused() {
	local before expected
	before=$(stored)
	expected=$(printf 'interlock: %s\n' "${@:3}")
	import "$2"
	[ "$status" = 1 ] && [ -z "$out" ] && [ "$err" = "$expected" ] && [ "$(stored)" = "$before" ]
	report $? "$1" "status $status $out
expected: $expected
got:      $err"
}
refused 'a mistake is named by its path' \
	".workflows[0].edges[1].target_job_id = \"$(id unknown)\"" \
	'workflows[0].edges[1].target_job_id: no such job'
refused 'all of them are' \
	'.name = "" | .concurrency = 0 | .save_dataclips = "yes" | .options.run_timeout_ms = 1.5 |
	 .workflow = 1 | .credentials[0].body = "x" | .workflows[0] |= (.id = "w" | .jobs[0] |= del(.body) |
	 .jobs[1].name = 7 | .triggers[0].type = "fax" | .edges[0] |= del(.source_trigger_id) |
	 .edges[1] = "edge")' \
	'name: must be a non-empty string' \
	'concurrency: must be a whole number from 1 to 2147483647' \
	'save_dataclips: must be true or false' \
	'options.run_timeout_ms: must be a whole number from 1 to 2147483647' \
	'credentials[0].body: must be an object' \
	'workflows[0].id: must be a UUID' \
	'workflows[0].jobs[0].body: is missing' \
	'workflows[0].jobs[1].name: must be a non-empty string' \
	'workflows[0].edges[1]: must be an object' \
	'workflow: unknown key' \
	'workflows[0].triggers[0].type: must be webhook, cron or kafka' \
	'workflows[0].edges[0]: needs either source_trigger_id or source_job_id' \
	'workflows[0].edges[1]: needs either source_trigger_id or source_job_id'
refused 'an edge has one source' ".workflows[0].edges[1].source_trigger_id = \"$(id T)\"" \
	'workflows[0].edges[1]: needs either source_trigger_id or source_job_id'
refused 'an id is used once' '.workflows[0].jobs[1].id = .workflows[0].jobs[0].id |
	.workflows[0].edges |= .[0:1]' 'workflows[0].jobs[1].id: is a duplicate'
refused 'a cycle is refused' ".workflows[0].edges += [{ id: \"$(id E3)\", source_job_id: \"$(id B)\",
	target_job_id: \"$(id A)\" }]" 'workflows[0].edges[2]: closes a cycle'
refused 'a job that follows itself too' ".workflows[0].edges += [{ id: \"$(id E3)\",
	source_job_id: \"$(id B)\", target_job_id: \"$(id B)\" }]" 'workflows[0].edges[2]: closes a cycle'
refused 'a credential must be somewhere' ".workflows[0].jobs[1].credential_id = \"$(id unknown)\"" \
	'workflows[0].jobs[1].credential_id: no such credential'
import '.credentials[0].body.password = "x" * 1048576'
said 'a credential has a bounded size' 1 '' \
	'*credentials?0?.body: has * bytes, but a credential may have at most 1048576'
refused "another project's workflow is not taken" ".id = \"$(id Q)\"" \
	'workflows[0].id: belongs to another project' \
	'workflows[0].triggers[0].id: belongs to another workflow'
refused "another workflow's trigger neither" '.workflows += [.workflows[0] | .id = "'"$(id V)"'"]' \
	'workflows[1].triggers[0].id: belongs to another workflow'

printf '{"id":"x","password":"hush","id":"y"}' >"$dir/twice.json"
cli import "$dir/twice.json"
said 'a key that stands twice is refused' 1 '' "*$dir/twice.json:1:*duplicate object key*"
printf '{"password": hush}' >"$dir/syntax.json"
cli import "$dir/syntax.json"
said 'so is what is not JSON, and its text not repeated' 1 '' "*$dir/syntax.json:1:*"
matches "$err" '*hush*'
is 'not a word of it' 1 $?
cli import "$dir/nothing.json"
said 'a missing file is named' 1 '' '*nothing.json: No such file*'

# ---- enqueue, retry

cli enqueue intake --json
said 'a run is enqueued by name' 0 '{"work_order_id":"*","run_id":"*"}' ''
run=$(jq -r .run_id <<<"$out")
is 'it waits' "available|default|1|{}|60000" "$(sql "SELECT r.state, r.queue, r.priority, d.body,
	r.run_timeout_ms FROM runs r JOIN dataclips d ON d.id = r.dataclip_id JOIN waiting w
	ON w.run_id = r.id WHERE r.id = '$run'")"
echo ' {"n": 1.10, "n": 12345678901234567890} ' >"$dir/input.json"
cli enqueue "$(id W)" --input "$dir/input.json" --priority immediate --queue manual --trigger "$(id T)"
said 'by id, with everything' 0 'work_order_id *run_id
*-*-*-*-*  *-*-*-*-*' ''
is 'as it was said' "manual|0|$(<"$dir/input.json")" "$(sql "SELECT r.queue, r.priority,
	rtrim(d.body, E'\n') FROM runs r JOIN dataclips d ON d.id = r.dataclip_id ORDER BY seq DESC LIMIT 1")"
cli enqueue intake --count 1001 --json
said 'many at once' 0 '{*}' ''
is 'are as many' '1001 1001' \
	"$(wc -l <"$dir/out") $(jq -r .run_id "$dir/out" | sort -u | wc -l)"
runs=$(sql 'SELECT count(*) FROM runs')
cli enqueue intake --input - <<<'{"n": }'
said 'an input that is not JSON is refused' 1 '' '*: not valid JSON'
cli enqueue intake --priority urgent
said 'so is another priority' 1 '' '*priority "urgent" is neither normal nor immediate'
cli enqueue intake --trigger "$(id unknown)"
said 'so is another trigger' 1 '' '*no such trigger*'
cli enqueue intake --trigger T
said 'or what is no id' 2 '' '*--trigger: got "T", expected a UUID'
cli enqueue unknown
said 'so is another workflow' 1 '' '*no workflow has the name "unknown"'
cli enqueue "$(id unknown)"
said 'also by its id' 1 '' '*no workflow *'
app=interlock_app_$$
as_app() { psql -qXAt "$(with "$owner" user=$app)" -c "BEGIN; SELECT (interlock_enqueue('$(id W)')).run_id IS NOT NULL; ROLLBACK" 2>&1; }
psql -qX "$super" -c "CREATE ROLE $app LOGIN"
matches "$(as_app)" '*permission denied*'
report $? "an application's role may not enqueue"
sql "GRANT EXECUTE ON FUNCTION interlock_enqueue TO $app"
is 'unless it is granted' t "$(as_app)"
cli enqueue intake --count 0
said 'none at all is a fault of usage' 2 '' '*--count: got "0"*'
is 'nothing of it came to be' "$runs" "$(sql 'SELECT count(*) FROM runs')"

cli retry "$run" --json
said 'a run is tried again' 0 '{"work_order_id":"*","run_id":"*"}' ''
is 'in the same work order' 2 "$(sql "SELECT count(*) FROM runs WHERE work_order_id =
	'$(jq -r .work_order_id <<<"$out")'")"
cli retry "$(id unknown)"
said 'no other is' 1 '' "*no run $(id unknown)"
import 'del(.workflows[0].edges[0])'
cli retry "$run"
said 'not where no edge leaves the trigger any more' 1 '' '*no enabled edge any more'
import
second=".id = \"$(id Q)\" | .workflows[0] |= (.id = \"$(id V)\" | .triggers[0].id = \"$(id U)\" |
	.edges[0].source_trigger_id = \"$(id U)\")"
import "$second"
said 'another project may have a workflow of that name' 0 '*' ''
cli enqueue intake
said 'then the name is not enough' 1 '' '*2 workflows have the name "intake": use the id'

# ---- trigger-key

keys() { sql "SELECT array_to_string(keys, ' ') FROM triggers WHERE id = '$(id T)'"; }
digest() { echo -n "$1" | sha256sum | cut -d' ' -f1; }
cli trigger-key "$(id T)"
said 'a key is made, and shown once' 0 '????????????????????????????????????????????????????????????????' ''
first=$out
is 'what is stored is its digest' "$(digest "$first")" "$(keys)"
cli trigger-key "$(id T)" --json
said 'another one beside it' 0 "{\"trigger_id\":\"$(id T)\",\"key\":\"*\"}" ''
second=$(jq -r .key <<<"$out")
cli triggers
said 'how many each has is listed' 0 "trigger *type *workflow *project *enabled *runnable *keys
$(id U)  webhook *  0
$(id T)  webhook  intake *clinic *t *t *2" ''
cli triggers "$(id V)" --json
said 'or of one workflow' 0 "?{\"trigger\":\"$(id U)\",*\"keys\":0}?" ''
cli triggers unknown
said 'or none' 0 'trigger *keys' ''
is 'both are good' "$(digest "$first") $(digest "$second")" "$(keys)"
import
is 'an import leaves them alone' 2 "$(keys | wc -w)"
cli trigger-key "$(id T)" --only
is 'or it alone' "$(digest "$out")" "$(keys)"
cli trigger-key "$(id T)" --none
said 'or none at all' 0 '' ''
is 'then requests need no key' '' "$(keys)"
cli trigger-key "$(id unknown)"
said 'no other trigger has one' 1 '' "*no trigger $(id unknown)"
cli trigger-key 17
said 'or what is no id' 2 '' '*TRIGGER: got "17", expected a UUID'
cli trigger-key "$(id T)" --only --none
said 'or for both' 2 '' '*either --only or --none, not both'

# ---- runs, run

cli enqueue "$(id V)" --json --input - <<<"{\"long\": \"$(printf 'x%.0s' {1..100})\"}"
other=$(jq -r .run_id <<<"$out")
sql "UPDATE runs SET state = 'failed', claimed_at = now(), started_at = now() - interval '65 s',
	finished_at = now(), finalized_at = now(), worker_name = 'w1', error_type = 'JobError'
	WHERE id = '$other';
	INSERT INTO dataclips (project_id, id, type, source_id, body)
		VALUES ('$(id Q)', '$(id D)', 'step_result', '$(id S)', '\"' || repeat('é', 100) || '\"');
	INSERT INTO steps (project_id, id, run_id, snapshot_id, job_id, output_dataclip_id, exit_reason,
		started_at, finished_at) SELECT '$(id Q)', '$(id S)', id, snapshot_id, '$(id A)', '$(id D)',
		'fail', now() - interval '1500 ms', now() FROM runs WHERE id = '$other';
	INSERT INTO log_lines (project_id, run_id, id, level, source, message, timestamp)
		SELECT '$(id Q)', '$other', interlock_uuid_near(('00000000-0000-7000-8000-' || to_char(i, 'FM000000000000'))::uuid),
		'info', 'JOB', 'line ' || i || E' \\x1b[31mred', now() FROM generate_series(1, 30) i;
	INSERT INTO transitions (project_id, run_id, revision, event, from_state, to_state, outcome)
		VALUES ('$(id Q)', '$other', 1, 'claim', 'available', 'claimed', 'accepted'),
		('$(id Q)', '$other', 2, 'run:complete', 'started', 'failed', 'accepted')"

cli runs --limit 2
said 'runs come newest first' 0 "id *workflow  *error_type
$other  intake  * failed *  w1 *  1m 5s *  JobError
*  available *" ''
is 'as many as asked for' 3 "$(wc -l <<<"$out")"
cli runs --state failed --json
said 'by state' 0 '?{*}?' ''
is 'as JSON' "[\"$other\"]" "$(jq -c 'map(.id)' <<<"$out")"
cli runs --state success --json
said 'none is an empty list' 0 '?]' ''
cli runs --project "$(id Q)" --json
is 'by project' 1 "$(jq length <<<"$out")"
cli runs --project Q
said 'whose id must be one' 2 '' '*--project: got "Q"*'

cli run "$other"
said 'a run is shown' 0 "*id  *$other*state  *failed*input  *xxx…*
steps
*$(id S)  first  fail *1.5s *ééé…
*
logs
*line 11  ?31mred
*line 30  ?31mred
*
journal
*claim *run:complete *" ''
is 'with the last lines of its log' 20 "$(grep -c 'line [0-9]' <<<"$out")"
is 'and nothing for the terminal to obey' 0 "$(grep -c $'\x1b' <<<"$out")"
cli run "$other" --logs 3
is 'or with so many' 3 "$(grep -c 'line [0-9]' <<<"$out")"
cli run "$other" --json --logs 2
is 'as JSON, whole' '["failed",102,2,["claim","run:complete"]]' "$(jq -c '[.run.state,
	(.steps[0].output | length), (.logs | length), (.journal | map(.event))]' <<<"$out")"
cli run "$(id unknown)"
said 'no other is' 1 '' "*no run $(id unknown)"
"$INTERLOCK_BIN" -c "$conf" runs >/dev/full 2>"$dir/err"
is 'what cannot be printed is an error' 1 $?

echo "$passed passed, $failed failed"
[ $failed = 0 ]

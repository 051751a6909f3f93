# shellcheck shell=bash
# Sourced by tests/bench/run: the daemon's statements as scripts for pgbench, each message its own
# transaction, as the daemon would send it in a batch of one. Whatever a run needs is made from the
# run's id: the ids of its steps and dataclips are hashes of it.

now='now()' text=NULL::text body="'{\"data\":\"$(printf 'x%.0s' {1..1013})\"}'"
sent="'$(printf 'x%.0s' {1..200})'" # the message, for the journal

# step N, clip N: of the run; clip 0 is its input.
id() { echo "md5($run::text || '$1')::uuid"; }

# message NAME, begin NAME, statement NAME EXPRESSION..., commit: what is printed is the script; which
# message a line of it belongs to goes to $names.
message() { message="$((++messages)) $1"; }
line() { echo "$1" && echo "$message" >>"$names"; }
begin() { message "$1" && line 'BEGIN;'; }
statement() {
	local sql
	sql=$("$BUILD/bench/statement" "$@")
	line "$sql;"
}
lock() { statement lock "$project" "$order"; }
settle() { statement settle "$project" "$order"; }
commit() { line 'COMMIT;'; }

claim() {
	begin claim
	statement claims_lock
	statement claim 1 "'pgbench'" "E'manual\x1f*'" 300000 10000 90000
	commit
}
join() {
	begin phx_join
	lock
	statement run_join "${run_of[@]}" "'yield'" 3600000000 90000000 1048605 4194304
	commit
}
log() {
	begin run:log
	statement log_lines "${run_of[@]}" 'interlock_uuid()' "$1" "'info'" "'R/T'" \
		"'Operation 1 complete in 12ms'" "$now"
	commit
}
run_start() {
	begin run:start
	lock
	statement run_start "${common[@]}" "$now" "'{\"node\":\"18.20.4\",\"worker\":\"1.25.0\"}'"
	settle
	commit
}
step_start() {
	begin step:start
	lock
	statement step_start "${common[@]}" "$now" true "$(id "step $1")" "'${jobs[$1 - 1]}'" "$2" true NULL::uuid
	commit
}
step_complete() {
	begin step:complete
	lock
	statement step_complete "${common[@]}" "$now" true "$(id "step $1")" "'${jobs[$1 - 1]}'" "'success'" \
		$text $text "$(id "clip $1")" "$body" false
	commit
}
run_complete() {
	begin run:complete
	lock
	statement run_complete "${common[@]}" "$now" "'success'" $text $text "$(id 'clip 2')" \
		'gen_random_uuid()' $text false
	settle
	commit
}

# script FILE MESSAGE...: all that load_script.c says, but for the claim; or one kind of message alone. The runs are
# those that `fill N claimed` made: the id of a run, of its work order and of its claim is a hash of its number.
script() {
	names=$1.names
	messages=0
	: >"$names"
	project="'$project_id'::uuid" run='md5(:k::text)::uuid' order=$run
	run_of=("$project" "$run" 1 "$run")
	common=("${run_of[@]}" "'yield'" 3600000000 false "$sent" $text)
	{
		echo '\set n :n + 1'
		echo '\set k :first + :n * :clients + :client_id'
		"${@:2}"
	} >"$1.sql"
}

lifecycle() {
	join
	message fetch:dataclip
	statement dataclip "${run_of[@]}" 65536
	log NULL::uuid
	log NULL::uuid
	run_start
	step_start 1 NULL::uuid
	log "$(id 'step 1')"
	step_complete 1
	step_start 2 "$(id 'clip 1')"
	step_complete 2
	run_complete
}

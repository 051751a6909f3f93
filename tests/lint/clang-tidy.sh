#!/usr/bin/env bash
# clang-tidy finds no bug in src; .clang-tidy says which checks. A file that was clean is looked at again only
# after it, a header or the configuration has changed.
cd "$(dirname "$0")/../.." || exit
at=build/clang-tidy
mkdir -p $at
make -s build/gen/sql.h || exit
export at flags
flags="$(pkg-config --cflags libwebsockets libuv libpq jansson libcrypto inih) -std=gnu11 -D_GNU_SOURCE -Iinclude
	-Ibuild/gen -DINTERLOCK_VERSION=\"\""

newest=$(find include src .clang-tidy tests/lint/clang-tidy.sh -type f ! -name '*.c' -printf '%T@ %p\n' | sort -rn |
	sed '1s/^[^ ]* //;q')
for file in src/*.c src/*/*.c; do
	clean=$at/${file//\//-}
	[[ $clean -nt $file && $clean -nt $newest ]] || echo "$file"
done | xargs -r -P "$(nproc)" -I{} bash -c '
	# shellcheck disable=SC2086
	out=$(clang-tidy --quiet "$1" -- $flags 2>&1) && touch "$at/${1//\//-}" || { echo "$out" && exit 1; }' - {}

#!/usr/bin/env bash
# cppcheck finds nothing in src. What it misunderstands is suppressed in the source, with the reason.
cd "$(dirname "$0")/../.." || exit
at=build/lint/cppcheck
mkdir -p $at
make -s build/gen/sql.h build/gen/sql_columns.h || exit

# Where the macros of queue(3) and jansson are, without which it cannot read our files.
headers=$(echo '#include <sys/queue.h>
#include <jansson.h>' | gcc -M -x c - | grep -oE '\S+/(queue|jansson)\.h')
grep -v '^#' >$at/suppressed <<'END'
# Of the systems' headers nothing is our business.
*:/usr/include/*
# number() is handed a variable to fill. (A comment in the source does not reach what is found across functions.)
ctuuninitvar:src/services/janitor.c
END
# It can leave with 0 after a finding that it has from its folder: what it prints is what counts.
# shellcheck disable=SC2086 # an option for each header
found=$(cppcheck -q -j"$(nproc)" --enable=warning,performance,portability --std=c11 --library=posix,gnu \
	--cppcheck-build-dir=$at -Iinclude -Ibuild/gen -D_GNU_SOURCE '-DINTERLOCK_VERSION=""' \
	${headers//\/usr/--include=\/usr} --inline-suppr --suppressions-list=$at/suppressed --template=gcc \
	--error-exitcode=1 src 2>&1)
code=$?
[ -z "$found" ] || { echo "$found" && exit 1; }
exit $code

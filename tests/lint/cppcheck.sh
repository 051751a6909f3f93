#!/usr/bin/env bash
# cppcheck finds nothing in src. What it misunderstands is listed, each with the reason.
cd "$(dirname "$0")/../.." || exit
at=build/cppcheck
mkdir -p $at
make -s build/gen/sql.h || exit

# Where the macros of queue(3) and jansson are, without which it cannot read our files.
headers=$(echo '#include <sys/queue.h>
#include <jansson.h>' | gcc -M -x c - | grep -oE '\S+/(queue|jansson)\.h')
grep -v '^#' >$at/suppressed <<'END'
# Of the systems' headers nothing is our business.
*:/usr/include/*
# It does not know the macros with which reader.c is written, and gives that one expression up.
internalAstError:src/session/reader.c
# One thread calls these; pool.c's jobs do not.
localtimeCalled
readdirCalled
# Initialized through a pointer to its member, or by memcpy in the same expression.
uninitvar:src/core/scrubber.c
uninitdata:src/lib/base.c
# A variable that number() itself fills.
ctuuninitvar:src/services/janitor.c
# `slashes <= any` counts from false to true.
compareBoolExpressionWithInt:src/core/scrubber_forms.c
# TAILQ_FOREACH ends with a NULL that it follows beyond the loop.
nullPointer:src/ws/ws_listen.c
nullPointerRedundantCheck:src/ws/ws_listen.c
END
cppcheck -q -j"$(nproc)" --enable=warning,performance,portability --std=c11 --library=posix,gnu --cppcheck-build-dir=$at \
	-Iinclude -Ibuild/gen -D_GNU_SOURCE '-DINTERLOCK_VERSION=""' ${headers//\/usr/--include=\/usr} \
	--suppressions-list=$at/suppressed --template=gcc --error-exitcode=1 src

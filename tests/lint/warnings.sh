#!/usr/bin/env bash
# clang has nothing to say; tests/run builds with gcc under the same condition.
cd "$(dirname "$0")/../.." || exit
make -s -j"$(nproc)" CC=clang CFLAGS=-Werror BUILD=build/clang all units

#!/usr/bin/env bash
# The picture of the state machine in src/README.md is the one that fsm_moves makes: `make picture` draws it.
cd "$(dirname "$0")/../.." || exit
make -s -j"$(nproc)" CC=gcc CFLAGS=-Werror BUILD=build/gcc build/gcc/interlockd || exit
sh src/picture.sh build/gcc/interlockd src/README.md | diff -u src/README.md - || { echo 'run `make picture`' && exit 1; }

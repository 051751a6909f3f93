#!/usr/bin/env bash
# README's picture of the state machine is the one that the table makes: `make picture` draws it.
cd "$(dirname "$0")/../.." || exit
make -s -j"$(nproc)" CC=gcc CFLAGS=-Werror BUILD=build/gcc build/gcc/interlockd || exit
sh src/picture.sh build/gcc/interlockd README.md | diff -u README.md - || { echo 'run `make picture`' && exit 1; }

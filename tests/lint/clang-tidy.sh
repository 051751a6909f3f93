#!/usr/bin/env bash
# clang-tidy finds no bug in src; .clang-tidy says which checks.
# long: a minute and a half if every file has changed
cd "$(dirname "$0")/../.." || exit
make -s build/gen/sql.h build/gen/sql_columns.h || exit
read -ra flags < <(pkg-config --cflags libwebsockets libuv libpq jansson libcrypto inih)
inputs=".clang-tidy tests/lint/each $(find include src build/gen -name '*.h' | sort | paste -sd' ')"

printf '%s\n' src/*.c src/*/*.c | tests/lint/each clang-tidy "$inputs" clang-tidy --quiet {} -- "${flags[@]}" \
	-std=gnu11 -D_GNU_SOURCE -Iinclude -Ibuild/gen '-DINTERLOCK_VERSION=""'

#!/usr/bin/env bash
# Neither gcc nor clang has anything to say. (With sanitizers gcc warns of what cannot happen.)
cd "$(dirname "$0")/../.." || exit
for cc in gcc clang; do
	make -s -j"$(nproc)" CC=$cc CFLAGS=-Werror BUILD=build/$cc all units || exit
done

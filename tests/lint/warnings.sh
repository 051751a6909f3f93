#!/usr/bin/env bash
# Neither gcc nor clang has anything to say; some warnings only gcc knows. (With sanitizers gcc warns of what cannot
# happen.)
# long: it builds everything twice
cd "$(dirname "$0")/../.." || exit
gcc_only="-Wduplicated-cond -Wduplicated-branches -Wlogical-op -Wjump-misses-init"
for cc in gcc clang; do
	[ $cc = gcc ] && only=$gcc_only || only=
	make -s -j"$(nproc)" CC=$cc CFLAGS="-Werror $only" BUILD=build/$cc all units || exit
done

#!/usr/bin/env bash
# Every libFuzzer target for a while: FOR seconds each (or 10m, 1h), TARGETS='phx jwt' for some of them. Their dictionaries
# stand here, their first inputs are made of what was recorded, and what they found interesting is kept in
# build/fuzz/corpus. An input that ends one is in build/fuzz, and its path in what is printed.
#
# In `make check` a few seconds each: enough for what lies near the recorded frames, on two processors.
#
# long: it builds everything once more, and then runs for a minute
set -euo pipefail
cd "$(dirname "$0")/../.."
at=build/fuzz
for=${FOR:-8}
case $for in
*h) for=$((${for%h} * 3600)) ;;
*m) for=$((${for%m} * 60)) ;;
*) for=${for%s} ;;
esac

make -s -j"$(nproc)" BUILD=$at CC=clang SAN=1 CFLAGS=-fsanitize=fuzzer-no-link fuzzers
rm -rf $at/seeds
node tests/fuzz/seeds.mjs $at/seeds

passed=0 failed=0
# An answer that takes a second is a finding, and so is one that takes a gigabyte.
limits=(-timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256 -max_len=65536)
for file in tests/fuzz/fuzz_*.c; do
	target=${file#tests/fuzz/fuzz_} target=${target%.c}
	[[ " ${TARGETS:-$target} " == *" $target "* ]] || continue
	mkdir -p "$at/corpus/$target" "$at/seeds/$target"
	dictionary=()
	[ ! -e "tests/fuzz/$target.dict" ] || dictionary=("-dict=tests/fuzz/$target.dict")
	if ASAN_OPTIONS='' UBSAN_OPTIONS=print_stacktrace=1 "$at/fuzz_$target" "${limits[@]}" "${dictionary[@]}" \
		-max_total_time="$for" -print_final_stats=1 -verbosity=0 -artifact_prefix="$at/$target-" \
		"$at/corpus/$target" "$at/seeds/$target" >"$at/$target.log" 2>&1 </dev/null; then
		echo "ok $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$at/$target.log") inputs"
		passed=$((passed + 1))
	else
		tail -n 60 "$at/$target.log"
		echo "not ok $target"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
((!failed && passed))

#!/usr/bin/env bash
# `make demo` in a folder of its own: the run is executed, shown, and explained in words.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
out=$(BUILD=${INTERLOCK_BIN%/*} tests/client/demo.sh var/check/demo 2>&1)
status=$? passed=0 failed=0
for expected in '*available → claimed*started → success*' '*"counts":{"north":2,"south":1}*' \
	'*report (success): *visits to north: 2*' '*The run ended at *: success, *' '*-- success*'; do
	# shellcheck disable=SC2053 # it is a pattern
	if ((status == 0)) && [[ $out == $expected ]]; then
		passed=$((passed + 1))
	else
		echo "FAILED $expected"
		failed=$((failed + 1))
	fi
done
((failed == 0)) || echo "$out"
echo "$passed passed, $failed failed"
((failed == 0))

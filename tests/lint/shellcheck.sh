#!/usr/bin/env bash
# Every script is sound to shellcheck. Not asked for: matters of style; SC2154 (a script that is sourced uses
# variables of the one that sources it); SC2046 and SC2206 (the words of $(jobs -p) and of the options in a
# variable are meant to be split); SC1091 (a file that is made), SC2015 (A && B || C, where B does not fail),
# SC2016 (a text with a $ of its own), SC2094 (a name that is passed in a pipeline is not a file that is read).
cd "$(dirname "$0")/../.." || exit

# begin PATTERN: the files whose first line is like this.
begin() {
	local file line
	git ls-files -co --exclude-standard | while read -r file; do
		[ ! -f "$file" ] || { LC_ALL=C read -r line <"$file" && [[ $line =~ $1 ]] && echo "$file"; }
	done 2>/dev/null
}

sourced=$(begin '^# shellcheck shell=')
begin '^#(!.*\b(ba)?sh\b| shellcheck shell=)' | tests/lint/each shellcheck "$sourced" \
	shellcheck --external-sources --source-path=SCRIPTDIR --severity=info \
	--exclude=SC2154,SC2046,SC2206,SC1091,SC2015,SC2016,SC2094 {}

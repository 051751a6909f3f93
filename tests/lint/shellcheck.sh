#!/usr/bin/env bash
# Every script is sound to shellcheck. What is only a matter of taste (notes, style) is not asked for, nor
# SC2154 (a script that is sourced uses variables of the one that sources it), SC2046 and SC2206 (the words
# of $(jobs -p) and of the options in a variable are meant to be split).
cd "$(dirname "$0")/../.." || exit
git ls-files -co --exclude-standard | while read -r file; do
	[ ! -f "$file" ] || ! head -n 1 "$file" | grep -qE '^#(!.*\b(ba)?sh\b| shellcheck shell=)' || echo "$file"
done | xargs shellcheck --external-sources --source-path=SCRIPTDIR --severity=warning --exclude=SC2154,SC2046,SC2206

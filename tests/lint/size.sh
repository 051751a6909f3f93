#!/usr/bin/env bash
# A file is read in one sitting: none that is written by hand has more than 600 lines.
# (A migration is one whole, and is not edited after its release.)
cd "$(dirname "$0")/../.." || exit

long=$(git ls-files -co --exclude-standard -- '*.[ch]' '*.sh' '*.sql' '*.mjs' '*.t' Makefile tests |
	grep -vE '/data/|package-lock|^sql/migrations/' | sort -u | xargs awk 'FNR == 601 { print FILENAME " has more than 600 lines" }')
[ -z "$long" ] || { echo "$long" && exit 1; }

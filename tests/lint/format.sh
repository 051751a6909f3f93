#!/usr/bin/env bash
# clang-format settles how C looks.
cd "$(dirname "$0")/../.." || exit
git ls-files -co --exclude-standard -- '*.c' '*.h' | xargs clang-format --dry-run -Werror

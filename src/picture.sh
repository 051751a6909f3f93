#!/bin/sh
# Prints a text with the picture of the state machine between its two marks replaced.
#
#   sh src/picture.sh build/interlockd src/README.md
set -eu
marks=$(grep -c '^<!-- /\{0,1\}picture -->$' "$2") || true
[ "$marks" = 2 ] || { echo "$2: where is the picture?" >&2; exit 1; }
sed -n '1,/^<!-- picture -->$/p' "$2"
echo '```mermaid'
"$1" --fsm=mermaid
echo '```'
sed -n '/^<!-- \/picture -->$/,$p' "$2"

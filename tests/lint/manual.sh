#!/usr/bin/env bash
# The manual: mandoc has nothing to say, every option, command, setting and error of the protocol stands
# in it, and what it refers to is there. The completion offers what --help lists.
cd "$(dirname "$0")/../.." || exit
BUILD=build/gcc
make -s -j"$(nproc)" CC=gcc CFLAGS=-Werror BUILD=$BUILD docs || exit

found=0
wrong() { echo "$*" && found=1; }
man() { cat "$BUILD/man/$1.txt"; }

for page in config/man/*; do
	page=${page##*/}
	mandoc -Tutf8 -O width=100 "$BUILD/man/$page" | col -bx >"$BUILD/man/$page.txt"
	# Whether the others are installed is not the question; whether they are ours is.
	mandoc -Tlint -Wall "$BUILD/man/$page" | grep -v 'referenced manual not found' && found=1
	while read -r _ name section _; do
		[ -e "config/man/$name.$section" ] || wrong "$page refers to $name($section), which is not here"
	done < <(grep '^\.Xr' "config/man/$page")
done

options=$("$BUILD/interlockd" --print-config | grep -oP '^\w+(?= =)')
for option in $options; do
	man interlock.conf.5 | grep -qP "^ +$option( = |$|  )" || wrong "interlock.conf(5) does not mention $option"
done

commands=$("$BUILD/interlock" --help | awk '/^  [^ -]/ { print $1 }')
[ "$(wc -w <<<"$commands")" -ge 7 ] || wrong "no commands in interlock --help"
longs() { grep -oP '^ .*?\K--[a-z-]+(?= )' ; }
for command in $commands; do
	"$BUILD/interlock" "$command" --help >"$BUILD/man/$command.help"
	man interlock.1 | grep -qP "^     $command( |$)" || wrong "interlock(1) does not mention $command"
	for option in $(longs <"$BUILD/man/$command.help"); do
		man interlock.1 | grep -qP -- "^ +$option( |$)" || wrong "interlock(1) does not mention $option"
	done
done
accepted=$(grep -hoP '\{ "\K[a-z-]+(?=", \w+_argument)' src/interlockd.c | sort)
[ "$(sed 's/^/--/' <<<"$accepted")" = "$("$BUILD/interlockd" --help | longs | sort -u)" ] ||
	wrong 'interlockd --help lists other options than it takes'
for option in $("$BUILD/interlockd" --help | longs); do
	man interlockd.8 | grep -qP -- "^ +(-., )?$option( |$)" || wrong "interlockd(8) does not mention $option"
done

# The protocol: every error that can be answered, every event that is routed, and the worker as it is.
code='{ "\K[a-z_]+(?=", (NULL|"[a-z_:]+"), )'
while read -r error; do
	man interlock-protocol.7 | grep -qP "^ +$error( |$)" || wrong "interlock-protocol(7) does not mention $error"
done < <(grep -rhoP "$code" src/core/error_reply.c | sort -u)
while read -r event; do
	man interlock-protocol.7 | grep -qP "^   $event$" || wrong "interlock-protocol(7) does not mention $event"
done < <(grep -rhoP '\.event = "\K[^"]+' src --include='*.c' | sort -u)
while IFS= read -r line; do
	man interlock-protocol.7 | grep -qF -- "$line" || wrong "interlock-protocol(7) has another worker: $line"
done <tests/client/worker.py

# "PAGE(8), Section" in a comment or a text: there is such a section. The same for the README.md of a folder.
sections() { # PAGE(8) or FOLDER/README.md
	case $1 in
	*README.md) sed -n 's/^##* //p' "$1" ;;
	*) sed -n 's/^\.S[hs] //p' "config/man/$(tr '(' . <<<"${1%)}")" ;;
	esac
}
while IFS=: read -r file cited; do
	page=${cited%%, *} text=${cited#*, } found_section=
	while read -r section; do
		[[ ${text,,} != "${section,,}"* ]] || found_section=$section
	done < <(sections "$page")
	[ -n "$found_section" ] || wrong "$file cites $cited, which is not there"
done < <(grep -rIoP '(interlockd?|interlock-protocol|interlock\.conf)\([1578]\), [A-Z][\w: ]+|\b(src|sql|tests)/README\.md, [A-Z][\w ]+' \
	src include sql tests/*/*.* tests/README.md config ./*.md)

# completes WORD... : what is offered for the last word.
completes() { (. "$BUILD/completion" && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) && "_$1" && echo "${COMPREPLY[*]}"); }
[ "$(completes interlock '' | tr ' ' '\n' | grep -v '^-')" = "$commands" ] || wrong 'the completion knows other commands'
for command in $commands; do
	for option in $(longs <"$BUILD/man/$command.help"); do
		[[ " $(completes interlock "$command" --) " == *" $option "* ]] || wrong "the completion of $command lacks $option"
	done
done
[ "$(completes interlock -c x run)" = 'runs run' ] || wrong 'the completion takes the value of -c for a command'
[ "$(completes interlock import -c "$BUILD/complet")" = "$BUILD/completion" ] || wrong 'the completion of files'
[[ " $(completes interlockd --) " == *" --print-config "* ]] || wrong 'the completion of interlockd'

exit $found

#!/bin/sh
# Makes the completion of both programs for bash, from what they say about themselves with --help.
#
#   sh src/completion.sh BUILD
set -eu
build=$1

# The options of a --help, a word each; with a : where a file or a folder follows, with a = where
# something else does.
options() {
	awk '/^ +-/ {
		sub(/^ +/, "")
		while (match($0, /^-+[a-z-]+,? ?/)) {
			word = substr($0, 1, RLENGTH)
			$0 = substr($0, RLENGTH + 1)
			gsub(/[, ]/, "", word)
			words[++n] = word
		}
		takes = match($0, /^[A-Z]+ /) ? substr($0, 1, RLENGTH - 1) : ""
		for (; n > 0; n--)
			printf "%s%s ", words[n], takes == "" ? "" : takes ~ /^(FILE|DIR)$/ ? ":" : "="
	}'
}

commands=$("$build/interlock" --help | sed -n 's/^  \([a-z][^ ]*\) .*/\1/p' | tr '\n' ' ')

cat <<END
# Completion of interlock and interlockd for bash. Made by src/completion.sh.

# _interlock_words WORD...: completes with these; a word that ends in : or = takes something.
_interlock_words() {
	local word cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}
	for word in "\$@"; do
		case \$word in
		"\$prev":) mapfile -t COMPREPLY < <(compgen -f -- "\$cur") && return ;;
		"\$prev"=) COMPREPLY=() && return ;;
		esac
	done
	mapfile -t COMPREPLY < <(compgen -W "\${*//[:=]/}" -- "\$cur")
}

_interlockd() { _interlock_words $("$build/interlockd" --help | options); }

_interlock() {
	local i command=
	for ((i = 1; i < COMP_CWORD; i++)); do
		case \${COMP_WORDS[i]} in
		-c) ((i++)) ;;
		-*) ;;
		*) command=\${COMP_WORDS[i]} && break ;;
		esac
	done
	case \$command in
	'') _interlock_words $("$build/interlock" --help | options)$commands;;
END
for command in $commands; do
	echo "	$command) _interlock_words $("$build/interlock" "$command" --help | options);;"
done
cat <<'END'
	esac
}

complete -o default -o filenames -F _interlock interlock
complete -o default -o filenames -F _interlockd interlockd
END

#!/bin/sh
# Makes a page of the manual: PAGE, in which a line `.\" @help PROGRAM [COMMAND]`, `.\" @commands PROGRAM`
# or `.\" @options FILE` is replaced by what the program says about itself with --help, or by what
# stands in the sample of the configuration. So the pages know every option, or there are none.
# `.\" @include FILE` shows a file as it stands.
#
#   sh src/manual.sh BUILD PAGE
set -eu
build=$1 page=$2

# As text: short lines, a sentence each; nothing in it is a request, and backslashes are meant.
lib='
function esc(s) { gsub(/\\/, "\\e", s); gsub(/"/, "\\(dq", s); return s }
function para(s,    n, words, i, line, out) {
	n = split(esc(s), words, " ")
	for (i = 1; i <= n; i++) {
		if (line != "" && (length(line " " words[i]) > 78 || line ~ /[a-z)]\.$/)) {
			out = out line "\n"
			line = ""
		}
		line = line (line == "" ? "" : " ") (line == "" && words[i] ~ /^[.\047]/ ? "\\&" : "") words[i]
	}
	return out line
}'

# The lines `  -c, --config FILE  text` of a --help as a list.
options() {
	awk "$lib"'
	/^ +-/ {
		line = $0
		sub(/^ +/, "", line)
		if (!match(line, /  +/) && !match(line, / [a-z]/)) next
		names = substr(line, 1, RSTART - 1)
		if (match(line, /^(-[a-z], )?-+[a-z-]+( [A-Z]+)? /)) names = substr(line, 1, RLENGTH - 1)
		text = substr(line, length(names) + 1)
		sub(/^ +/, "", text)
		if (!n++) print ".Bl -tag -width Ds"
		macros = ""
		m = split(names, words, " ")
		for (i = 1; i <= m; i++) {
			word = words[i]
			comma = sub(/,$/, "", word)
			if (sub(/^-/, "", word)) macros = macros " Fl " word (comma ? " ," : "")
			else macros = macros " Ar " word
		}
		print ".It" macros
		print para(text)
	}
	END { if (n) print ".El" }'
}

# The commands that the program lists.
commands() { "$build/$1" --help | sed -n 's/^  \([a-z][^ ]*\) .*/\1/p'; }

about() {
	for command in $(commands "$1"); do
		"$build/$1" "$command" --help | awk "$lib"'
		NR == 1 {
			line = ".It Cm"
			for (i = 3; i <= NF; i++)
				line = line ($i ~ /^\[/ ? "" : (i == 3 ? " " : " Ar ") $i)
			print line
		}
		NR == 3 { print para($0) }'
		"$build/$1" "$command" --help | grep -vE '^  (-c FILE|--help|--version) ' | options
	done
}

sample() {
	awk "$lib"'
	function flush() { if (open) print ".El"; open = 0 }
	/^\[/ { flush(); print ".Ss " $0 "\\&"; next }
	/^#\[/ { flush(); print ".Ss " esc(substr($0, 2)) "\\&\n" para(text); text = ""; next }
	/^# / {
		line = substr($0, 3)
		if (begun) text = text (text == "" ? "" : " ") line
		next
	}
	/^$/ { begun = 1; next }
	/^#[a-z_]+ =/ {
		if (!open) print ".Bl -tag -width Ds"
		open = 1
		name = substr($1, 2)
		value = $0
		sub(/^[^=]*= ?/, "", value)
		print ".It Cm " name (value == "" ? "" : " No = \\&" esc(value))
		if (text != "") print para(text)
		text = ""
	}
	END { flush() }' "$1"
}

while IFS= read -r line; do
	case $line in
	'.\" @help '*)
		# shellcheck disable=SC2086 # its words
		set -- ${line#*@help }
		"$build/$1" --help | options
		;;
	'.\" @commands '*) about "${line#*@commands }" ;;
	'.\" @include '*)
		echo '.Bd -literal'
		sed 's/\\/\\e/g; s/^\([.'\'']\)/\\\&\1/' "${line#*@include }"
		echo .Ed
		;;
	'.\" @options '*) sample "${line#*@options }" ;;
	*) printf '%s\n' "$line" ;;
	esac
done <"$page"

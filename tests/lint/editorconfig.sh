#!/usr/bin/env bash
# Files are as .editorconfig says: their indentation, their ends of line, the length of their lines. For each
# file the last section that fits it counts, property by property, as editors do it.
cd "$(dirname "$0")/../.." || exit
export LC_ALL=C.UTF-8 # for grep: what a letter is

found=0
wrong() { echo "$*" && found=1; }

# Two lists, section by section: the pattern (one that names a folder is of the whole path), the properties.
globs=() properties=()
while read -r line; do
	case $line in
	'['*) globs+=("${line:1:-1}") properties+=('') ;;
	*=*) ((${#globs[@]} == 0)) || properties[-1]+=" ${line// /}" ;;
	esac
done <.editorconfig

# fits FILE GLOB: {a,b} is either of the two.
fits() {
	local glob name=${1##*/} head tail each
	if [[ $2 =~ ^([^{]*)\{([^}]*)\}(.*)$ ]]; then
		head=${BASH_REMATCH[1]} tail=${BASH_REMATCH[3]}
		for each in ${BASH_REMATCH[2]//,/ }; do ! fits "$1" "$head$each$tail" || return 0; done
		return 1
	fi
	glob=$2
	[[ $glob != */* ]] || name=$1
	# shellcheck disable=SC2053
	[[ $name == $glob ]]
}

while read -r file; do
	[ -s "$file" ] && [ ! -L "$file" ] || continue
	declare -A is=()
	for i in "${!globs[@]}"; do
		fits "$file" "${globs[i]}" || continue
		for each in ${properties[i]}; do is[${each%%=*}]=${each#*=}; done
	done
	[ "${is[indent_style]}" != tab ] || ! grep -qP '^  +\S' "$file" || wrong "$file is indented by spaces"
	[ "${is[indent_style]}" != space ] || ! grep -qP '^\t' "$file" || wrong "$file is indented by tabs"
	[ "${is[trim_trailing_whitespace]}" != true ] || ! grep -qP '[ \t]$' "$file" ||
		wrong "$file has blanks at the end of a line"
	! grep -q $'\r' "$file" || wrong "$file has carriage returns"
	[ -z "$(tail -c 1 "$file")" ] || wrong "$file does not end with a newline"
	# What clang-format lets stand, a text that cannot be broken, may.
	[[ -z ${is[max_line_length]:-} || $file == *.[ch] ]] || ! grep -qE "^.{$((is[max_line_length] + 1))}" "$file" ||
		wrong "$file has a line of more than ${is[max_line_length]} characters"
	iconv -f utf-8 "$file" >/dev/null 2>&1 || wrong "$file is not UTF-8"
done < <(git ls-files | grep -v '^tests/client/data/')

((${#globs[@]} > 5)) || wrong 'no sections in .editorconfig'
exit $found

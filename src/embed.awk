# Reads one statement and fills in what declares its parameters. First {{include NAME}}: the text of the fragment
# (in the folder -v fragments), whose own declarations count. Then, numbered in this order:
#   {{input NAME TYPE, …}}        arrays, an element for each row: unnest(…) WITH ORDINALITY AS m(NAME, …, ord)
#   {{rows ALIAS NAME TYPE, …}}   the same, without ord
#   {{scalar NAME TYPE}}          one value for all rows; the same name again is the same parameter
# The line `-- columns: NAME, …` declares its result ({{reply_columns}}: what -v reply says). With -v mode=columns the names of the result are
# printed, with -v mode=enums two enums, and else the text.
{
	if (sub(/^-- columns: /, "")) {
		sub(/{{reply_columns}}/, reply)
		columns = $0
	} else
		text = text $0 "\n"
}

function arrays(declared, ord,   n, i, part, word, types, names)
{
	gsub(/[\n\t]+/, " ", declared)
	n = split(declared, part, / *, */)
	for (i = 1; i <= n; i++) {
		split(part[i], word, " ")
		names = names (i > 1 ? ", " : "") word[1]
		types = types (i > 1 ? ", " : "") "$" ++params "::" word[2] "[]"
		input[params] = word[1]
	}
	return "unnest(" types ")" (ord ? " WITH ORDINALITY" : "") " AS " alias "(" names (ord ? ", ord)" : ")")
}

function replace(at, len, by) { text = substr(text, 1, at - 1) by substr(text, at + len) }

function print_enum(prefix, names, n,   i, name)
{
	if (n == 0)
		return
	printf "enum {"
	for (i = 1; i <= n; i++) {
		name = toupper(names[i])
		gsub(/[^A-Z0-9_]/, "", name)
		printf " %s_%s,", prefix, name
	}
	print " " prefix "_COUNT };"
}

# The fragment's text, without its last newline.
function fragment(name,   file, line, found)
{
	file = fragments "/" name ".sql"
	while ((getline line < file) > 0)
		found = found (found == "" ? "" : "\n") line
	close(file)
	if (found == "") {
		print "there is no fragment " name > "/dev/stderr"
		exit 1
	}
	return found
}

END {
	while (match(text, /{{include [^}]*}}/))
		replace(RSTART, RLENGTH, fragment(substr(text, RSTART + 10, RLENGTH - 12)))
	if (match(text, /{{input [^}]*}}/)) {
		alias = "m"
		replace(RSTART, RLENGTH, arrays(substr(text, RSTART + 8, RLENGTH - 10), 1))
	}
	if (match(text, /{{rows [^}]*}}/)) {
		alias = substr(text, RSTART + 7, 1)
		replace(RSTART, RLENGTH, arrays(substr(text, RSTART + 9, RLENGTH - 11), 0))
	}
	while (match(text, /{{scalar [^}]*}}/)) {
		split(substr(text, RSTART + 9, RLENGTH - 11), word, " ")
		if (!(word[1] in number)) {
			number[word[1]] = ++params
			input[params] = word[1]
		}
		replace(RSTART, RLENGTH, "$" number[word[1]] "::" word[2])
	}
	n = split(columns, output, /, */)
	if (mode == "columns")
		print columns
	else if (mode == "enums") {
		print_enum(toupper(name) "_IN", input, params)
		print_enum(toupper(name) "_OUT", output, n)
	} else
		printf "%s", text
}

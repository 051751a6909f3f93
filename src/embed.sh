#!/bin/sh
# Turns .sql files into C: one table per folder (sql_migrations, sql_statements, …), a row {name, text}
# per file, the name without folder and ending, in the order given. Prints to stdout.
set -eu
twice=$(printf '%s\n' "$@" | sed -n 's:.*/migrations/\([0-9]*\)_.*:\1:p' | sort | uniq -d)
[ -z "$twice" ] || { echo "two migrations have the number $twice" >&2 && exit 1; }
echo '/* Made by src/embed.sh. */'
echo 'struct sql_file { const char *name, *text; };'
for dir in migrations statements fragments commands checks; do
	echo "static const struct sql_file sql_${dir}[] __attribute__((unused)) = {"
	for file in "$@"; do
		case $file in */"$dir"/*.sql) ;; *) continue ;; esac
		name=${file##*/}
		printf '\t{ "%s",\n' "${name%.sql}"
		sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' -e 's/.*/\t\t"&\\n"/' "$file"
		printf '\t},\n'
	done
	echo '};'
done

#!/bin/sh
# Turns .sql files into C: one table per folder (sql_migrations, sql_statements, …), a row {name, text,
# columns} per file, the name without folder and ending, in the order given. With --enums: the parameters and
# the result columns of the statements as enums instead, NAME_IN_… and NAME_OUT_…. Prints to stdout.
set -eu
here=$(dirname "$0")
reply='ord, verdict, state, policy, late, lost_at' # of sql/fragments/reply_columns.sql
echo '/* Made by src/embed.sh. */'
if [ "$1" = --enums ]; then
	echo "-- columns: $reply" | awk -v mode=enums -v name=reply -f "$here/embed.awk"
	for file in "$@"; do
		case $file in */statements/*.sql) ;; *) continue ;; esac
		name=${file##*/}
		awk -v reply="$reply" -v fragments="${file%/*/*}/fragments" -v mode=enums -v name="${name%.sql}" -f "$here/embed.awk" "$file"
	done
	exit
fi
twice=$(printf '%s\n' "$@" | sed -n 's:.*/migrations/\([0-9]*\)_.*:\1:p' | sort | uniq -d)
[ -z "$twice" ] || { echo "two migrations have the number $twice" >&2 && exit 1; }
echo 'struct sql_file { const char *name, *text, *columns; };'
for dir in migrations statements fragments commands checks; do
	echo "static const struct sql_file sql_${dir}[] __attribute__((unused)) = {"
	for file in "$@"; do
		case $file in */"$dir"/*.sql) ;; *) continue ;; esac
		name=${file##*/} columns=
		printf '\t{ "%s",\n' "${name%.sql}"
		if [ $dir = statements ]; then
			awk -v fragments="${file%/*/*}/fragments" -v mode=text -f "$here/embed.awk" "$file"
		else
			cat "$file"
		fi | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' -e 's/.*/\t\t"&\\n"/'
		[ $dir != statements ] || columns=$(awk -v reply="$reply" -v fragments="${file%/*/*}/fragments" -v mode=columns -f "$here/embed.awk" "$file")
		printf '\t\t, "%s" },\n' "$columns"
	done
	echo '};'
done

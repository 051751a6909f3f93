/*
 * Prints a statement of the daemon's as pgbench wants it: `statement NAME EXPRESSION…` with an SQL
 * expression for each parameter, columns as arrays of one element. `statement --settings` prints
 * what the daemon sets on each connection, as PGOPTIONS. pgbench takes `:word` for a variable,
 * inside literals too, so a colon in a literal is written as an escape.
 */
#include "core/batch.h"

#include <stdlib.h>

static void print_settings(void)
{
	for (const char *const *s = batch_settings; *s != NULL; s += 2)
		printf("-c %s=%s ", s[0], s[1]);
	putchar('\n');
}

/* Prints the literal that begins at p, and returns what is behind it. */
static const char *print_literal(const char *p, bool escaped)
{
	const char *end = strchr(p + 1, '\'');

	if (!escaped && memchr(p, ':', (size_t)(end - p)) != NULL)
		putchar('E');
	for (; p <= end; p++) {
		if (*p == ':')
			fputs("\\072", stdout);
		else
			putchar(*p);
	}
	return p;
}

static const char *print_parameter(
	const char *p, const struct stmt *stmt, int n, char **expressions)
{
	char *end;
	long i = strtol(p + 1, &end, 10);

	if (i < 1 || i > n)
		fatalx("%s has a parameter $%ld", stmt->name, i);
	printf(i <= stmt->columns ? "ARRAY[%s]" : "%s", expressions[i - 1]);
	return end;
}

int main(int argc, char **argv)
{
	const struct stmt *stmt;
	const char *p;

	if (argc < 2)
		fatalx("usage: statement NAME EXPRESSION… | --settings");
	if (strcmp(argv[1], "--settings") == 0) {
		print_settings();
		return 0;
	}
	stmt = stmt_get(argv[1]);
	if (argc - 2 != stmt->columns + stmt->scalars)
		fatalx("%s has %d parameters", stmt->name, stmt->columns + stmt->scalars);
	for (p = stmt->sql; *p != '\0';) {
		if (*p == '\'') {
			p = print_literal(p, p[-1] == 'E');
		} else if (*p == '$') {
			p = print_parameter(p, stmt, argc - 2, argv + 2);
		} else if (strncmp(p, "--", 2) == 0) {
			p = strchr(p, '\n');
		} else {
			putchar(*p == '\n' ? ' ' : *p);
			p++;
		}
	}
	return 0;
}

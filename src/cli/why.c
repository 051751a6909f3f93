/*
 * cli why: what happened to a run, in words. The sentences are made by the database, from the run
 * and its journal (sql/commands/why*.sql), so that the text and --json say the same.
 */
#include "cli.h"

#include <stdlib.h>

static const struct part {
	const char *name, *sql;
	bool one; /* one row, not a list */
} parts[] = {
	{ "why", "why", true },
	{ "timeline", "why_timeline", false },
	{ "next", "why_next", false },
};

enum { WHAT_COLUMN = 21 };

static void print_timeline(const PGresult *rows)
{
	for (int i = 0; i < PQntuples(rows); i++) {
		printf("%-*.19s", WHAT_COLUMN, cli_value(rows, i, "at")); /* to the second */
		cli_paragraph(cli_value(rows, i, "what"), WHAT_COLUMN);
	}
}

static void print_next(const PGresult *rows)
{
	if (PQntuples(rows) > 0)
		puts("\nWhat can be done:");
	for (int i = 0; i < PQntuples(rows); i++) {
		printf("  %s%s%s\n    ", cli_colour(CLI_BOLD), cli_value(rows, i, "command"),
			cli_colour(CLI_PLAIN));
		cli_paragraph(cli_value(rows, i, "effect"), 4);
	}
}

bool cli_explain(PGconn *db, const char *const *values)
{
	PGresult *why = cli_query(db, cli_sql("why"), 2, values);

	if (why)
		cli_paragraph(cli_value(why, 0, "why"), 0);
	PQclear(why);
	return why;
}

static bool show_text(PGconn *db, const char *const *values)
{
	PGresult *timeline = NULL, *next = NULL;
	bool ok = cli_explain(db, values) &&
		  (timeline = cli_query(db, cli_sql("why_timeline"), 2, values)) != NULL &&
		  (next = cli_query(db, cli_sql("why_next"), 2, values)) != NULL;

	if (ok) {
		putchar('\n');
		print_timeline(timeline);
		print_next(next);
	}
	PQclear(timeline);
	PQclear(next);
	return ok;
}

static bool show_json(PGconn *db, const char *const *values)
{
	for (const struct part *p = parts; p < parts + countof(parts); p++) {
		printf("%s\"%s\":", p == parts ? "{" : ",\n", p->name);
		if (!cli_show(db, cli_sql(p->sql), p->one, true, 2, values))
			return false;
	}
	puts("}");
	return true;
}

/* One snapshot for all parts, so that they are of one moment. */
static int run_why(const struct cli *cli)
{
	char *project = NULL;

	if (!cli_is_id("RUN", cli->operand))
		return CLI_USAGE;
	PGconn *db = cli_open(cli->conf, false);
	bool ok = db &&
		  cli_change(db, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, NULL) >= 0 &&
		  (project = cli_project_of(db, cli->operand)) != NULL;
	if (ok) {
		const char *values[] = { project, cli->operand };
		ok = cli_option(cli, "json") ? show_json(db, values) : show_text(db, values);
	}
	PQfinish(db);
	free(project);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_why = {
	.name = "why",
	.operand = "RUN",
	.help = "Explain the state of a run, with a time line and what can be done.",
	.options = { { "json", NULL, "print a JSON object" } },
	.run = run_why,
};

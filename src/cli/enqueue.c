/*
 * cli enqueue, retry: create runs, by the functions of the schema that applications call too.
 */
#include "cli.h"

#include <stdlib.h>

#include "lib/jscan.h"

/* Runs that one statement makes: few enough that it blocks no other session. */
enum { CHUNK = 1000, MAX_COUNT = 10000000 };

static void print_created(const PGresult *rows, bool header, bool json)
{
	if (header && !json)
		printf("%-36s  %s\n", "work_order_id", "run_id");
	for (int i = 0; i < PQntuples(rows); i++)
		printf(json ? "{\"work_order_id\":\"%s\",\"run_id\":\"%s\"}\n" : "%s  %s\n",
			cli_value(rows, i, "work_order_id"), cli_value(rows, i, "run_id"));
}

static bool read_input(const struct cli *cli, struct buf *input)
{
	const char *path = cli_option(cli, "input");
	struct slice value;

	if (!path) {
		buf_adds(input, "{}");
		return true;
	}
	if (!cli_read(path, input))
		return false;
	if (jscan_document((struct slice){ input->p, input->n }, &value) == JSCAN_OK)
		return true;
	cli_error("%s: not valid JSON", path);
	return false;
}

static bool enqueue(
	const struct cli *cli, PGconn *db, const char *workflow, const char *input, int count)
{
	bool json = cli_option(cli, "json");
	char chunk[12];
	const char *values[] = { workflow, input, cli_option(cli, "priority") ?: "normal",
		cli_option(cli, "queue") ?: "default", cli_option(cli, "trigger"), chunk };

	for (int done = 0; done < count; done += CHUNK) {
		snprintf(chunk, sizeof(chunk), "%d", count - done < CHUNK ? count - done : CHUNK);
		/* OFFSET 0: the function is called once a row, not once a column. */
		PGresult *res = cli_query(db,
			"SELECT (e).work_order_id, (e).run_id FROM (SELECT "
			"interlock_enqueue($1::uuid, "
			"$2::text, $3::text, $4::text, $5::uuid) AS e "
			"FROM generate_series(1, $6::int) OFFSET 0) x",
			6, values);
		if (!res)
			return false;
		print_created(res, done == 0, json);
		if (count > CHUNK)
			cli_progress("runs", done + PQntuples(res), count);
		PQclear(res);
	}
	return true;
}

static int run_enqueue(const struct cli *cli)
{
	struct buf input = { 0 };
	char *workflow = NULL;
	int count;
	PGconn *db = NULL;

	if (!cli_number(cli, "count", 1, MAX_COUNT, 1, &count) ||
		!cli_is_id("--trigger", cli_option(cli, "trigger")))
		return CLI_USAGE;
	bool ok = read_input(cli, &input) && (db = cli_open(cli->conf, false)) != NULL &&
		  (workflow = cli_workflow(db, cli->operand)) != NULL &&
		  enqueue(cli, db, workflow, input.p, count);
	PQfinish(db);
	free(workflow);
	buf_free(&input);
	return ok ? CLI_OK : CLI_FAILED;
}

static int run_retry(const struct cli *cli)
{
	if (!cli_is_id("RUN", cli->operand))
		return CLI_USAGE;
	PGconn *db = cli_open(cli->conf, false);
	const char *run = cli->operand;
	PGresult *res = db ? cli_query(db, "SELECT * FROM interlock_retry($1)", 1, &run) : NULL;

	if (res)
		print_created(res, true, cli_option(cli, "json"));
	PQclear(res);
	PQfinish(db);
	return res ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_enqueue = {
	.name = "enqueue",
	.operand = "WORKFLOW",
	.help = "Create a work order with a run of this workflow (id or name).",
	.options = {
		{ "input", "FILE", "the run's input as JSON; - for stdin (default: {})" },
		{ "priority", "PRIORITY", "normal or immediate (default: normal)" },
		{ "queue", "NAME", "the queue (default: default)" },
		{ "trigger", "ID", "the trigger to start at (default: the workflow's first)" },
		{ "count", "N", "how many to create (default: 1)" },
		{ "json", NULL, "print one JSON object per line" },
	},
	.run = run_enqueue,
};

const struct cli_command cli_retry = {
	.name = "retry",
	.operand = "RUN",
	.help = "Create another run of the same work order, with the same input.",
	.options = { { "json", NULL, "print a JSON object" } },
	.run = run_retry,
};

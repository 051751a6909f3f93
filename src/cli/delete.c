/*
 * cli delete: a project, or a workflow, with everything that belongs to it. First its workflows are
 * archived, so that no runs come any more. Then its work orders go, some at a time, each batch a
 * transaction that locks them first; then what is left of the project's rows, in batches as well;
 * at last, in one transaction, the workflows and what they consist of. Invariant: what is left
 * after any interruption is consistent, and archived; the same command goes on with it. A work
 * order with a run that is not over is never deleted.
 */
#include "archive.h"

#include <stdlib.h>

/* What is reported of interlock_delete_work_orders: its columns, and their names for people. */
static const struct {
	const char *column, *name;
} tables[] = {
	{ "work_orders", "work orders" },
	{ "runs", "runs" },
	{ "steps", "steps" },
	{ "dataclips", "dataclips" },
	{ "log_lines", "log lines" },
	{ "transitions", "journal rows" },
};

#define FIRST_ID "00000000-0000-0000-0000-000000000000"

/* A batch is read in the order of an index, whatever the statistics say: any other plan reads all
 * of the project for each batch. */
static const char settings[] = "SELECT set_config('lock_timeout', '10s', false), "
			       "set_config('enable_seqscan', 'off', false), "
			       "set_config('enable_bitmapscan', 'off', false), "
			       "set_config('enable_sort', 'off', false)";

struct deletion {
	PGconn *db;
	PGresult *found; /* of delete_find.sql */
	const char *project;
	const char *workflow; /* NULL: the whole project */
	int64_t orders, in_flight;
	int64_t cancelled, gone[countof(tables)];
};

/* Rows of a project that no work order has taken with it, such as journal rows that are kept for
 * longer than runs. There may be as many of them, so they go in batches too; what comes behind a
 * batch goes with the rest. */
static const struct {
	const char *table, *key;
} strays[] = {
	{ "transitions", "run_id" },
	{ "journal_counts", "run_id" },
	{ "dataclips", "id" },
};

/* At last what a project consists of: $1 the project, $2 the workflow or NULL. In this order,
 * because of the foreign keys. */
static const char *const rest[] = {
	"DELETE FROM idempotency_keys k USING triggers t WHERE k.project_id = $1 "
	"	AND t.project_id = k.project_id AND t.id = k.trigger_id "
	"	AND ($2::uuid IS NULL OR t.workflow_id = $2)",
	"DELETE FROM triggers WHERE project_id = $1 AND ($2::uuid IS NULL OR workflow_id = $2)",
	"UPDATE workflows SET snapshot_id = NULL "
	"WHERE project_id = $1 AND ($2::uuid IS NULL OR id = $2)",
	"DELETE FROM snapshot_jobs j USING snapshots s WHERE j.project_id = $1 "
	"	AND s.project_id = j.project_id AND s.id = j.snapshot_id "
	"	AND ($2::uuid IS NULL OR s.workflow_id = $2)",
	"DELETE FROM snapshots WHERE project_id = $1 AND ($2::uuid IS NULL OR workflow_id = $2)",
	"DELETE FROM workflows WHERE project_id = $1 AND ($2::uuid IS NULL OR id = $2)",
	"DELETE FROM idempotency_keys WHERE project_id = $1 AND $2::uuid IS NULL",
	"DELETE FROM transitions WHERE project_id = $1 AND $2::uuid IS NULL",
	"DELETE FROM journal_counts WHERE project_id = $1 AND $2::uuid IS NULL",
	"DELETE FROM dataclips WHERE project_id = $1 AND $2::uuid IS NULL",
	"DELETE FROM credentials WHERE project_id = $1 AND $2::uuid IS NULL",
	"DELETE FROM turns WHERE project_id = $1 AND $2::uuid IS NULL",
	"DELETE FROM projects WHERE id = $1 AND $2::uuid IS NULL",
};

static bool find(struct deletion *d, const char *id)
{
	d->found = cli_query(d->db, cli_sql("delete_find"), 1, &id);
	int n = d->found ? PQntuples(d->found) : 0;
	const char *kind = n > 0 ? cli_value(d->found, 0, "kind") : "";

	if (d->found && n == 0)
		cli_error("no project or workflow %s", id);
	if (n > 0 && strcmp(kind, cli_value(d->found, n - 1, "kind")) != 0) {
		cli_error("%s is the id of a project and of a workflow", id);
		return false;
	}
	if (n > 0) {
		d->project = cli_value(d->found, 0, "project_id");
		d->workflow = strcmp(kind, "workflow") == 0 ? id : NULL;
	}
	return n > 0;
}

static bool measure(struct deletion *d)
{
	const char *values[] = { d->project, d->workflow };
	PGresult *res = cli_query(d->db, cli_sql("delete_size"), 2, values);

	if (res) {
		d->orders = strtoll(cli_value(res, 0, "work_orders"), NULL, 10);
		d->in_flight = strtoll(cli_value(res, 0, "in_flight"), NULL, 10);
	}
	PQclear(res);
	return res;
}

static bool confirm(const struct cli *cli, const struct deletion *d)
{
	int workflows = 0;

	for (int i = 0; i < PQntuples(d->found); i++)
		workflows += *cli_value(d->found, i, "workflow_id") != '\0';
	printf("%s %s (%s): ", cli_value(d->found, 0, "kind"),
		d->workflow ? d->workflow : d->project, cli_value(d->found, 0, "name"));
	if (!d->workflow)
		printf("%d workflows, ", workflows);
	printf("%jd work orders, %jd runs in flight\n", (intmax_t)d->orders,
		(intmax_t)d->in_flight);
	return archive_confirm(cli, "All of it will be deleted.");
}

static bool archive(struct deletion *d)
{
	bool ok = true;

	for (int i = 0; ok && i < PQntuples(d->found); i++)
		if (*cli_value(d->found, i, "workflow_id") != '\0')
			ok = archive_workflow(d->db, d->project,
				cli_value(d->found, i, "workflow_id"), &d->cancelled);
	if (ok && d->cancelled > 0)
		printf("cancelled %jd waiting runs\n", (intmax_t)d->cancelled);
	return ok && measure(d);
}

/* Deletes the locked work orders. */
static bool delete_orders(struct deletion *d, const PGresult *orders)
{
	struct buf ids = { 0 };

	for (int i = 0; i < PQntuples(orders); i++)
		buf_addf(&ids, "%c%s", i > 0 ? ',' : '{', cli_value(orders, i, "id"));
	buf_addc(&ids, '}');
	const char *values[] = { d->project, ids.p };
	PGresult *res = cli_query(d->db,
		"SELECT * FROM interlock_delete_work_orders($1, $2::uuid[], true)", 2, values);
	for (size_t i = 0; res && i < countof(tables); i++)
		d->gone[i] += strtoll(cli_value(res, 0, tables[i].column), NULL, 10);
	PQclear(res);
	buf_free(&ids);
	return res && cli_change(d->db, "COMMIT", 0, NULL) >= 0;
}

/* One batch after another, in the order of the ids. */
static bool delete_batches(struct deletion *d)
{
	char last[UUID_TEXT] = FIRST_ID;
	int64_t seen = 0;
	bool ok = true, more = true;

	while (ok && more) {
		const char *values[] = { d->project, d->workflow, last };
		PGresult *orders = cli_change(d->db, "BEGIN", 0, NULL) >= 0
					   ? cli_query(d->db, cli_sql("delete_lock"), 3, values)
					   : NULL;

		more = orders && PQntuples(orders) > 0;
		if (more) {
			snprintf(last, sizeof(last), "%s",
				cli_value(orders, PQntuples(orders) - 1, "id"));
			seen += PQntuples(orders);
		}
		ok = orders &&
		     (more ? delete_orders(d, orders) : cli_change(d->db, "COMMIT", 0, NULL) >= 0);
		if (ok && more)
			cli_progress("work orders", seen, d->orders);
		PQclear(orders);
	}
	return ok;
}

/* Deletes a batch, a transaction of its own: about a thousand rows behind the key `last`, whose
 * place the last key of the batch takes, or the next would step over what this one deleted.
 * Positive if there was something to delete, negative (reported) if it failed. */
static int delete_some(const struct deletion *d, size_t stray, char last[UUID_TEXT])
{
	const char *table = strays[stray].table, *key = strays[stray].key;
	const char *values[] = { d->project, last };
	struct buf sql = { 0 };

	buf_addf(&sql,
		"WITH batch AS MATERIALIZED (SELECT %s AS key FROM %s "
		"	WHERE project_id = $1 AND %s > $2 ORDER BY %s LIMIT 1000), "
		"gone AS (DELETE FROM %s WHERE project_id = $1 AND %s > $2 "
		"	AND %s <= (SELECT key FROM batch ORDER BY key DESC LIMIT 1)) "
		"SELECT key FROM batch ORDER BY key DESC LIMIT 1",
		key, table, key, key, table, key, key);
	PGresult *res = cli_query(d->db, sql.p, 2, values);
	int n = res ? PQntuples(res) : -1;
	if (n > 0)
		snprintf(last, UUID_TEXT, "%s", cli_value(res, 0, "key"));
	PQclear(res);
	buf_free(&sql);
	return n;
}

static bool delete_strays(const struct deletion *d)
{
	int n = 0;

	for (size_t i = 0; n >= 0 && i < countof(strays); i++) {
		char last[UUID_TEXT] = FIRST_ID;

		do
			n = delete_some(d, i, last);
		while (n > 0);
	}
	return n >= 0;
}

/* The workflows, and what they consist of. */
static bool delete_rest(struct deletion *d)
{
	const char *values[] = { d->project, d->workflow };
	bool ok = cli_change(d->db, "BEGIN", 0, NULL) >= 0;

	for (size_t i = 0; ok && i < countof(rest); i++)
		ok = cli_change(d->db, rest[i], 2, values) >= 0;
	return ok && cli_change(d->db, "COMMIT", 0, NULL) >= 0;
}

static bool is_over(struct deletion *d)
{
	if (d->in_flight > 0)
		cli_error("%jd runs are in flight: they go on, and new ones are refused; delete "
			  "again "
			  "when they are over",
			(intmax_t)d->in_flight);
	return d->in_flight == 0;
}

static bool delete (struct deletion *d)
{
	if (!archive(d) || !is_over(d) || !delete_batches(d) || !measure(d))
		return false;
	printf("deleted");
	for (size_t i = 0; i < countof(tables); i++)
		printf("%s %jd %s", i > 0 ? "," : "", (intmax_t)d->gone[i], tables[i].name);
	putchar('\n');
	if (d->orders > 0) {
		cli_error("%jd work orders have runs that are not over; delete again when they are",
			(intmax_t)d->orders);
		return false;
	}
	return (d->workflow || delete_strays(d)) && delete_rest(d);
}

static int run_delete(const struct cli *cli)
{
	struct deletion d = { 0 };

	if (!cli_is_id("ID", cli->operand))
		return CLI_USAGE;
	d.db = cli_open(cli->conf, true);
	bool ok = d.db && cli_change(d.db, settings, 0, NULL) >= 0 && find(&d, cli->operand) &&
		  measure(&d) && confirm(cli, &d) && delete (&d);
	if (ok)
		printf("deleted %s %s (%s)\n", cli_value(d.found, 0, "kind"), cli->operand,
			cli_value(d.found, 0, "name"));
	PQclear(d.found);
	PQfinish(d.db);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_delete = {
	.name = "delete",
	.operand = "ID",
	.help = "Delete a project or a workflow (its id) with all its runs.",
	.options = {
		{ "yes", NULL, "do not ask" },
	},
	.run = run_delete,
};

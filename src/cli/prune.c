/*
 * cli prune: what the daemon's pruner does by itself, at once, by the same functions of the
 * database; and it drops the journal's partitions in a way that waits for whoever reads them.
 * Invariant: no message waits for it. DETACH CONCURRENTLY waits for readers without blocking
 * other sessions; locks are waited for a second at a time. The progress is in the database, and
 * each step is looked up there, so the next prune finishes what one that gave up has left.
 */
#include "cli.h"

#include "core/retention.h"
#include "core/stmt.h"

#include <stdlib.h>
#include <unistd.h>

/* The comment on a partition that is being dropped. */
static const char mark[] = "interlock prune: to be dropped";

/* In each the partition, and then perhaps the mark. */
static const struct {
	const char *how, *first, *then;
} steps[] = {
	{ "detach", "COMMENT ON TABLE %s IS '%s'",
		"ALTER TABLE transitions DETACH PARTITION %s CONCURRENTLY" },
	{ "finalize", NULL, "ALTER TABLE transitions DETACH PARTITION %s FINALIZE" },
	{ "drop", NULL, "DROP TABLE %s" },
};

enum outcome { DONE, IN_USE, FAILED };

/* FAILED has been reported. */
static enum outcome execute(PGconn *db, const char *format, const char *partition)
{
	char *sql = xasprintf(format, partition, mark);
	PGresult *res = PQexec(db, sql);
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	enum outcome outcome = DONE;

	if (PQresultStatus(res) != PGRES_COMMAND_OK) {
		outcome = state && strcmp(state, "55P03") == 0 ? IN_USE : FAILED;
		if (outcome == FAILED)
			cli_error("%s: %s", partition, PQerrorMessage(db));
	}
	PQclear(res);
	free(sql);
	return outcome;
}

static enum outcome take_step(PGconn *db, const char *how, const char *partition)
{
	size_t i = 0;
	enum outcome outcome = DONE;

	while (strcmp(steps[i].how, how) != 0)
		i++;
	if (steps[i].first)
		outcome = execute(db, steps[i].first, partition);
	return outcome == DONE ? execute(db, steps[i].then, partition) : outcome;
}

static PGresult *find(PGconn *db, int64_t keep)
{
	char text[24];

	snprintf(text, sizeof(text), "%jd", (intmax_t)keep);
	return cli_query(db, cli_sql("prune_find"), 2, (const char *const[]){ text, mark });
}

/* A step of the first partition that is found, until there is none or the time is over. */
static bool prune(PGconn *db, int64_t keep, int64_t wait)
{
	int64_t end = mono_ms() + wait;
	bool ok = true, more = true;

	while (ok && more) {
		PGresult *res = find(db, keep);
		more = res && PQntuples(res) > 0;
		ok = res;
		if (more) {
			const char *partition = cli_value(res, 0, "partition"),
				   *how = cli_value(res, 0, "how");
			enum outcome outcome = take_step(db, how, partition);

			if (outcome == DONE && strcmp(how, "drop") == 0)
				printf("dropped %s, %s\n", partition, cli_value(res, 0, "size"));
			ok = outcome == DONE || (outcome == IN_USE && mono_ms() < end);
			if (outcome == IN_USE && !ok)
				cli_error("%s is in use; the next prune will continue with it",
					partition);
			else if (outcome == IN_USE)
				usleep(200 * 1000);
		}
		PQclear(res);
	}
	return ok;
}

/* The counts of messages whose rows are dropped. */
static bool delete_counts(PGconn *db, int64_t keep)
{
	char text[24];

	snprintf(text, sizeof(text), "%jd", (intmax_t)keep);
	return cli_change(db,
		       "DELETE FROM journal_counts WHERE at < now() - $1::bigint * interval '1 "
		       "millisecond'",
		       1, (const char *const[]){ text }) >= 0;
}

/* One prune at a time; the lock goes with the connection. The daemon has it for one batch. */
static bool lock_prune(PGconn *db)
{
	struct buf why = { 0 };
	bool ok = cli_change(db, "SET lock_timeout = '3s'", 0, NULL) >= 0;
	PGresult *res = ok ? cli_ask(db, "SELECT pg_advisory_lock(hashtext('interlock prune'))", 0,
				     NULL, &why)
			   : NULL;

	if (ok && !res)
		cli_error("another prune is running");
	PQclear(res);
	buf_free(&why);
	return res && cli_change(db, "SET lock_timeout = '1s'", 0, NULL) >= 0;
}

/* ---- work orders, and what belongs to them ---- */

enum {
	BATCH = 100,          /* work orders of a transaction */
	PAUSE_US = 20 * 1000, /* between two, unless in a hurry */
};

/* A query by the periods of [retention]. */
static PGresult *ask_by_periods(PGconn *db, const struct conf *conf, const char *sql)
{
	struct buf params[RETENTION_PARAMS] = { { 0 } };
	const char *values[RETENTION_PARAMS];

	retention_params(conf, params);
	for (size_t i = 0; i < countof(params); i++) {
		buf_addc(&params[i], '\0');
		values[i] = params[i].p;
	}
	PGresult *res = cli_query(db, sql, RETENTION_PARAMS, values);
	for (size_t i = 0; i < countof(params); i++)
		buf_free(&params[i]);
	return res;
}

/* All that is due of one project and kind; the number of work orders, -1 (reported) if it fails. */
static int64_t prune_one(PGconn *db, const char *const values[3], bool hurry)
{
	const char *params[] = { values[0], values[1], values[2], "100" };
	int64_t orders = 0, batch = BATCH;

	while (batch == BATCH) {
		PGresult *res = cli_query(db, stmt_get("prune")->sql, 4, params);
		int rows = res ? PQntuples(res) : 0;

		if (rows == 0) {
			PQclear(res);
			return -1;
		}
		/* The last row counts the work orders. */
		batch = strtoll(cli_value(res, rows - 1, "n"), NULL, 10);
		orders += batch;
		PQclear(res);
		if (!hurry)
			usleep(PAUSE_US);
	}
	return orders;
}

static bool prune_rows(PGconn *db, const struct conf *conf, bool hurry)
{
	PGresult *due = ask_by_periods(db, conf, stmt_get("prune_due")->sql);
	bool ok = due;

	for (int i = 0; ok && i < PQntuples(due); i++) {
		const char *values[] = { cli_value(due, i, "project_id"), cli_value(due, i, "what"),
			cli_value(due, i, "keep_ms") };
		int64_t orders = prune_one(db, values, hurry);

		ok = orders >= 0;
		if (orders > 0)
			printf("pruned %s of %jd work orders of project %s\n", values[1],
				(intmax_t)orders, values[0]);
	}
	PQclear(due);
	return ok;
}

/* Of the log; the journal's have their own way. */
static bool drop_log_partitions(PGconn *db, const struct conf *conf)
{
	int64_t keep = retention_of_partitions(conf, 0);
	char text[24];
	bool more = keep > 0, ok = true;

	snprintf(text, sizeof(text), "%jd", (intmax_t)keep);
	while (ok && more) {
		PGresult *res = cli_query(db, stmt_get("drop_partition")->sql, 2,
			(const char *const[]){ retention_partitioned[0], text });

		ok = res;
		more = res && !PQgetisnull(res, 0, 0);
		if (more)
			printf("dropped %s\n", cli_value(res, 0, "dropped"));
		PQclear(res);
	}
	return ok;
}

static bool preview(PGconn *db, const struct conf *conf)
{
	PGresult *rows = ask_by_periods(db, conf, cli_sql("prune_preview"));
	PGresult *parts =
		rows && conf->retention_journal > 0 ? find(db, conf->retention_journal) : NULL;

	if (rows && PQntuples(rows) > 0)
		cli_table(rows);
	if (parts)
		cli_table(parts);
	PQclear(rows);
	PQclear(parts);
	return rows;
}

static int run_prune(const struct cli *cli)
{
	const struct conf *conf = cli->conf;
	int64_t keep = conf->retention_journal, wait = 60 * 1000;

	if (!cli_duration(cli, "wait", 0, "like 10s or 5m", &wait))
		return CLI_USAGE;
	PGconn *db = cli_open(conf, true);
	bool ok = db && (cli_option(cli, "dry-run")
					? preview(db, conf)
					: lock_prune(db) &&
						  prune_rows(db, conf, cli_option(cli, "now")) &&
						  drop_log_partitions(db, conf) &&
						  (keep == 0 || (delete_counts(db, keep) &&
									prune(db, keep, wait))));
	PQfinish(db);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_prune = {
	.name = "prune",
	.help = "Remove what is older than [retention] says, as the daemon does by itself.",
	.options = {
		{ "now", NULL, "without the pauses that leave room for messages" },
		{ "wait", "TIME", "how long to wait for a partition that is in use, like 10s (default: 1m)" },
		{ "dry-run", NULL, "list what would go, by project and table, and remove nothing" },
	},
	.run = run_prune,
};

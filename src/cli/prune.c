/*
 * cli prune: drops the journal's partitions of which every row is older than [journal] retention.
 * Invariant: no message waits for it. DETACH CONCURRENTLY waits for readers without blocking
 * other sessions; locks are waited for a second at a time. The progress is in the database, and
 * each step is looked up there, so the next prune finishes what one that gave up has left.
 */
#include "cli.h"

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

/* One prune at a time; the lock goes with the connection. */
static bool lock_prune(PGconn *db)
{
	PGresult *res =
		cli_query(db, "SELECT pg_try_advisory_lock(hashtext('interlock prune'))", 0, NULL);
	bool ok = res && *cli_single(res) == 't';

	if (res && !ok)
		cli_error("another prune is running");
	PQclear(res);
	return ok && cli_change(db, "SET lock_timeout = '1s'", 0, NULL) >= 0;
}

static bool preview(PGconn *db, int64_t keep)
{
	PGresult *res = find(db, keep);

	if (res)
		cli_table(res);
	PQclear(res);
	return res;
}

static int run_prune(const struct cli *cli)
{
	int64_t keep = cli->conf->retention_journal, wait = 60 * 1000;

	if (!cli_duration(cli, "wait", 0, "like 10s or 5m", &wait))
		return CLI_USAGE;
	PGconn *db = cli_open(cli->conf, true);
	bool ok = db && (cli_option(cli, "dry-run") ? preview(db, keep)
						    : lock_prune(db) && delete_counts(db, keep) &&
							      prune(db, keep, wait));
	PQfinish(db);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_prune = {
	.name = "prune",
	.help = "Drop journal partitions older than [journal] retention; for a timer.",
	.options = {
		{ "wait", "TIME", "how long to wait for a partition that is in use, like 10s (default: 1m)" },
		{ "dry-run", NULL, "list what would be dropped, without dropping it" },
	},
	.run = run_prune,
};

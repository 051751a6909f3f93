/*
 * cli archive: what `delete` and `import --prune` do first. Invariant: behind the commit that
 * archives a workflow there is no run of it that the next statement would not see, because whatever
 * makes runs has the workflow's advisory lock shared, and here it is held alone. It is waited for
 * 100 ms at a time, because webhooks queue behind the one that waits.
 */
#include "archive.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/stmt.h"

/* For the workflow's lock. */
enum { TRIES = 50 };

static const char LOCK_NOT_AVAILABLE[] = "55P03";

static const char mark_archived[] = "UPDATE workflows SET archived_at = now() "
				    "WHERE project_id = $1 AND id = $2 AND archived_at IS NULL";

static bool ask(PGconn *db, const char *stmt, int n, const char *const *values)
{
	PGresult *res = cli_query(db, stmt_get(stmt)->sql, n, values);

	PQclear(res);
	return res;
}

/* One try; *locked: whether the lock was free in time. False (reported) if something else fails. */
static bool try_mark(PGconn *db, const char *project, const char *workflow, bool *locked)
{
	const char *values[] = { project, workflow };
	bool ok = cli_change(db, "BEGIN", 0, NULL) >= 0 &&
		  cli_change(db, "SET LOCAL lock_timeout = '100ms'", 0, NULL) >= 0;
	PGresult *res = ok ? PQexecParams(db,
				     "SELECT pg_advisory_xact_lock(hashtext('interlock workflow'), "
				     "hashtext($1::uuid::text))",
				     1, NULL, &workflow, NULL, NULL, 0)
			   : NULL;
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	*locked = PQresultStatus(res) == PGRES_TUPLES_OK;
	if (res && !*locked && (!state || strcmp(state, LOCK_NOT_AVAILABLE) != 0)) {
		cli_error("%s", PQerrorMessage(db));
		ok = false;
	}
	PQclear(res);
	if (ok && *locked)
		ok = cli_change(db, mark_archived, 2, values) >= 0;
	return ok && cli_change(db, *locked ? "COMMIT" : "ROLLBACK", 0, NULL) >= 0;
}

static bool mark(PGconn *db, const char *project, const char *workflow)
{
	bool ok = true, locked = false;

	for (int i = 0; ok && !locked && i < TRIES; i++) {
		if (i > 0)
			usleep(100 * 1000);
		ok = try_mark(db, project, workflow, &locked);
	}
	if (ok && !locked)
		cli_error("workflow %s: a long transaction, perhaps an application's, is making "
			  "runs of "
			  "it; try again",
			workflow);
	return ok && locked;
}

/* The column as an array of PostgreSQL; with `fixed` this value for each row instead. */
static void add_array(struct buf *out, const PGresult *rows, int col, const char *fixed)
{
	for (int i = 0; i < PQntuples(rows); i++)
		buf_addf(out, "%c%s", i > 0 ? ',' : '{', fixed ?: PQgetvalue(rows, i, col));
	buf_addc(out, '}');
}

/* Locks in the usual order: the claims' advisory lock, the work orders, everything else. */
static bool cancel(PGconn *db, const char *project, const PGresult *rows, int64_t *cancelled)
{
	struct buf projects = { 0 }, orders = { 0 };

	add_array(&projects, rows, 0, project);
	add_array(&orders, rows, 1, NULL);
	const char *locked[] = { projects.p, orders.p };
	bool ok = cli_change(db, "BEGIN", 0, NULL) >= 0 && ask(db, "claims_lock", 0, NULL) &&
		  ask(db, "lock", 2, locked);
	for (int i = 0; ok && i < PQntuples(rows); i++) {
		const char *run[] = { project, PQgetvalue(rows, i, 0) };
		PGresult *res = cli_query(db, stmt_get("cancel")->sql, 2, run);

		ok = res;
		*cancelled += res && *cli_value(res, 0, "cancelled") == 't';
		PQclear(res);
	}
	ok = ok && ask(db, "settle", 2, locked) && cli_change(db, "COMMIT", 0, NULL) >= 0;
	buf_free(&projects);
	buf_free(&orders);
	return ok;
}

bool archive_workflow(PGconn *db, const char *project, const char *workflow, int64_t *cancelled)
{
	const char *values[] = { project, workflow };
	bool ok = mark(db, project, workflow), more = true;

	while (ok && more) {
		PGresult *rows = cli_query(db, cli_sql("archive_waiting"), 2, values);

		more = rows && PQntuples(rows) > 0;
		ok = rows && (!more || cancel(db, project, rows, cancelled));
		PQclear(rows);
	}
	return ok;
}

bool archive_confirm(const struct cli *cli, const char *question)
{
	char answer[8] = "";

	if (cli_option(cli, "yes"))
		return true;
	if (!isatty(STDIN_FILENO)) {
		cli_error("%s: nothing was done: stdin is not a terminal, so give --yes",
			cli->command->name);
		return false;
	}
	printf("%s Type yes to go on: ", question);
	fflush(stdout);
	if (fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0)
		return true;
	cli_error("%s: nothing was done", cli->command->name);
	return false;
}

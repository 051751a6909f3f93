/*
 * cli cancel: cancels a run that is not claimed. Locks in the usual order: the claims' advisory
 * lock, the work order, everything else.
 */
#include "cli.h"

#include <stdlib.h>

#include "core/stmt.h"

/* The run's work order, as the array that lock and settle take; NULL (reported) if that fails. */
static char *order_of(PGconn *db, const char *project, const char *run)
{
	const char *values[] = { project, run };
	PGresult *res = cli_query(db,
		"SELECT '{' || work_order_id || '}' FROM runs WHERE project_id = $1 AND id = $2", 2,
		values);
	const char *found = res ? cli_single(res) : NULL;
	char *order = found ? xstrdup(found) : NULL;

	PQclear(res);
	return order;
}

static bool ask(PGconn *db, const char *stmt, int n, const char *const *values)
{
	PGresult *res = cli_query(db, stmt_get(stmt)->sql, n, values);

	PQclear(res);
	return res;
}

/* False (reported) if it could not be cancelled. */
static bool cancel(PGconn *db, const char *project, const char *run)
{
	const char *ids[] = { project, run };
	PGresult *res = cli_query(db, stmt_get("cancel")->sql, 2, ids);
	bool cancelled = res && *cli_value(res, 0, "cancelled") == 't';

	if (res && !cancelled)
		cli_error("run %s is %s: only an available run can be cancelled", run,
			cli_value(res, 0, "state"));
	PQclear(res);
	return cancelled;
}

static int run_cancel(const struct cli *cli)
{
	const char *run = cli->operand;
	char *project = NULL, *order = NULL, *projects = NULL;

	if (!cli_is_id("RUN", run))
		return CLI_USAGE;
	PGconn *db = cli_open(cli->conf, false);
	bool ok = db && (project = cli_project_of(db, run)) != NULL &&
		  (order = order_of(db, project, run)) != NULL;
	if (ok) {
		projects = xasprintf("{%s}", project);
		const char *orders[] = { projects, order };
		ok = cli_change(db, "BEGIN", 0, NULL) >= 0 && ask(db, "claims_lock", 0, NULL) &&
		     ask(db, "lock", 2, orders) && cancel(db, project, run) &&
		     ask(db, "settle", 2, orders) && cli_change(db, "COMMIT", 0, NULL) >= 0;
	}
	PQfinish(db);
	free(project);
	free(order);
	free(projects);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_cancel = {
	.name = "cancel",
	.operand = "RUN",
	.help = "Cancel a run that has not been claimed.",
	.run = run_cancel,
};

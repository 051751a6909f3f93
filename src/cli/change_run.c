/*
 * cli change_run: changes a run by one of the daemon's statements. Invariant: locks are taken in
 * the usual order, the claims' advisory lock, the work order, everything else, so that no message
 * and no other command waits in a circle.
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

PGresult *cli_change_run(PGconn *db, const char *stmt, bool waiting, const char *project,
	const char *run, int n, const char *const *values)
{
	char *order = order_of(db, project, run), *projects = xasprintf("{%s}", project);
	const char *orders[] = { projects, order };
	PGresult *res = NULL;
	bool ok = order && cli_change(db, "BEGIN", 0, NULL) >= 0 &&
		  (!waiting || ask(db, "claims_lock", 0, NULL)) && ask(db, "lock", 2, orders) &&
		  (res = cli_query(db, stmt_get(stmt)->sql, n, values)) != NULL &&
		  ask(db, "settle", 2, orders) && cli_change(db, "COMMIT", 0, NULL) >= 0;

	free(order);
	free(projects);
	if (ok)
		return res;
	PQclear(res);
	return NULL;
}

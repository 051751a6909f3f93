/*
 * cli cancel: cancels a run that is not claimed.
 */
#include "cli.h"

#include <stdlib.h>

static int run_cancel(const struct cli *cli)
{
	const char *run = cli->operand;
	char *project = NULL;

	if (!cli_is_id("RUN", run))
		return CLI_USAGE;
	PGconn *db = cli_open(cli->conf, false);
	PGresult *res = NULL;
	if (db && (project = cli_project_of(db, run)) != NULL)
		res = cli_change_run(
			db, "cancel", true, project, run, 2, (const char *const[]){ project, run });
	bool ok = res && *cli_value(res, 0, "cancelled") == 't';
	if (res && !ok)
		cli_error("run %s is %s: only an available run can be cancelled", run,
			cli_value(res, 0, "state"));
	PQclear(res);
	PQfinish(db);
	free(project);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_cancel = {
	.name = "cancel",
	.operand = "RUN",
	.help = "Cancel a run that has not been claimed.",
	.run = run_cancel,
};

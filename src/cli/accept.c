/*
 * cli accept, discard: an operator decides about late results of lost runs that were kept: of one
 * run, or of all lost runs that fit. Each run is decided in a transaction of its own, behind the
 * lock of its work order; what is decided already stays so.
 */
#include "cli.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "sql_columns.h"

static const char *const states[] = { "lost", NULL };

struct decision {
	PGconn *db;
	bool accept;
	char *by;
	int done, undone;
};

/* Who decides: the login name; behind sudo that of the caller. */
static char *operator_name(void)
{
	/* cppcheck-suppress getpwuidCalled ; the command has one thread */
	const struct passwd *user = getpwuid(getuid());
	const char *caller = getuid() == 0 ? getenv("SUDO_USER") : NULL;

	if (caller && *caller)
		return xstrdup(caller);
	return user ? xstrdup(user->pw_name) : xasprintf("user %u", getuid());
}

/* What a verdict means for the operator. */
static bool report(const struct decision *d, const char *run, const PGresult *res)
{
	const char *verdict = PQgetvalue(res, 0, LATE_DECIDE_OUT_VERDICT);
	const char *state = PQgetvalue(res, 0, LATE_DECIDE_OUT_STATE);
	const char *decided = PQgetvalue(res, 0, LATE_DECIDE_OUT_DECIDED);
	const char *by = PQgetvalue(res, 0, LATE_DECIDE_OUT_DECIDED_BY);
	const char *at = PQgetvalue(res, 0, LATE_DECIDE_OUT_DECIDED_AT);

	if (strcmp(verdict, "accepted") == 0 && d->accept)
		printf("run %s was lost and is %s now\n", run,
			PQgetvalue(res, 0, LATE_DECIDE_OUT_NEW_STATE));
	else if (strcmp(verdict, "accepted") == 0)
		printf("run %s stays lost: its late result is discarded\n", run);
	else if (strcmp(verdict, "repeated") == 0)
		printf("run %s is %s: its late result was %sed by %s at %s already\n", run, state,
			decided, by, at);
	else if (strcmp(verdict, "decided") == 0)
		cli_error(
			"run %s: its late result was %sed by %s at %s; to execute the work again: "
			"interlock retry %s",
			run, decided, by, at, run);
	else if (strcmp(verdict, "not_lost") == 0)
		cli_error("run %s is %s: only a lost run has a late result to %s", run, state,
			d->accept ? "accept" : "discard");
	else if (strcmp(verdict, "not_kept") == 0)
		cli_error("run %s: its late result was not kept; see [journal] max_message", run);
	else
		cli_error("run %s is lost, and its worker has reported no result since", run);
	return strcmp(verdict, "accepted") == 0 || strcmp(verdict, "repeated") == 0;
}

static bool decide(struct decision *d, const char *project, const char *run)
{
	const char *values[LATE_DECIDE_IN_COUNT] = {
		[LATE_DECIDE_IN_ACCEPT] = d->accept ? "t" : "f",
		[LATE_DECIDE_IN_PROJECT_ID] = project,
		[LATE_DECIDE_IN_RUN_ID] = run,
		[LATE_DECIDE_IN_BY] = d->by,
	};
	PGresult *res = cli_change_run(
		d->db, "late_decide", false, project, run, LATE_DECIDE_IN_COUNT, values);
	bool ok = res && report(d, run, res);

	*(ok ? &d->done : &d->undone) += 1;
	PQclear(res);
	return res;
}

static bool decide_one(struct decision *d, const char *run)
{
	char *project = cli_project_of(d->db, run);
	bool ok = project && decide(d, project, run) && d->undone == 0;

	free(project);
	return ok;
}

static bool decide_all(struct decision *d, const PGresult *runs)
{
	for (int i = 0; i < PQntuples(runs); i++)
		if (!decide(d, cli_value(runs, i, "project_id"), cli_value(runs, i, "id")))
			return false;
	printf("%d late results %s, %d not\n", d->done, d->accept ? "accepted" : "discarded",
		d->undone);
	return d->undone == 0;
}

static bool decide_found(struct decision *d, const struct cli *cli, int64_t since)
{
	const char *name = cli_option(cli, "workflow");
	char back[24], *workflow = name ? cli_workflow(d->db, name) : NULL;
	const char *values[] = { back, workflow, cli_option(cli, "project") };
	PGresult *runs = NULL;

	snprintf(back, sizeof(back), "%jd", (intmax_t)since);
	if (!name || workflow)
		runs = cli_query(d->db, cli_sql("late_results"), countof(values), values);
	int n = runs ? PQntuples(runs) : 0;
	bool ok = runs;
	if (ok && n == 0)
		printf("no lost run has a late result about which nothing is decided\n");
	else if (ok)
		ok = (cli_option(cli, "yes") || cli_confirm("%s the late results of %d lost runs?",
							d->accept ? "Accept" : "Discard", n)) &&
		     decide_all(d, runs);
	PQclear(runs);
	free(workflow);
	return ok;
}

/* One run, or --state lost: never all lost runs because the operand was forgotten. */
static bool options_are_valid(const struct cli *cli, int64_t *since)
{
	const char *state = cli_option(cli, "state");
	bool filters = state || cli_option(cli, "since") || cli_option(cli, "workflow") ||
		       cli_option(cli, "project");

	if (cli->operand ? filters : !state) {
		cli_error("%s takes either RUN, or --state lost and what narrows it down; see "
			  "interlock %s --help",
			cli->command->name, cli->command->name);
		return false;
	}
	return cli_is_id("RUN", cli->operand) && cli_is_word(cli, "state", states) &&
	       cli_is_id("--project", cli_option(cli, "project")) &&
	       cli_duration(cli, "since", 1, "like 2h or 1d", since);
}

static int decide_late(const struct cli *cli, bool accept)
{
	struct decision d = { .accept = accept };
	int64_t since = 86400 * 1000;

	if (!options_are_valid(cli, &since))
		return CLI_USAGE;
	d.db = cli_open(cli->conf, false);
	d.by = operator_name();
	bool ok = d.db &&
		  (cli->operand ? decide_one(&d, cli->operand) : decide_found(&d, cli, since));
	PQfinish(d.db);
	free(d.by);
	return ok ? CLI_OK : CLI_FAILED;
}

static int run_accept(const struct cli *cli)
{
	return decide_late(cli, true);
}

static int run_discard(const struct cli *cli)
{
	return decide_late(cli, false);
}

/* clang-format off */
#define OPTIONS { \
	{ "state", "STATE", "lost: all lost runs with a late result, in place of RUN" }, \
	{ "since", "TIME", "of these, the runs lost in the last TIME, like 2h (default: 1d)" }, \
	{ "workflow", "WORKFLOW", "of these, the runs of this workflow (id or name)" }, \
	{ "project", "ID", "of these, the runs of this project" }, \
	{ "yes", NULL, "do not ask" }, \
}
/* clang-format on */

const struct cli_command cli_accept = {
	.name = "accept",
	.operand = "[RUN]",
	.help = "Give a lost run the result that its worker reported late.",
	.options = OPTIONS,
	.run = run_accept,
};

const struct cli_command cli_discard = {
	.name = "discard",
	.operand = "[RUN]",
	.help = "Dismiss the late result of a lost run, which stays lost.",
	.options = OPTIONS,
	.run = run_discard,
};

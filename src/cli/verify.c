/*
 * cli verify: compares the runs with the journal and with their log lines. One statement for each
 * project, so that a project is seen at one moment; nothing is locked.
 */
#include "cli.h"

#include <stdlib.h>

struct verify {
	PGconn *db;
	bool json;
	int left; /* how many more differences may be shown */
	int64_t runs, uncovered, differences;
};

/* The first row of verify.sql has the counts. */
static int64_t count(const PGresult *res, const char *column)
{
	return strtoll(cli_value(res, 0, column), NULL, 10);
}

static void show(const struct verify *v, const char *project, const char *run, const char *what)
{
	if (v->json)
		printf("{\"project_id\":\"%s\",\"run_id\":\"%s\",\"difference\":\"%s\"}\n", project,
			run, what);
	else
		printf("%s  %s\n", run, what);
}

static bool verify_project(struct verify *v, const char *project)
{
	char limit[12];

	snprintf(limit, sizeof(limit), "%d", v->left);
	PGresult *res =
		cli_query(v->db, cli_sql("verify"), 2, (const char *const[]){ project, limit });
	if (!res)
		return false;
	v->runs += count(res, "runs");
	v->uncovered += count(res, "uncovered");
	v->differences += count(res, "differences");
	for (int i = 1; i < PQntuples(res); i++, v->left--)
		show(v, project, cli_value(res, i, "run_id"), cli_value(res, i, "difference"));
	PQclear(res);
	return true;
}

static bool verify_all(struct verify *v, const char *project)
{
	PGresult *res = cli_query(v->db, cli_sql("verify_projects"), 1, &project);
	int n = res ? PQntuples(res) : 0;
	bool ok = res;

	if (ok && project && n == 0) {
		cli_error("no project %s", project);
		ok = false;
	}
	for (int i = 0; ok && i < n; i++) {
		cli_progress("projects", i, n);
		ok = verify_project(v, cli_value(res, i, "id"));
	}
	if (ok)
		cli_progress("projects", n, n);
	PQclear(res);
	return ok;
}

static int run_verify(const struct cli *cli)
{
	const char *project = cli_option(cli, "project");
	struct verify v = { .json = cli_option(cli, "json") };

	if (!cli_number(cli, "limit", 0, 1000000000, 100, &v.left) ||
		!cli_is_id("--project", project))
		return CLI_USAGE;
	v.db = cli_open(cli->conf, false);
	bool ok = v.db && cli_change(v.db, "SET jit = off", 0, NULL) >= 0 &&
		  cli_change(v.db, "SET work_mem = '64MB'", 0, NULL) >= 0 &&
		  verify_all(&v, project);
	PQfinish(v.db);
	if (!ok)
		return CLI_FAILED;
	printf(v.json ? "{\"runs\":%jd,\"not_covered\":%jd,\"differences\":%jd}\n"
		      : "%jd runs, %jd not covered by the journal, %jd differences\n",
		(intmax_t)v.runs, (intmax_t)v.uncovered, (intmax_t)v.differences);
	return v.differences == 0 ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_verify = {
	.name = "verify",
	.help = "Compare every run with its journal and log lines; exit with 1 if they differ.",
	.options = {
		{ "project", "ID", "only the runs of this project" },
		{ "limit", "N", "show at most N differences (default: 100)" },
		{ "json", NULL, "print one JSON object per line, the counts last" },
	},
	.run = run_verify,
};

/*
 * cli runs, run: show runs. A view is a query whose rows are printed as a table
 * or, by the server itself, as JSON: both show the same columns.
 */
#include "cli.h"

#include <stdlib.h>

/* Columns of type numeric are seconds (cli_table). */
static const char newest[] =
	"SELECT r.id, w.name AS workflow, r.state, r.worker_name AS worker, "
	"	extract(epoch FROM now() - r.inserted_at) AS age, "
	"	extract(epoch FROM coalesce(r.finished_at, now()) - r.started_at) AS duration, "
	"	r.error_type "
	"FROM runs r JOIN workflows w ON w.project_id = r.project_id AND w.id = r.workflow_id "
	"WHERE ($1::text IS NULL OR r.state = $1) AND ($2::uuid IS NULL OR r.project_id = $2) "
	"ORDER BY r.seq DESC LIMIT $3::int";

static const char *const states[] = { "available", "claimed", "started", "success", "failed",
	"crashed", "cancelled", "killed", "exception", "lost", NULL };

enum limit { UNLIMITED, CHARS, LINES };

/* The views of one run: $1 the project, $2 the run, $3 the limit, if there is one. */
static const struct view {
	const char *name, *query; /* NULL: cli_explain's */
	bool one;                 /* a record, not a list */
	enum limit limit;
} views[] = {
	{ "run",
		"SELECT r.id, r.project_id, r.work_order_id, o.state AS work_order_state, "
		"	r.workflow_id, w.name AS workflow, s.lock_version AS version, r.state, "
		"	r.queue, CASE r.priority WHEN 0 THEN 'immediate' ELSE 'normal' END AS "
		"priority, "
		"	r.worker_name AS worker, r.claim_epoch, r.revision, r.requeues, "
		"r.inserted_at, "
		"	r.claimed_at, r.joined_at, r.started_at, r.deadline_at, "
		"r.lease_expires_at, "
		"	r.active_at, r.finished_at, r.finalized_at, r.lost_at, r.lost_from, "
		"r.error_type, r.error_message, "
		"	r.dataclip_id AS input_id, "
		"	left(i.body, $3) || repeat('…', (length(i.body) > $3)::int) AS input, "
		"	r.final_dataclip_id AS output_id, "
		"	left(f.body, $3) || repeat('…', (length(f.body) > $3)::int) AS output "
		"FROM runs r "
		"JOIN work_orders o ON o.project_id = r.project_id AND o.id = r.work_order_id "
		"JOIN workflows w ON w.project_id = r.project_id AND w.id = r.workflow_id "
		"JOIN snapshots s ON s.project_id = r.project_id AND s.id = r.snapshot_id "
		"LEFT JOIN dataclips i ON i.project_id = r.project_id AND i.id = r.dataclip_id "
		"LEFT JOIN dataclips f ON f.project_id = r.project_id AND f.id = "
		"r.final_dataclip_id "
		"WHERE r.project_id = $1 AND r.id = $2",
		.one = true, .limit = CHARS },
	{ "why", .one = true },
	{ "steps",
		"SELECT s.id, j.name AS job, s.exit_reason, s.error_type, s.started_at, "
		"	extract(epoch FROM s.finished_at - s.started_at) AS duration, "
		"	left(d.body, $3) || repeat('…', (length(d.body) > $3)::int) AS output "
		"FROM steps s "
		"LEFT JOIN snapshot_jobs j ON j.project_id = s.project_id "
		"	AND j.snapshot_id = s.snapshot_id AND j.job_id = s.job_id "
		"LEFT JOIN dataclips d ON d.project_id = s.project_id "
		"	AND d.id = s.output_dataclip_id "
		"WHERE s.project_id = $1 AND s.run_id = $2 ORDER BY s.inserted_at, s.id",
		.limit = CHARS },
	{ "logs",
		"SELECT \"timestamp\", level, source, message FROM ("
		"	SELECT * FROM log_lines WHERE project_id = $1 AND run_id = $2 "
		"	ORDER BY id DESC LIMIT $3) x ORDER BY id",
		.limit = LINES },
	{ "journal",
		"SELECT at, revision, event, from_state, to_state, outcome, code, policy, worker, "
		"	epoch, coordinator, extract(epoch FROM lateness) AS lateness, step_id "
		"FROM transitions WHERE project_id = $1 AND run_id = $2 ORDER BY id" },
};

static int run_runs(const struct cli *cli)
{
	const char *project = cli_option(cli, "project");
	char count[12];
	int limit;

	if (!cli_number(cli, "limit", 1, 100000, 20, &limit) || !cli_is_id("--project", project) ||
		!cli_is_word(cli, "state", states))
		return CLI_USAGE;
	snprintf(count, sizeof(count), "%d", limit);
	const char *values[] = { cli_option(cli, "state"), project, count };
	return cli_list(cli, newest, 3, values);
}

static bool show_all(PGconn *db, const char *project, const char *run, const char *lines, bool json)
{
	const char *values[] = { project, run, NULL };

	for (const struct view *v = views; v < views + countof(views); v++) {
		values[2] = v->limit == LINES ? lines : json ? "2147483647" : "60";
		if (json)
			printf("%s\"%s\":", v == views ? "{" : ",\n", v->name);
		else if (v > views)
			printf("\n%s\n", v->name);
		if (v->query == NULL && !json ? !cli_explain(db, values)
					      : !cli_show(db, v->query ? v->query : cli_sql("why"),
							v->one, json, v->limit ? 3 : 2, values))
			return false;
	}
	if (json)
		printf("}\n");
	return true;
}

/* One snapshot for all views, so that they are of one moment. */
static int run_run(const struct cli *cli)
{
	const char *run = cli->operand;
	char *project = NULL, lines[12];
	int count;

	if (!cli_number(cli, "logs", 0, 1000000, 20, &count) || !cli_is_id("RUN", run))
		return CLI_USAGE;
	snprintf(lines, sizeof(lines), "%d", count);
	PGconn *db = cli_open(cli->conf, false);
	bool ok = db &&
		  cli_change(db, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, NULL) >= 0 &&
		  (project = cli_project_of(db, run)) != NULL &&
		  show_all(db, project, run, lines, cli_option(cli, "json"));
	PQfinish(db);
	free(project);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_runs = {
	.name = "runs",
	.help = "List runs, the newest first.",
	.options = {
		{ "state", "STATE", "only runs in this state" },
		{ "project", "ID", "only runs of this project" },
		{ "limit", "N", "at most N rows (default: 20)" },
		{ "json", NULL, "print a JSON array" },
	},
	.run = run_runs,
};

const struct cli_command cli_run = {
	.name = "run",
	.operand = "RUN",
	.help = "Show a run with its steps, the end of its log and its journal.",
	.options = {
		{ "logs", "N", "the last N lines of its log (default: 20)" },
		{ "json", NULL, "print a JSON object, with complete inputs and outputs" },
	},
	.run = run_run,
};

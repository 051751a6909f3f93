/*
 * cli import: stores a project's file, whole or not at all: one transaction, in which the row of
 * the project is locked first, so that two imports of it follow each other. Workflows and
 * credentials that the file does not name are left alone, or with --prune such workflows archived.
 * A snapshot is never changed: a workflow that differs from its newest one gets another.
 * Credentials are encrypted before they leave this process.
 */
#include "import.h"

#include <stdlib.h>

#include "archive.h"
#include "json.h"

/* Workflows in a file from which on progress is shown. */
enum { MANY = 10 };

/* Errors in the file that only the database can find, as sentences. $1 the project, $2 its
 * workflows, $3 the ids of its credentials. */
static const char conflicts[] =
	"WITH w AS (SELECT i - 1 AS i, v FROM json_array_elements($2::json) WITH ORDINALITY w(v, "
	"i)), "
	"t AS (SELECT w.i AS w, t.i - 1 AS i, w.v->>'id' AS workflow, t.v FROM w "
	"	CROSS JOIN json_array_elements(w.v->'triggers') WITH ORDINALITY t(v, i)), "
	"j AS (SELECT w.i AS w, j.i - 1 AS i, j.v->>'credential_id' AS credential FROM w "
	"	CROSS JOIN json_array_elements(w.v->'jobs') WITH ORDINALITY j(v, i)) "
	"SELECT format('workflows[%s].id: belongs to another project', w.i) AS conflict "
	"FROM w JOIN workflows f ON f.id = (w.v->>'id')::uuid AND f.project_id <> $1::uuid "
	"UNION ALL "
	"SELECT format('workflows[%s].triggers[%s].id: belongs to another workflow', t.w, t.i) "
	"FROM t WHERE EXISTS (SELECT FROM triggers g WHERE g.id = (t.v->>'id')::uuid "
	"		AND (g.project_id, g.workflow_id) <> ($1::uuid, t.workflow::uuid)) "
	"	OR EXISTS (SELECT FROM t o WHERE o.v->>'id' = t.v->>'id' AND o.w < t.w) "
	"UNION ALL "
	"SELECT format('workflows[%s].jobs[%s].credential_id: no such credential', j.w, j.i) "
	"FROM j WHERE credential IS NOT NULL AND credential <> ALL ($3::text[]) "
	"	AND NOT EXISTS (SELECT FROM credentials c "
	"		WHERE c.project_id = $1::uuid AND c.id = j.credential::uuid)";

static const char put_project[] =
	"INSERT INTO projects AS p (id, name, concurrency, save_dataclips, options) "
	"VALUES ($1, $2, $3, coalesce($4::boolean, true), coalesce($5::jsonb, '{}')) "
	"ON CONFLICT (id) DO UPDATE SET name = excluded.name, concurrency = excluded.concurrency, "
	"	save_dataclips = excluded.save_dataclips, options = excluded.options "
	"WHERE (p.name, p.concurrency, p.save_dataclips, p.options) IS DISTINCT FROM "
	"	(excluded.name, excluded.concurrency, excluded.save_dataclips, excluded.options)";

static const char put_workflow[] =
	"INSERT INTO workflows AS w (project_id, id, name, concurrency) VALUES ($1, $2, $3, $4) "
	"ON CONFLICT (project_id, id) DO UPDATE "
	"SET name = excluded.name, concurrency = excluded.concurrency, archived_at = NULL "
	"WHERE (w.name, w.concurrency, w.archived_at) IS DISTINCT FROM "
	"	(excluded.name, excluded.concurrency, NULL)";

/* $3 the name, $4 the body. No row comes back when the newest snapshot is already so. */
static const char put_snapshot[] =
	"WITH old AS ("
	"	SELECT w.lock_version + 1 AS version, s.name = $3 AND s.body = $4 AS same "
	"	FROM workflows w "
	"	LEFT JOIN snapshots s ON s.project_id = w.project_id AND s.id = w.snapshot_id "
	"	WHERE w.project_id = $1 AND w.id = $2"
	"), new AS ("
	"	INSERT INTO snapshots (project_id, id, workflow_id, lock_version, name, body) "
	"	SELECT $1, interlock_uuid(), $2, version, $3, $4 FROM old WHERE same IS NOT TRUE "
	"	RETURNING id, lock_version"
	"), jobs AS ("
	"	INSERT INTO snapshot_jobs (project_id, snapshot_id, job_id, name, credential_id) "
	"	SELECT $1, new.id, j.id, j.name, j.credential_id FROM new CROSS JOIN "
	"		json_to_recordset($4::json->'jobs') AS j(id uuid, name text, credential_id "
	"uuid)"
	") "
	"UPDATE workflows w SET snapshot_id = new.id, lock_version = new.lock_version FROM new "
	"WHERE w.project_id = $1 AND w.id = $2 RETURNING new.lock_version";

/* $3 the triggers, which keep the keys that they have if none are given. How many rows differ comes
 * back. */
static const char put_triggers[] =
	"WITH given AS ("
	"	SELECT * FROM json_to_recordset($3::json) "
	"		AS t(id uuid, type text, enabled boolean, keys text[], runnable boolean)"
	"), gone AS ("
	"	DELETE FROM triggers t WHERE t.project_id = $1 AND t.workflow_id = $2 "
	"		AND NOT EXISTS (SELECT FROM given g WHERE g.id = t.id) RETURNING 1"
	"), put AS ("
	"	INSERT INTO triggers AS t (project_id, workflow_id, id, type, enabled, runnable, "
	"keys) "
	"	SELECT $1, $2, id, type, coalesce(enabled, true), runnable, coalesce(keys, '{}') "
	"	FROM given "
	"	ON CONFLICT (project_id, id) DO UPDATE SET type = excluded.type, "
	"		enabled = excluded.enabled, runnable = excluded.runnable, "
	"		keys = coalesce((SELECT g.keys FROM given g WHERE g.id = t.id), t.keys) "
	"	WHERE (t.type, t.enabled, t.runnable, t.keys) IS DISTINCT FROM "
	"		(excluded.type, excluded.enabled, excluded.runnable, "
	"		coalesce((SELECT g.keys FROM given g WHERE g.id = t.id), t.keys)) "
	"	RETURNING 1"
	") "
	"SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM put)";

/* The member as a parameter: NULL when it is missing. The caller frees it. */
static char *dump(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return !value || json_is_null(value) ? NULL
					     : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* The body of a snapshot: what the plan shows, always in this order, every key spelled out. */
static char *plan_cache_body(const json_t *workflow)
{
	json_t *triggers = json_array(), *jobs = json_array(), *edges = json_array(), *x;
	size_t i;

	json_array_foreach(json_object_get(workflow, "triggers"), i, x) json_array_append_new(
		triggers, json_pack("{s:O,s:O}", "id", json_object_get(x, "id"), "type",
				  json_object_get(x, "type")));
	json_array_foreach(json_object_get(workflow, "jobs"), i, x) json_array_append_new(
		jobs, json_pack("{s:O,s:O,s:O,s:O,s:O?}", "id", json_object_get(x, "id"), "name",
			      json_object_get(x, "name"), "adaptor", json_object_get(x, "adaptor"),
			      "body", json_object_get(x, "body"), "credential_id",
			      json_object_get(x, "credential_id")));
	json_array_foreach(json_object_get(workflow, "edges"), i, x) json_array_append_new(
		edges, json_pack("{s:O,s:O?,s:O?,s:O,s:s,s:b}", "id", json_object_get(x, "id"),
			       "source_trigger_id", json_object_get(x, "source_trigger_id"),
			       "source_job_id", json_object_get(x, "source_job_id"),
			       "target_job_id", json_object_get(x, "target_job_id"), "condition",
			       field_text(x, "condition") ?: "always", "enabled",
			       !json_is_false(json_object_get(x, "enabled"))));
	x = json_pack("{s:o,s:o,s:o}", "triggers", triggers, "jobs", jobs, "edges", edges);
	char *text = json_dumps(x, JSON_COMPACT);
	json_decref(x);
	return text;
}

static bool store_project(struct import *im)
{
	const json_t *root = im->project->root;
	char *concurrency = dump(root, "concurrency"), *options = dump(root, "options");
	char *save = dump(root, "save_dataclips");
	const char *values[] = { im->id, field_text(root, "name"), concurrency, save, options };
	int changed = cli_change(im->db, put_project, 5, values);

	buf_addf(&im->done, "project %s %s\n", im->id, changed ? "stored" : "unchanged");
	free(concurrency);
	free(options);
	free(save);
	return changed >= 0;
}

/* The ids of the credentials as an array of PostgreSQL. */
static void add_credential_ids(const json_t *root, struct buf *out)
{
	json_t *x;
	size_t i;

	buf_addc(out, '{');
	json_array_foreach(json_object_get(root, "credentials"), i, x)
		buf_addf(out, "%s%s", i ? "," : "", field_text(x, "id"));
	buf_addc(out, '}');
}

static bool report_conflicts(const struct import *im)
{
	char *workflows = dump(im->project->root, "workflows");
	struct buf ids = { 0 };

	add_credential_ids(im->project->root, &ids);
	const char *values[] = { im->id, workflows, ids.p };
	PGresult *res = cli_query(im->db, conflicts, 3, values);
	int found = res ? PQntuples(res) : 1;
	for (int i = 0; res && i < found; i++)
		cli_error("%s", cli_value(res, i, "conflict"));
	PQclear(res);
	free(workflows);
	buf_free(&ids);
	return found == 0;
}

/* How many rows changed, -1 if it fails. */
static int store_triggers(struct import *im, json_t *workflow)
{
	json_t *trigger;
	size_t i;

	json_array_foreach(json_object_get(workflow, "triggers"), i, trigger)
		json_object_set_new(trigger, "runnable",
			json_boolean(project_runnable(workflow, field_text(trigger, "id"))));
	char *triggers = dump(workflow, "triggers");
	const char *values[] = { im->id, field_text(workflow, "id"), triggers };
	PGresult *res = cli_query(im->db, put_triggers, 3, values);
	int changed = res ? atoi(cli_single(res)) : -1;
	PQclear(res);
	free(triggers);
	return changed;
}

static bool store_workflow(struct import *im, json_t *workflow)
{
	char *concurrency = dump(workflow, "concurrency"), *body = plan_cache_body(workflow);
	const char *values[] = { im->id, field_text(workflow, "id"), field_text(workflow, "name"),
		concurrency };
	int row = cli_change(im->db, put_workflow, 4, values), triggers = -1;
	PGresult *snapshot = NULL;

	if (row >= 0)
		triggers = store_triggers(im, workflow);
	values[3] = body;
	if (triggers >= 0)
		snapshot = cli_query(im->db, put_snapshot, 4, values);
	if (snapshot && PQntuples(snapshot) == 1)
		buf_addf(&im->done, "workflow %s stored as version %s\n", values[1],
			cli_single(snapshot));
	else
		buf_addf(&im->done, "workflow %s %s\n", values[1],
			row + triggers ? "stored" : "unchanged");
	free(concurrency);
	free(body);
	PQclear(snapshot);
	return snapshot;
}

static bool store(struct import *im)
{
	json_t *workflow;
	size_t i;

	if (cli_change(im->db, "BEGIN", 0, NULL) < 0 || !store_project(im) ||
		!report_conflicts(im) || !import_credentials(im))
		return false;
	const json_t *workflows = json_object_get(im->project->root, "workflows");
	json_array_foreach(workflows, i, workflow)
	{
		if (!store_workflow(im, workflow))
			return false;
		if (json_array_size(workflows) >= MANY)
			cli_progress(
				"workflows", (int64_t)i + 1, (int64_t)json_array_size(workflows));
	}
	return cli_change(im->db, "COMMIT", 0, NULL) >= 0;
}

/* What is not in the file, said before it is done. *absent: NULL if there is nothing. */
static bool confirm_prune(const struct cli *cli, const struct import *im, PGresult **absent)
{
	char *workflows = dump(im->project->root, "workflows");
	const char *values[] = { im->id, workflows };
	PGresult *rows = cli_query(im->db, cli_sql("import_absent"), 2, values);
	int n = rows ? PQntuples(rows) : 0;

	for (int i = 0; i < n; i++)
		printf("workflow %s (%s) is not in the file: will be archived\n",
			cli_value(rows, i, "id"), cli_value(rows, i, "name"));
	free(workflows);
	*absent = rows;
	return rows &&
	       (n == 0 || archive_confirm(cli, "Archived workflows get no new runs, and waiting "
					       "ones are cancelled."));
}

/* After the import, since each workflow is archived in a transaction of its own. */
static bool archive(struct import *im, const PGresult *absent)
{
	bool ok = true;

	for (int i = 0; ok && i < PQntuples(absent); i++) {
		const char *id = cli_value(absent, i, "id");
		int64_t cancelled = 0;

		ok = archive_workflow(im->db, im->id, id, &cancelled);
		if (ok)
			printf("workflow %s archived, %jd waiting runs cancelled\n", id,
				(intmax_t)cancelled);
	}
	return ok;
}

static int run_import(const struct cli *cli)
{
	struct project project;
	struct import im = { .conf = cli->conf, .project = &project };
	PGresult *absent = NULL;
	bool ok = project_load(cli->operand, &project) &&
		  (im.id = field_text(project.root, "id")) != NULL &&
		  (im.db = cli_open(cli->conf, true)) != NULL &&
		  (!cli_option(cli, "prune") || confirm_prune(cli, &im, &absent)) && store(&im);

	if (ok)
		fputs(im.done.p, stdout);
	if (ok && absent)
		ok = archive(&im, absent);
	PQclear(absent);
	PQfinish(im.db);
	buf_free(&im.done);
	project_free(&project);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_import = {
	.name = "import",
	.operand = "FILE.json",
	.help = "Store a project with its workflows and credentials; - for stdin.",
	.options = {
		{ "prune", NULL, "archive the project's workflows that are not in the file, and cancel their waiting runs" },
		{ "yes", NULL, "do not ask" },
	},
	.run = run_import,
};

/*
 * cli project: reads and checks a project's file. The members of each object are in the tables of
 * fields; references between the objects of a workflow are checked by code. A project that
 * project_load accepts needs no further checks but those in the database.
 */
#include "project.h"

#include <stdlib.h>

#include "cli.h"
#include "json.h"
#include "core/keyring.h"
#include "lib/jscan.h"

/* For the sake of check_cycles, whose memory and time grow faster than they. */
enum { MAX_JOBS = 1000 };

static const struct field option_fields[] = {
	{ "run_timeout_ms", COUNT, .optional = true },
	{ "run_memory_limit_mb", COUNT, .optional = true },
	{ "payload_limit_mb", COUNT, .optional = true },
	{ "log_payload_limit_mb", COUNT, .optional = true },
	{ "job_log_level", NAME, .optional = true },
	{ NULL },
};

static const struct field credential_fields[] = {
	{ "id", ID },
	{ "name", NAME },
	{ "body", OBJECT, .optional = true },
	{ NULL },
};

static const struct field job_fields[] = {
	{ "id", ID },
	{ "name", NAME },
	{ "adaptor", NAME },
	{ "body", TEXT },
	{ "credential_id", ID, .optional = true },
	{ NULL },
};

static const struct field trigger_fields[] = {
	{ "id", ID },
	{ "type", NAME },
	{ "enabled", SWITCH, .optional = true },
	{ "keys", DIGESTS, .optional = true },
	{ NULL },
};

static const struct field edge_fields[] = {
	{ "id", ID },
	{ "source_trigger_id", ID, .optional = true },
	{ "source_job_id", ID, .optional = true },
	{ "target_job_id", ID },
	{ "condition", NAME, .optional = true },
	{ "enabled", SWITCH, .optional = true },
	{ NULL },
};

static const struct field workflow_fields[] = {
	{ "id", ID },
	{ "name", NAME },
	{ "concurrency", COUNT, .optional = true },
	{ "jobs", LIST, .of = job_fields },
	{ "triggers", LIST, .of = trigger_fields },
	{ "edges", LIST, .of = edge_fields },
	{ NULL },
};

static const struct field project_fields[] = {
	{ "id", ID },
	{ "name", NAME },
	{ "concurrency", COUNT, .optional = true },
	{ "save_dataclips", SWITCH, .optional = true },
	{ "options", OBJECT, .optional = true, .of = option_fields },
	{ "credentials", LIST, .optional = true, .of = credential_fields },
	{ "workflows", LIST, .of = workflow_fields },
	{ NULL },
};

/* The reference must name a member of the list, if it is there. */
static void check_reference(struct check *c, const json_t *object, const char *name,
	const json_t *list, const char *noun)
{
	const char *id = field_text(object, name);
	size_t up = check_enter(c, name);

	if (id && field_find(list, id) == json_array_size(list))
		check_mistake(c, "no such %s", noun);
	check_leave(c, up);
}

/* leads[x * n + y]: the edges so far lead from job x to job y. An edge whose target leads to its
 * source closes a cycle, of which a run would never come to an end. */
static void check_cycles(struct check *c, const json_t *jobs, const json_t *edges)
{
	size_t n = json_array_size(jobs), i;
	bool *leads = xcalloc(n * n, sizeof(*leads));
	json_t *edge;

	json_array_foreach(edges, i, edge)
	{
		size_t from = field_find(jobs, field_text(edge, "source_job_id"));
		size_t to = field_find(jobs, field_text(edge, "target_job_id"));
		if (from == n || to == n)
			continue;
		if (from == to || leads[to * n + from]) {
			size_t up = check_enter_nth(c, "edges", i);
			check_mistake(c, "closes a cycle");
			check_leave(c, up);
			continue;
		}
		for (size_t x = 0; x < n; x++)
			for (size_t y = 0; (x == from || leads[x * n + from]) && y < n; y++)
				leads[x * n + y] |= y == to || leads[to * n + y];
	}
	free(leads);
}

bool project_runnable(const json_t *workflow, const char *trigger_id)
{
	json_t *edge;
	size_t i;

	json_array_foreach(json_object_get(workflow, "edges"), i, edge)
	{
		const char *source = field_text(edge, "source_trigger_id");
		if (source && trigger_id && strcmp(source, trigger_id) == 0 &&
			!json_is_false(json_object_get(edge, "enabled")))
			return true;
	}
	return false;
}

static void check_edge(struct check *c, const json_t *workflow, const json_t *edge)
{
	const json_t *jobs = json_object_get(workflow, "jobs");

	if (!field_text(edge, "source_trigger_id") == !field_text(edge, "source_job_id"))
		check_mistake(c, "needs either source_trigger_id or source_job_id");
	check_reference(
		c, edge, "source_trigger_id", json_object_get(workflow, "triggers"), "trigger");
	check_reference(c, edge, "source_job_id", jobs, "job");
	check_reference(c, edge, "target_job_id", jobs, "job");
}

static void check_trigger(struct check *c, const json_t *trigger)
{
	const char *type = field_text(trigger, "type");
	size_t up = check_enter(c, "type");

	if (type && strcmp(type, "webhook") != 0 && strcmp(type, "cron") != 0 &&
		strcmp(type, "kafka") != 0)
		check_mistake(c, "must be webhook, cron or kafka");
	check_leave(c, up);
}

static void check_workflow(struct check *c, const json_t *workflow)
{
	const json_t *edges = json_object_get(workflow, "edges");
	const json_t *jobs = json_object_get(workflow, "jobs");
	json_t *member;
	size_t i, up;

	json_array_foreach(json_object_get(workflow, "triggers"), i, member)
	{
		up = check_enter_nth(c, "triggers", i);
		check_trigger(c, member);
		check_leave(c, up);
	}
	json_array_foreach(edges, i, member)
	{
		up = check_enter_nth(c, "edges", i);
		check_edge(c, workflow, member);
		check_leave(c, up);
	}
	if (json_array_size(jobs) <= MAX_JOBS)
		check_cycles(c, jobs, edges);
	else
		check_mistake(c, "has more than %d jobs", MAX_JOBS);
}

/* What is allowed and yet rarely meant. */
static void warn_workflow(struct check *c, const json_t *workflow)
{
	bool runnable = false;
	json_t *member;
	size_t i;

	json_array_foreach(json_object_get(workflow, "jobs"), i, member)
	{
		const char *version = strrchr(field_text(member, "adaptor"), '@');
		if (version && (strcmp(version, "@latest") == 0 || strcmp(version, "@next") == 0))
			cli_error("warning: %s.jobs[%zu].adaptor: every run may get another "
				  "version, because it is @%s",
				c->path.p, i, version + 1);
	}
	json_array_foreach(json_object_get(workflow, "triggers"), i, member) runnable |=
		project_runnable(workflow, field_text(member, "id"));
	if (!runnable)
		cli_error("warning: %s: no trigger has an enabled edge, so nothing can be enqueued",
			c->path.p);
}

/* The bytes of the file: they are stored and delivered as they are. */
static void check_credential_sizes(struct check *c, struct slice project)
{
	struct slice cursor = jscan_member(project, "credentials"), name, credential;

	for (size_t i = 0; jscan_next(&cursor, &name, &credential); i++) {
		size_t up = check_enter_nth(c, "credentials", i);
		struct slice body = jscan_member(credential, "body");

		check_enter(c, "body");
		if (body.n > CREDENTIAL_MAX)
			check_mistake(c, "has %zu bytes, but a credential may have at most %d",
				body.n, CREDENTIAL_MAX);
		check_leave(c, up);
	}
}

static bool check_project(json_t *root, struct slice bytes)
{
	struct check c = { 0 };
	json_t *workflow;
	size_t i;

	check_object(&c, root, project_fields);
	check_credential_sizes(&c, bytes);
	json_array_foreach(json_object_get(root, "workflows"), i, workflow)
	{
		size_t up = check_enter_nth(&c, "workflows", i);
		check_workflow(&c, workflow);
		if (c.mistakes == 0)
			warn_workflow(&c, workflow);
		check_leave(&c, up);
	}
	buf_free(&c.path);
	return c.mistakes == 0;
}

bool project_load(const char *path, struct project *project)
{
	json_error_t e;

	*project = (struct project){ 0 };
	if (!cli_read(path, &project->text))
		return false;
	project->root = json_loadb(project->text.p, project->text.n, JSON_REJECT_DUPLICATES, &e);
	/* Without the nearby text that jansson quotes: it may be a secret. */
	if (!project->root)
		cli_error("%s:%d:%d: %.*s", path, e.line, e.column,
			(int)((strstr(e.text, " near ") ?: e.text + strlen(e.text)) - e.text),
			e.text);
	return project->root &&
	       jscan_document((struct slice){ project->text.p, project->text.n },
		       &project->bytes) == JSCAN_OK &&
	       check_project(project->root, project->bytes);
}

void project_free(struct project *project)
{
	json_decref(project->root);
	buf_free(&project->text);
}

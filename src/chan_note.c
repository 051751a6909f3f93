/*
 * What the operator's log says of a worker's messages: everything that became of one other than
 * what its worker asked for, with the run, the worker, the event and the code as fields, so that
 * the log can be read by run. What went well is said to whoever looks for it (debug).
 */
#include "chan_private.h"

static const struct outcome {
	const char *code;
	enum log_level level;
	const char *says;
} outcomes[] = {
	{ "ok", LOG_LEVEL_DEBUG, "ok" },
	{ "yielded", LOG_LEVEL_NOTICE, "the run was lost; its worker's word counts" },
	{ "revived", LOG_LEVEL_NOTICE, "the run was lost and goes on: its worker is back" },
	{ "too_late", LOG_LEVEL_NOTICE, "too late: the run stays lost" },
	{ "observed", LOG_LEVEL_NOTICE, "against the rules, and not refused in mode observe" },
	{ "implicit", LOG_LEVEL_NOTICE, "the step's start had not been heard" },
	{ "replayed", LOG_LEVEL_INFO, "heard before, changes nothing" },
	{ "stale", LOG_LEVEL_INFO, "the claim is over: gets an empty plan" },
	{ "closed", LOG_LEVEL_NOTICE, "not answered: the socket is closed" },
	{ "unmatched_topic", LOG_LEVEL_INFO, "refused: no such channel is open" },
	{ NULL, LOG_LEVEL_NOTICE, "refused" },
};

/* The run's id as its topic says it; false if the topic is another or says none. */
static bool run_of(const struct req *req, char run[UUID_TEXT])
{
	struct slice topic = req->frame.topic;
	const size_t n = strlen("run:");
	struct uuid id;

	if (topic.n < n || memcmp(topic.p, "run:", n) != 0 ||
		!uuid_parse((struct slice){ topic.p + n, topic.n - n }, &id))
		return false;
	uuid_format(&id, run);
	return true;
}

static void say(enum log_level level, const struct req *req, const char *code, const char *what,
	const char *more)
{
	char run[UUID_TEXT] = "", event[64];

	if (level > log_threshold)
		return;
	run_of(req, run);
	snprintf(event, sizeof(event), "%.*s", (int)req->frame.event.n, req->frame.event.p ?: "");
	log_about(level,
		&(struct log_about){
			run, req->conn != NULL ? req->conn->worker_id : NULL, event, code },
		"%s: %s%s", event, what, more);
}

static const struct outcome *find(const char *code)
{
	const struct outcome *o = outcomes;

	while (o->code != NULL && strcmp(o->code, code) != 0)
		o++;
	return o;
}

void req_note(const struct req *req, const char *code)
{
	const struct outcome *o = find(code);

	say(o->level, req, code, o->says, "");
}

void req_note_verdict(const struct req *req, const char *verdict)
{
	if (find(verdict)->code != NULL)
		req_note(req, verdict);
}

void req_note_warning(const struct req *req, const char *field, const char *message)
{
	char what[128];

	snprintf(what, sizeof(what), "ok, but %s ", field);
	say(LOG_LEVEL_INFO, req, "warned", what, message);
}

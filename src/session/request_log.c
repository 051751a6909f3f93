/*
 * What is logged of a worker's messages: every outcome other than what its worker asked for, with
 * the run, the worker, the event and the code as fields, so that the log can be read by run. What
 * succeeded is logged at level debug.
 */
#include "request_log.h"

#include "request_private.h"

#include "lib/logger.h"
#include "session/session.h"

static const struct outcome {
	const char *code;
	enum log_level level;
	const char *says;
} outcomes[] = {
	{ "ok", LOG_LEVEL_DEBUG, "ok" },
	{ "yielded", LOG_LEVEL_NOTICE, "the run was lost; the worker's report is applied" },
	{ "revived", LOG_LEVEL_NOTICE, "the run was lost and is revived: its worker joined again" },
	{ "too_late", LOG_LEVEL_NOTICE, "too late: the run stays lost" },
	{ "observed", LOG_LEVEL_NOTICE, "invalid, applied or ignored in mode observe" },
	{ "implicit", LOG_LEVEL_NOTICE,
		"the step's start was missing: started and completed in one" },
	{ "replayed", LOG_LEVEL_INFO, "repeated message, nothing changed" },
	{ "stale", LOG_LEVEL_INFO, "the claim is superseded: gets an empty plan" },
	{ "closed", LOG_LEVEL_NOTICE, "no reply: the socket is closed" },
	{ "unmatched_topic", LOG_LEVEL_INFO, "refused: the topic is not joined" },
	{ NULL, LOG_LEVEL_NOTICE, "refused" },
};

/* The run's id as its topic says it; false if the topic is another or says none. */
static bool run_of(const struct request *request, char run[UUID_TEXT])
{
	struct slice topic = request_frame(request)->topic;
	const size_t n = strlen("run:");
	struct uuid id;

	if (topic.n < n || memcmp(topic.p, "run:", n) != 0 ||
		!uuid_parse((struct slice){ topic.p + n, topic.n - n }, &id))
		return false;
	uuid_format(&id, run);
	return true;
}

static void say(enum log_level level, const struct request *request, const char *code,
	const char *what, const char *more)
{
	struct session *session = request_session(request);
	struct slice name = request_frame(request)->event;
	char run[UUID_TEXT] = "", event[64];

	if (level > log_threshold)
		return;
	run_of(request, run);
	snprintf(event, sizeof(event), "%.*s", (int)name.n, name.p ?: "");
	log_about(level,
		&(struct log_about){
			run, session != NULL ? session_worker(session) : NULL, event, code },
		"%s: %s%s", event, what, more);
}

static const struct outcome *find(const char *code)
{
	const struct outcome *o = outcomes;

	while (o->code != NULL && strcmp(o->code, code) != 0)
		o++;
	return o;
}

void request_log_outcome(const struct request *request, const char *code)
{
	const struct outcome *o = find(code);

	say(o->level, request, code, o->says, "");
}

void request_log_verdict(const struct request *request, const char *verdict)
{
	if (find(verdict)->code != NULL)
		request_log_outcome(request, verdict);
}

void request_log_warning(const struct request *request, const char *field, const char *message)
{
	char what[128];

	snprintf(what, sizeof(what), "ok, but %s ", field);
	say(LOG_LEVEL_INFO, request, "warned", what, message);
}

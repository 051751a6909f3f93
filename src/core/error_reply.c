/*
 * error_reply: the error replies, in tables by the code that a statement returns, and by the
 * constraint that it violates.
 */
#include "core/error_reply.h"

/* The first matching row counts; event NULL matches every event. */
static const struct {
	const char *code, *event, *field, *message;
} replies[] = {
	{ "not_claimed", NULL, "state",
		"cannot mark run %s that has not been claimed by a worker" },
	{ "already_started", NULL, "state", "already started" },
	{ "already_final", NULL, "state", "already in completed state" },
	{ "superseded", "phx_join", NULL, "superseded" },
	{ "superseded", NULL, "state", "claimed by another worker" },
	{ "conflict", NULL, "step_id", "has already been taken" },
	{ "taken", NULL, "output_dataclip_id", "has already been taken" },
	{ "not_found", "fetch:credential", "id", "Credential not found!" },
	{ "not_found", NULL, "step_id", "not found" },
	{ "does_not_exist", "run:complete", "final_dataclip_id", "does not exist" },
	{ "does_not_exist", NULL, "job_id", "does not exist" },
	{ "unauthorized", NULL, NULL, "unauthorized" },
	{ "unmatched_topic", NULL, NULL, "unmatched topic" },
	{ "unknown_event", NULL, NULL, "unknown event" },
	{ "too_large", NULL, NULL, "message is too large" },
	{ "unavailable", NULL, NULL, "the database is not available" },
	{ "busy", NULL, NULL, "could not be stored" },
	{ "invalid", "fetch:credential", "id", "This field can't be blank." },
	{ "invalid", NULL, NULL, "payload must be an object" },
};

/* Events whose error the worker shows to the user: only Lightning's "errors" shape. */
static const char *const errors_only_events[] = { "fetch:credential" };

static const struct {
	const char *constraint;
	struct error_reply error_reply;
} constraints[] = {
	{ "runs_final_dataclip_id_fkey",
		{ "final_dataclip_id", "does not exist", "does_not_exist", NULL, NULL } },
	{ "steps_output_dataclip_id_fkey",
		{ "output_dataclip_id", "does not exist", "does_not_exist", NULL, NULL } },
};

bool error_reply_of_code(const char *event, const char *code, struct error_reply *out)
{
	for (size_t i = 0; i < countof(replies); i++) {
		if (strcmp(replies[i].code, code) != 0)
			continue;
		if (replies[i].event != NULL && strcmp(replies[i].event, event) != 0)
			continue;
		*out = (struct error_reply){
			.field = replies[i].field,
			.message = replies[i].message,
			.code = replies[i].code,
		};
		return true;
	}
	return false;
}

bool error_reply_of_constraint(const char *constraint, struct error_reply *out)
{
	for (size_t i = 0; i < countof(constraints); i++) {
		if (strcmp(constraints[i].constraint, constraint) == 0) {
			*out = constraints[i].error_reply;
			return true;
		}
	}
	return false;
}

static bool is_errors_only(const char *event)
{
	for (size_t i = 0; i < countof(errors_only_events); i++)
		if (strcmp(errors_only_events[i], event) == 0)
			return true;
	return false;
}

static void add_error(struct buf *out, const char *field, const char *message)
{
	buf_add_json(out, slice_of(field != NULL ? field : "base"));
	buf_adds(out, ":[");
	buf_add_json(out, slice_of(message));
	buf_addc(out, ']');
}

/* Both of Lightning's shapes: of a changeset, and of a handler. */
void error_reply_render(struct buf *out, const char *event, const struct error_reply *r)
{
	char message[128];

	snprintf(message, sizeof(message), r->message, r->target_state);
	buf_addc(out, '{');
	if (!is_errors_only(event)) {
		add_error(out, r->field, message);
		buf_addc(out, ',');
	}
	buf_adds(out, "\"errors\":{");
	add_error(out, r->field, message);
	buf_addc(out, '}');
	if (is_errors_only(event)) {
		buf_addc(out, '}');
		return;
	}
	if (r->field == NULL) { /* the shape of Phoenix' own errors */
		buf_adds(out, ",\"reason\":");
		buf_add_json(out, slice_of(message));
	}
	buf_addf(out, ",\"code\":\"%s\",\"retryable\":%s", r->code,
		strcmp(r->code, "unavailable") == 0 ? "true" : "false");
	if (r->state != NULL) {
		buf_adds(out, ",\"current_state\":");
		buf_add_json(out, slice_of(r->state));
	}
	buf_addc(out, '}');
}

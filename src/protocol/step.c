/*
 * step:start and step:complete. Invariant: the step survives its dataclip; one bad output does not
 * turn a finished run into a lost one.
 */
#include "run_channel.h"
#include "sql_columns.h"

static const char blank[] = "This field can't be blank.";

static const struct field start_fields[] = {
	{ "timestamp", FIELD_TIME, .given = true },
	{ "step_id", FIELD_UUID, .missing = blank, .bad = "is invalid", .code = "invalid" },
	{ "job_id", FIELD_UUID, .missing = blank, .unknown = true },
	{ "input_dataclip_id", FIELD_UUID, .given = true },
	{ "credential_id", FIELD_UUID },
};

static const struct field complete_fields[] = {
	{ "timestamp", FIELD_TIME, .given = true },
	{ "step_id", FIELD_UUID, .missing = blank, .bad = "not found", .code = "not_found" },
	{ "job_id", FIELD_UUID },
	{ "reason", FIELD_TEXT, .missing = blank, .bad = "is invalid", .code = "invalid",
		.scrub = true, .limit = 64 },
	{ "error_type", FIELD_TEXT, .scrub = true },
	{ "error_message", FIELD_TEXT, .scrub = true, .limit = 8192 },
	{ "output_dataclip_id", FIELD_UUID },
};

static void ok_step(struct request *request)
{
	struct uuid id;
	char text[UUID_TEXT], member[64];

	memcpy(id.b, request_values(request)[STEP_START_IN_STEP_ID].p, sizeof(id.b));
	snprintf(member, sizeof(member), "\"step_id\":\"%s\"", uuid_format(&id, text));
	reply_ok_with(request, member);
}

static void reply_start(struct request *request, const struct batch_result *r)
{
	if (reply_if_refused(request, r))
		return;
	run_channel_started(request_channel(request));
	if (PQgetvalue(r->res, r->first, STEP_START_OUT_INPUT_MISSING)[0] == 't')
		reply_add_warning(request, "input_dataclip_id", "does not exist");
	ok_step(request);
}

/* The output's text, if it can be stored: a string that holds JSON. */
static const char *read_output(struct slice raw, struct buf *out)
{
	struct slice document;

	if (jscan_type(raw) <= JSCAN_NULL)
		return "can't be blank";
	if (jscan_type(raw) != JSCAN_STRING || !jscan_decode(raw, out))
		return "cannot be stored";
	if (jscan_document((struct slice){ out->p, out->n }, &document) != JSCAN_OK)
		return "is not valid JSON";
	return NULL;
}

/* Why there is no output, where its worker says it: too large for itself. */
static bool read_output_error(struct request *request)
{
	struct value why = { 0 };
	bool said = field_text(request_member(request, "output_dataclip_error"), &why);
	char text[256];

	said = said && why.n < (int)sizeof(text);
	if (said) {
		request_scrub(request, &why);
		snprintf(text, sizeof(text), "%.*s", why.n, why.p);
		reply_add_warning(request, "output_dataclip", text);
	}
	value_clear(&why);
	return said;
}

static void check_complete(struct request *request)
{
	struct value *rest = bind_common(request), *v = request_values(request);
	const char *why = NULL;

	if (!bind_fields(request, rest))
		return;
	value_bool(&v[STEP_COMPLETE_IN_STORED], false);
	if (run_channel(request_channel(request))->save_dataclips) {
		if (v[STEP_COMPLETE_IN_CLIP_ID].p != NULL)
			why = request_content(request, &v[STEP_COMPLETE_IN_BODY]);
		else if (!read_output_error(request) &&
			 jscan_type(request_member(request, "output_dataclip")) > JSCAN_NULL)
			reply_add_warning(request, "output_dataclip_id", "can't be blank");
		if (why != NULL)
			reply_add_warning(request, "output_dataclip", why);
	}
	request_submit_with_body(request, &v[STEP_COMPLETE_IN_STEP_ID],
		&v[STEP_COMPLETE_IN_CLIP_ID], &v[STEP_COMPLETE_IN_BODY],
		&v[STEP_COMPLETE_IN_STORED], "output_dataclip");
}

static void reply_complete(struct request *request, const struct batch_result *r)
{
	if (!reply_if_refused(request, r))
		ok_step(request);
}

const struct route step_routes[] = {
	{
		.topic = "run:",
		.event = "step:start",
		.stmt = "step_start",
		.locks = true,
		.fields = start_fields,
		.nfields = countof(start_fields),
		.reply = reply_start,
	},
	{
		.topic = "run:",
		.event = "step:complete",
		.stmt = "step_complete",
		.content = "output_dataclip",
		.read_content = read_output,
		.locks = true,
		.accepts_truncated = true,
		.check = check_complete,
		.fields = complete_fields,
		.nfields = countof(complete_fields),
		.reply = reply_complete,
	},
	ROUTES_END,
};

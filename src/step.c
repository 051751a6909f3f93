/*
 * step:start and step:complete. Invariant: the step survives its dataclip; one bad output does not
 * turn a finished run into a lost one.
 */
#include "message.h"

static const char blank[] = "This field can't be blank.";

static const struct field start_fields[] = {
	{ "timestamp", FIELD_TIME, .given = true },
	{ "step_id", FIELD_UUID, .missing = blank, .bad = "is invalid", .code = "invalid" },
	{ "job_id", FIELD_UUID, .missing = blank, .nobody = true },
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

/* The columns behind the common ones of step_start.sql and step_complete.sql. */
enum {
	COL_AT,
	COL_AT_GIVEN,
	COL_STEP,
	COL_JOB,
	COL_REASON,
	COL_ERROR_TYPE,
	COL_MESSAGE,
	COL_CLIP,
	COL_BODY,
	COL_STORED
};
enum { COMMON = 9 };

static void ok_step(struct req *req)
{
	struct uuid id;
	char text[UUID_TEXT], member[64];

	memcpy(id.b, req->item.values[COMMON + COL_STEP].p, sizeof(id.b));
	snprintf(member, sizeof(member), "\"step_id\":\"%s\"", uuid_format(&id, text));
	req_ok_with(req, member);
}

static void reply_start(struct req *req, const struct batch_result *r)
{
	if (req_refused(req, r))
		return;
	if (req->chan != NULL)
		req->chan->begun = true;
	if (PQgetvalue(r->res, r->first, 6)[0] == 't')
		req_warn(req, "input_dataclip_id", "does not exist");
	ok_step(req);
}

/* The output's text, if it can be stored: a string that holds JSON. */
static const char *read_output(struct slice raw, struct buf *out)
{
	struct slice document;

	if (slice_type(raw) <= SLICE_NULL)
		return "can't be blank";
	if (slice_type(raw) != SLICE_STRING || !slice_decode(raw, out))
		return "cannot be stored";
	if (slice_document((struct slice){ out->p, out->n }, &document) != SLICE_OK)
		return "is not valid JSON";
	return NULL;
}

/* Why there is no output, where its worker says it: too large for itself. */
static bool read_output_error(struct req *req)
{
	struct value why = { 0 };
	bool said = field_text(slice_get(req->frame.payload, "output_dataclip_error"), &why);
	char text[256];

	said = said && why.n < (int)sizeof(text);
	if (said) {
		req_scrub(req, &why);
		snprintf(text, sizeof(text), "%.*s", why.n, why.p);
		req_warn(req, "output_dataclip", text);
	}
	value_clear(&why);
	return said;
}

static void check_complete(struct req *req)
{
	struct value *v = req_common(req);
	const char *why = NULL;

	if (!req_fields(req, v))
		return;
	value_bool(&v[COL_STORED], false);
	if (req->chan->save_dataclips) {
		if (v[COL_CLIP].p != NULL)
			why = req_content(req, &v[COL_BODY]);
		else if (!read_output_error(req) &&
			 slice_type(req_member(req, "output_dataclip")) > SLICE_NULL)
			req_warn(req, "output_dataclip_id", "can't be blank");
		if (why != NULL)
			req_warn(req, "output_dataclip", why);
	}
	req_submit_body(
		req, &v[COL_STEP], &v[COL_CLIP], &v[COL_BODY], &v[COL_STORED], "output_dataclip");
}

static void reply_complete(struct req *req, const struct batch_result *r)
{
	if (!req_refused(req, r))
		ok_step(req);
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
		.takes_cut = true,
		.check = check_complete,
		.fields = complete_fields,
		.nfields = countof(complete_fields),
		.reply = reply_complete,
	},
};
const int step_nroutes = countof(step_routes);

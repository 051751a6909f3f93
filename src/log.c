/*
 * run:log and run:batch_logs. Invariants: always `ok` (an error keeps the real worker from ever
 * sending its run:complete), what could not be stored is named, and no secret reaches the table.
 */
#include "message.h"

#include <stdlib.h>

/* A line's text beyond this is cut. */
enum { LINE_MAX_BYTES = 1024 * 1024 };

/* The columns of log_lines.sql. */
enum {
	COL_PROJECT,
	COL_RUN,
	COL_EPOCH,
	COL_CLAIM,
	COL_ID,
	COL_STEP,
	COL_LEVEL,
	COL_SOURCE,
	COL_MESSAGE,
	COL_AT,
	COLUMNS
};

static const char *const levels[] = { "debug", "info", "success", "warn", "error", "always" };

static const char *level_of(struct slice raw)
{
	for (size_t i = 0; i < countof(levels); i++)
		if (slice_type(raw) == SLICE_STRING && slice_spells(raw, levels[i]))
			return levels[i];
	return "info";
}

/* A string's text; where that is not storable, its JSON. */
static void add_text(struct buf *out, struct slice raw)
{
	if (slice_type(raw) == SLICE_STRING) {
		if (slice_decode(raw, out))
			return;
		raw = (struct slice){ raw.p + 1, raw.n - 2 };
	}
	buf_add(out, raw.p, raw.n);
}

/* Strings are joined by spaces, other values stand as JSON. */
static void add_message(struct buf *out, struct slice message)
{
	struct slice cursor = message, key, value;
	const char *space = "";

	if (slice_type(message) != SLICE_ARRAY) {
		add_text(out, message);
		return;
	}
	while (slice_next(&cursor, &key, &value)) {
		buf_adds(out, space);
		add_text(out, value);
		space = " ";
	}
}

static void warn(struct req *req, const char *field, const char *message, const char *cause)
{
	stats_add(stats_seriesf(STATS_LOG_WARNINGS, "cause=\"%s\"", cause), 1);
	req_warn(req, field, message);
}

/* One line; false if it has no message. */
static bool read_line(struct req *req, struct slice line, struct value *v)
{
	const struct chan *chan = req->chan;
	struct slice message = slice_get(line, "message");
	struct buf text = { 0 }, clean = { 0 };
	int64_t at = req->received;
	struct uuid id = uuid_new();

	if (slice_type(message) <= SLICE_NULL)
		return false;
	req_claim(req, v);
	value_uuid(&v[COL_ID], &id);
	if (slice_type(slice_get(line, "step_id")) > SLICE_NULL) {
		if (!field_uuid(slice_get(line, "step_id"), &id))
			id = uuid_new(); /* nobody's */
		value_uuid(&v[COL_STEP], &id);
	}
	value_text(&v[COL_LEVEL], slice_of(level_of(slice_get(line, "level"))));
	if (field_text(slice_get(line, "source"), &v[COL_SOURCE]) && v[COL_SOURCE].n > 255)
		value_clear(&v[COL_SOURCE]);
	req_scrub(req, &v[COL_SOURCE]);
	if (!field_time(slice_get(line, "timestamp"), &at))
		at = req->received;
	value_time(&v[COL_AT], at);
	add_message(&text, message);
	scrub_apply(chan->snapshot->scrub, (struct slice){ text.p, text.n }, &clean);
	buf_free(&text);
	if (clean.n > LINE_MAX_BYTES) {
		clean.n = LINE_MAX_BYTES;
		while (clean.n > 0 && ((unsigned char)clean.p[clean.n] & 0xc0) == 0x80)
			clean.n--;
		warn(req, "message", "is too large and was cut", "too_large");
	}
	value_take(&v[COL_MESSAGE], &clean);
	return true;
}

static void check_log(struct req *req)
{
	req_values(req, 1);
	if (read_line(req, req->frame.payload, req->item.values)) {
		req_submit(req);
		return;
	}
	warn(req, "message", "can't be blank", "blank");
	req_ok_with(req, "");
}

static void check_batch(struct req *req)
{
	struct slice logs = slice_get(req->frame.payload, "logs"), cursor = logs, key, line;
	int n = 0, rows = 0;

	while (slice_type(logs) == SLICE_ARRAY && slice_next(&cursor, &key, &line))
		n++;
	if (n == 0) {
		if (slice_type(logs) != SLICE_ARRAY)
			warn(req, "logs", "is invalid", "blank");
		req_ok_with(req, "");
		return;
	}
	req_values(req, n);
	for (cursor = logs; slice_next(&cursor, &key, &line);)
		rows += read_line(req, line, &req->item.values[rows * COLUMNS]);
	req->item.rows = rows;
	if (rows < n)
		warn(req, "message", "can't be blank", "blank");
	if (rows > 0)
		req_submit(req);
	else
		req_ok_with(req, "");
}

/* Columns of the result: ord, verdict, step_missing; a row for each line. */
static void warn_of_rows(struct req *req, const struct batch_result *r)
{
	bool superseded = false, step_missing = false;

	for (int i = r->first; i < r->first + r->rows; i++) {
		superseded = superseded || PQgetvalue(r->res, i, 1)[0] == 's';
		step_missing = step_missing || PQgetvalue(r->res, i, 2)[0] == 't';
	}
	if (superseded)
		warn(req, "state", "claimed by another worker", "superseded");
	else if (step_missing)
		warn(req, "step_id", "must be associated with the run", "step");
}

static void reply_log(struct req *req, const struct batch_result *r)
{
	struct uuid id;
	char text[UUID_TEXT], member[64];

	warn_of_rows(req, r);
	memcpy(id.b, req->item.values[COL_ID].p, sizeof(id.b));
	snprintf(member, sizeof(member), "\"log_line_id\":\"%s\"", uuid_format(&id, text));
	req_ok_with(req, member);
}

static void reply_batch(struct req *req, const struct batch_result *r)
{
	warn_of_rows(req, r);
	req_ok_with(req, "");
}

static void log_failed(struct req *req, const char *code)
{
	char text[64];

	snprintf(text, sizeof(text), "could not be stored: %s", code);
	warn(req, "message", text, code);
	req_ok_with(req, "");
}

const struct route log_routes[] = {
	{
		.topic = "run:",
		.event = "run:log",
		.stmt = "log_lines",
		.check = check_log,
		.reply = reply_log,
		.failed = log_failed,
	},
	{
		.topic = "run:",
		.event = "run:batch_logs",
		.stmt = "log_lines",
		.check = check_batch,
		.reply = reply_batch,
		.failed = log_failed,
	},
};
const int log_nroutes = countof(log_routes);

/*
 * run:log and run:batch_logs. Invariants: always `ok` (an error keeps the real worker from ever
 * sending its run:complete), what could not be stored is named, and no secret reaches the table.
 * The lines of a message are read and stored in parts, the next one when the one before is
 * committed: however many there are, other messages do not wait long for them.
 */
#include "run_channel.h"

#include "core/plan_cache.h"
#include "lib/metrics.h"
#include "lib/pool.h"
#include "sql_columns.h"

#include <stdlib.h>

enum {
	LINE_MAX_BYTES = 1024 * 1024, /* a line's text beyond this is cut */
	/* Of a longer text so much is read: what is behind the cut may be the beginning of a
	 * secret, which is not recognised without its end. */
	TEXT_ENOUGH = 2 * LINE_MAX_BYTES,
	/* Lines of one message that are looked at; and of these so many, or so many bytes, in one
	 * statement. */
	LINES_MAX = 100000,
	PART_LINES = 1000,
	PART_BYTES = 256 * 1024,
	LINE_MIN_BYTES = sizeof("{\"message\":1}"), /* with a comma */
};

static const char *const levels[] = { "debug", "info", "success", "warn", "error", "always" };

static const char *level_of(struct slice raw)
{
	for (size_t i = 0; i < countof(levels); i++)
		if (jscan_type(raw) == JSCAN_STRING && jscan_equals(raw, levels[i]))
			return levels[i];
	return "info";
}

/* What could not be stored as it came, each said once. */
enum trouble { LOGS, BLANK, TOO_LARGE, TOO_MANY, SUPERSEDED, STEP, TROUBLES };

static const struct {
	const char *field, *message, *cause;
} troubles[TROUBLES] = {
	[LOGS] = { "logs", "is invalid", "blank" },
	[BLANK] = { "message", "can't be blank", "blank" },
	[TOO_LARGE] = { "message", "is too large and was cut", "too_large" },
	[TOO_MANY] = { "logs", "has more than 100000 lines: the others were not stored",
		"too_many" },
	[SUPERSEDED] = { "state", "claimed by another worker", "superseded" },
	[STEP] = { "step_id", "must be associated with the run", "step" },
};

/* A line's. */
enum { MESSAGE, STEP_ID, LEVEL, SOURCE, TIMESTAMP, MEMBERS };

static const char *const members[MEMBERS] = { "message", "step_id", "level", "source",
	"timestamp" };

/* Where we are in the lines of a message: the lines are the members of `rest`. The claim is kept
 * here, for lines that are stored when the channel has gone. */
struct walk {
	struct slice rest;
	int left;       /* lines that may still be looked at */
	uint64_t place; /* of the next line's id, in the order of receipt */
	struct run_claim claim;
	const struct cached_plan *plan;
	int64_t received;
	bool trouble[TROUBLES];
	bool single; /* run:log, whose members these are */
	struct slice raw[MEMBERS];
	/* The next part: rows × LOG_LINES_IN_COUNT, and what they hold. */
	struct value *values;
	int rows;
	size_t bytes;
	/* Of a large message the parts are read beside the loop. */
	struct request *request;
	struct pool_job job;
};

/* A string's text; where that is not storable, its JSON. Not much beyond `enough` bytes in all. */
static void add_text(struct buf *out, struct slice raw, size_t enough)
{
	size_t room = out->n < enough ? enough - out->n : 0;

	if (jscan_type(raw) == JSCAN_STRING) {
		if (slice_decode_some(raw, room, out))
			return;
		raw = (struct slice){ raw.p + 1, raw.n - 2 };
	}
	buf_add(out, raw.p, raw.n < room ? raw.n : room);
}

/* Strings are joined by spaces, other values stand as JSON. */
static void add_message(struct buf *out, struct slice message, size_t enough)
{
	struct slice cursor = message, key, value;
	const char *space = "";

	if (jscan_type(message) != JSCAN_ARRAY) {
		add_text(out, message, enough);
		return;
	}
	while (out->n < enough && jscan_next(&cursor, &key, &value)) {
		buf_adds(out, space);
		add_text(out, value, enough);
		space = " ";
	}
}

/* The message without secrets, and not too long. */
static void read_message(struct walk *walk, struct slice message, struct value *v)
{
	struct buf text = { 0 }, clean = { 0 };
	size_t limit = LINE_MAX_BYTES;

	add_message(&text, message, TEXT_ENOUGH);
	scrubber_apply(walk->plan->scrub, (struct slice){ text.p, text.n }, &clean);
	/* What is not read to its end may end in a part of a secret, shorter than what is dropped.
	 */
	if (text.n >= TEXT_ENOUGH && clean.n < TEXT_ENOUGH)
		limit = clean.n > LINE_MAX_BYTES ? clean.n - LINE_MAX_BYTES : 0;
	buf_free(&text);
	if (clean.n > limit) {
		clean.n = limit;
		while (clean.n > 0 && ((unsigned char)clean.p[clean.n] & 0xc0) == 0x80)
			clean.n--;
		walk->trouble[TOO_LARGE] = true;
	}
	value_take(v, &clean);
}

static void scrubber_value(const struct walk *walk, struct value *v)
{
	struct buf clean = { 0 };

	if (v->p != NULL &&
		scrubber_apply(walk->plan->scrub, (struct slice){ v->p, (size_t)v->n }, &clean))
		value_take(v, &clean);
	buf_free(&clean);
}

/* One line; false if it has no message. */
static bool read_line(struct walk *walk, const struct slice raw[MEMBERS], struct value *v)
{
	int64_t at = walk->received;
	struct uuid id;

	if (jscan_type(raw[MESSAGE]) <= JSCAN_NULL) {
		walk->trouble[BLANK] = true;
		return false;
	}
	run_claim_bind(&walk->claim, v);
	id = uuid_at(walk->place++);
	value_uuid(&v[LOG_LINES_IN_ID], &id);
	if (jscan_type(raw[STEP_ID]) > JSCAN_NULL) {
		if (!field_uuid(raw[STEP_ID], &id))
			id = uuid_at(walk->place); /* no step has it */
		value_uuid(&v[LOG_LINES_IN_STEP_ID], &id);
	}
	value_text(&v[LOG_LINES_IN_LEVEL], slice_of(level_of(raw[LEVEL])));
	if (field_text(raw[SOURCE], &v[LOG_LINES_IN_SOURCE]) && v[LOG_LINES_IN_SOURCE].n > 255)
		value_clear(&v[LOG_LINES_IN_SOURCE]);
	scrubber_value(walk, &v[LOG_LINES_IN_SOURCE]);
	if (!field_time(raw[TIMESTAMP], &at))
		at = walk->received;
	value_time(&v[LOG_LINES_IN_AT], at);
	read_message(walk, raw[MESSAGE], &v[LOG_LINES_IN_MESSAGE]);
	return true;
}

/* How many of the next lines make a part. */
static int measure(const struct walk *walk)
{
	struct slice cursor = walk->rest, key, line;
	size_t bytes = 0;
	int n = 0;

	while (n < PART_LINES && n < walk->left && bytes < PART_BYTES &&
		jscan_next(&cursor, &key, &line)) {
		bytes += line.n < TEXT_ENOUGH ? line.n : TEXT_ENOUGH;
		n++;
	}
	return n;
}

static void drop_part(struct walk *walk)
{
	for (int i = 0; walk->values != NULL && i < walk->rows * LOG_LINES_IN_COUNT; i++)
		value_clear(&walk->values[i]);
	free(walk->values);
	walk->values = NULL;
	walk->rows = 0;
}

/* Reads the next lines that have messages; no rows if there are none any more. Touches nothing but
 * the walk. */
static void read_part(struct walk *walk)
{
	struct slice key, line, raw[MEMBERS];
	int n;

	if (walk->single) {
		walk->values = xcalloc(LOG_LINES_IN_COUNT, sizeof(struct value));
		walk->rows = read_line(walk, walk->raw, walk->values);
		walk->bytes = (size_t)walk->values[LOG_LINES_IN_MESSAGE].n;
		return;
	}
	walk->rows = 0;
	while (walk->rows == 0 && (n = measure(walk)) > 0) {
		free(walk->values);
		walk->values = xcalloc((size_t)n, LOG_LINES_IN_COUNT * sizeof(struct value));
		walk->bytes = (size_t)n * LOG_LINES_IN_COUNT * sizeof(struct value);
		for (int i = 0; i < n && jscan_next(&walk->rest, &key, &line); i++) {
			struct value *v = &walk->values[walk->rows * LOG_LINES_IN_COUNT];

			slice_pick(line, members, MEMBERS, raw);
			if (read_line(walk, raw, v)) {
				walk->bytes += (size_t)v[LOG_LINES_IN_MESSAGE].n;
				walk->rows++;
			}
		}
		walk->left -= n;
	}
	if (walk->rows == 0 && walk->left == 0)
		walk->trouble[TOO_MANY] = jscan_next(&walk->rest, &key, &line);
}

static void end_walk(void *data);

static struct walk *walk_new(struct request *request, struct slice lines)
{
	const struct run_channel *run = run_channel(request_channel(request));
	struct walk *walk = xcalloc(1, sizeof(*walk));
	size_t most;

	walk->rest = lines;
	walk->left = LINES_MAX;
	most = lines.n / LINE_MIN_BYTES + 1;
	walk->place = uuid_reserve(most < LINES_MAX ? most : LINES_MAX);
	walk->claim = run->claim;
	walk->plan = plan_cache_keep(run->plan);
	walk->received = request_received(request);
	walk->request = request;
	request_set_data(request, walk, end_walk);
	return walk;
}

static void end_walk(void *data)
{
	struct walk *walk = data;

	plan_cache_release(walk->plan);
	drop_part(walk);
	free(walk);
}

static void warn(struct request *request, const char *field, const char *message, const char *cause)
{
	metrics_add(metrics_seriesf(METRIC_LOG_WARNINGS, "cause=\"%s\"", cause), 1);
	reply_add_warning(request, field, message);
}

static void answer(struct request *request, const char *member)
{
	const struct walk *walk = request_data(request);

	for (int i = 0; i < TROUBLES; i++)
		if (walk->trouble[i])
			warn(request, troubles[i].field, troubles[i].message, troubles[i].cause);
	reply_ok_with(request, member);
}

static void end(struct request *request)
{
	if (request_has_client(request))
		answer(request, "");
	else
		request_client_gone(request);
}

/* Hands the part that was read to the item; false if there is none. */
static bool take_part(struct walk *walk)
{
	struct request *request = walk->request;

	if (walk->rows == 0)
		return false;
	request_take_values(request, walk->values, walk->rows);
	request_hold(request, walk->bytes);
	walk->values = NULL;
	walk->rows = 0;
	return true;
}

static void on_work(struct pool_job *job)
{
	read_part(container_of(job, struct walk, job));
}

static void on_read(struct pool_job *job)
{
	struct walk *walk = container_of(job, struct walk, job);

	if (take_part(walk)) {
		request_release(walk->request);
	} else {
		request_withdraw(walk->request);
		end(walk->request);
	}
}

/* Reads the next part and submits it; false if there was none. While a part of a large message is
 * being read, the message keeps its place among those of its run. */
static bool next_part(struct walk *walk)
{
	struct request *request = walk->request;

	if (request_is_large(request)) {
		request_take_values(request, NULL, 0);
		request_submit_waiting(request);
		walk->job.work = on_work;
		walk->job.done = on_read;
		pool_start(request_context(request)->loop, &walk->job);
		return true;
	}
	read_part(walk);
	if (!take_part(walk))
		return false;
	request_submit(request);
	return true;
}

static void check_log(struct request *request)
{
	struct walk *walk = walk_new(request, (struct slice){ 0 });

	walk->single = true;
	request_pick(request, members, MEMBERS, walk->raw);
	if (!next_part(walk))
		end(request);
}

static void check_batch(struct request *request)
{
	struct slice logs = request_member(request, "logs");
	bool array = jscan_type(logs) == JSCAN_ARRAY;
	struct walk *walk = walk_new(request, array ? logs : (struct slice){ 0 });

	walk->trouble[LOGS] = !array;
	if (!next_part(walk))
		end(request);
}

/* The result has a row for each line. */
static void read_verdicts(struct request *request, const struct batch_result *r)
{
	struct walk *walk = request_data(request);

	for (int i = r->first; i < r->first + r->rows; i++) {
		if (PQgetvalue(r->res, i, LOG_LINES_OUT_VERDICT)[0] == 's')
			walk->trouble[SUPERSEDED] = true;
		else if (PQgetvalue(r->res, i, LOG_LINES_OUT_STEP_MISSING)[0] == 't')
			walk->trouble[STEP] = true;
	}
}

static bool more_lines(struct request *request, const struct batch_result *r)
{
	struct walk *walk = request_data(request);

	read_verdicts(request, r);
	return !walk->trouble[SUPERSEDED] && next_part(walk);
}

static void reply_log(struct request *request, const struct batch_result *r)
{
	struct uuid id;
	char text[UUID_TEXT], member[64];

	read_verdicts(request, r);
	if (!uuid_parse(slice_of(PQgetvalue(r->res, r->first, LOG_LINES_OUT_MOVED)), &id))
		memcpy(id.b, request_values(request)[LOG_LINES_IN_ID].p, sizeof(id.b));
	snprintf(member, sizeof(member), "\"log_line_id\":\"%s\"", uuid_format(&id, text));
	answer(request, member);
}

static void reply_batch(struct request *request, const struct batch_result *r)
{
	(void)r;
	answer(request, "");
}

static void log_failed(struct request *request, const char *code)
{
	char text[64];

	snprintf(text, sizeof(text), "could not be stored: %s", code);
	warn(request, "message", text, code);
	reply_ok_with(request, "");
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
		.more = more_lines,
		.reply = reply_batch,
		.failed = log_failed,
	},
	ROUTES_END,
};

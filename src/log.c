/*
 * run:log and run:batch_logs. Invariants: always `ok` (an error keeps the real worker from ever
 * sending its run:complete), what could not be stored is named, and no secret reaches the table.
 * The lines of a message are read and stored in parts, the next one when the one before is
 * committed: however many there are, nobody waits long for them.
 */
#include "message.h"

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
	struct uuid project_id, run_id;
	struct uuid claim;
	int epoch;
	const struct snapshot *snapshot;
	int64_t received;
	bool trouble[TROUBLES];
	bool single; /* run:log, whose members these are */
	struct slice raw[MEMBERS];
	/* The next part: rows × COLUMNS, and what they hold. */
	struct value *values;
	int rows;
	size_t bytes;
	/* Of a large message the parts are read beside the loop. */
	struct req *req;
	struct pool_job job;
};

/* A string's text; where that is not storable, its JSON. Not much beyond `enough` bytes in all. */
static void add_text(struct buf *out, struct slice raw, size_t enough)
{
	size_t room = out->n < enough ? enough - out->n : 0;

	if (slice_type(raw) == SLICE_STRING) {
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

	if (slice_type(message) != SLICE_ARRAY) {
		add_text(out, message, enough);
		return;
	}
	while (out->n < enough && slice_next(&cursor, &key, &value)) {
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
	scrub_apply(walk->snapshot->scrub, (struct slice){ text.p, text.n }, &clean);
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

static void scrub_value(const struct walk *walk, struct value *v)
{
	struct buf clean = { 0 };

	if (v->p != NULL &&
		scrub_apply(walk->snapshot->scrub, (struct slice){ v->p, (size_t)v->n }, &clean))
		value_take(v, &clean);
	buf_free(&clean);
}

/* One line; false if it has no message. */
static bool read_line(struct walk *walk, const struct slice raw[MEMBERS], struct value *v)
{
	int64_t at = walk->received;
	struct uuid id;

	if (slice_type(raw[MESSAGE]) <= SLICE_NULL) {
		walk->trouble[BLANK] = true;
		return false;
	}
	value_uuid(&v[COL_PROJECT], &walk->project_id);
	value_uuid(&v[COL_RUN], &walk->run_id);
	value_int(&v[COL_EPOCH], walk->epoch);
	value_uuid(&v[COL_CLAIM], &walk->claim);
	id = uuid_at(walk->place++);
	value_uuid(&v[COL_ID], &id);
	if (slice_type(raw[STEP_ID]) > SLICE_NULL) {
		if (!field_uuid(raw[STEP_ID], &id))
			id = uuid_at(walk->place); /* nobody's */
		value_uuid(&v[COL_STEP], &id);
	}
	value_text(&v[COL_LEVEL], slice_of(level_of(raw[LEVEL])));
	if (field_text(raw[SOURCE], &v[COL_SOURCE]) && v[COL_SOURCE].n > 255)
		value_clear(&v[COL_SOURCE]);
	scrub_value(walk, &v[COL_SOURCE]);
	if (!field_time(raw[TIMESTAMP], &at))
		at = walk->received;
	value_time(&v[COL_AT], at);
	read_message(walk, raw[MESSAGE], &v[COL_MESSAGE]);
	return true;
}

/* How many of the next lines make a part. */
static int measure(const struct walk *walk)
{
	struct slice cursor = walk->rest, key, line;
	size_t bytes = 0;
	int n = 0;

	while (n < PART_LINES && n < walk->left && bytes < PART_BYTES &&
		slice_next(&cursor, &key, &line)) {
		bytes += line.n < TEXT_ENOUGH ? line.n : TEXT_ENOUGH;
		n++;
	}
	return n;
}

static void drop_part(struct walk *walk)
{
	for (int i = 0; walk->values != NULL && i < walk->rows * COLUMNS; i++)
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
		walk->values = xcalloc(COLUMNS, sizeof(struct value));
		walk->rows = read_line(walk, walk->raw, walk->values);
		walk->bytes = (size_t)walk->values[COL_MESSAGE].n;
		return;
	}
	walk->rows = 0;
	while (walk->rows == 0 && (n = measure(walk)) > 0) {
		free(walk->values);
		walk->values = xcalloc((size_t)n, COLUMNS * sizeof(struct value));
		walk->bytes = (size_t)n * COLUMNS * sizeof(struct value);
		for (int i = 0; i < n && slice_next(&walk->rest, &key, &line); i++) {
			struct value *v = &walk->values[walk->rows * COLUMNS];

			slice_pick(line, members, MEMBERS, raw);
			if (read_line(walk, raw, v)) {
				walk->bytes += (size_t)v[COL_MESSAGE].n;
				walk->rows++;
			}
		}
		walk->left -= n;
	}
	if (walk->rows == 0 && walk->left == 0)
		walk->trouble[TOO_MANY] = slice_next(&walk->rest, &key, &line);
}

static void end_walk(void *own);

static struct walk *walk_new(struct req *req, struct slice lines)
{
	const struct chan *chan = req->chan;
	struct walk *walk = xcalloc(1, sizeof(*walk));
	size_t most;

	walk->rest = lines;
	walk->left = LINES_MAX;
	most = lines.n / LINE_MIN_BYTES + 1;
	walk->place = uuid_reserve(most < LINES_MAX ? most : LINES_MAX);
	walk->project_id = chan->project_id;
	walk->run_id = chan->run_id;
	walk->claim = chan->claim;
	walk->epoch = chan->epoch;
	walk->snapshot = snapshot_keep(chan->snapshot);
	walk->received = req->received;
	walk->req = req;
	req_own(req, walk, end_walk);
	return walk;
}

static void end_walk(void *own)
{
	struct walk *walk = own;

	snapshot_drop(walk->snapshot);
	drop_part(walk);
	free(walk);
}

static void warn(struct req *req, const char *field, const char *message, const char *cause)
{
	stats_add(stats_seriesf(STATS_LOG_WARNINGS, "cause=\"%s\"", cause), 1);
	req_warn(req, field, message);
}

static void answer(struct req *req, const char *member)
{
	const struct walk *walk = req->own;

	for (int i = 0; i < TROUBLES; i++)
		if (walk->trouble[i])
			warn(req, troubles[i].field, troubles[i].message, troubles[i].cause);
	req_ok_with(req, member);
}

static void end(struct req *req)
{
	if (req_is_heard(req))
		answer(req, "");
	else
		req_unheard(req);
}

/* Hands the part that was read to the item; false if there is none. */
static bool take_part(struct walk *walk)
{
	struct req *req = walk->req;

	if (walk->rows == 0)
		return false;
	req_take_values(req, walk->values, walk->rows);
	req_hold(req, walk->bytes);
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
		req_release(walk->req);
	} else {
		req_withdraw(walk->req);
		end(walk->req);
	}
}

/* Reads the next part and submits it in this way; false if there was none. While a part of a large
 * message is being read, the message keeps its place among those of its run. */
static bool next_part(struct walk *walk, void (*submit)(struct req *req))
{
	struct req *req = walk->req;

	if (req->payload.text.p != NULL) {
		req_take_values(req, NULL, 0);
		req->item.waits = true;
		submit(req);
		walk->job.work = on_work;
		walk->job.done = on_read;
		pool_start(req->server->loop, &walk->job);
		return true;
	}
	read_part(walk);
	if (!take_part(walk))
		return false;
	submit(req);
	return true;
}

static void check_log(struct req *req)
{
	struct walk *walk = walk_new(req, (struct slice){ 0 });

	walk->single = true;
	slice_pick(req->frame.payload, members, MEMBERS, walk->raw);
	walk->raw[MESSAGE] = req_member(req, "message");
	if (!next_part(walk, req_submit))
		end(req);
}

static void check_batch(struct req *req)
{
	struct slice logs = req_member(req, "logs");
	bool array = slice_type(logs) == SLICE_ARRAY;
	struct walk *walk = walk_new(req, array ? logs : (struct slice){ 0 });

	walk->trouble[LOGS] = !array;
	if (!next_part(walk, req_submit))
		end(req);
}

/* Columns of the result: ord, verdict, step_missing; a row for each line. */
static void read_verdicts(struct req *req, const struct batch_result *r)
{
	struct walk *walk = req->own;

	for (int i = r->first; i < r->first + r->rows; i++) {
		if (PQgetvalue(r->res, i, 1)[0] == 's')
			walk->trouble[SUPERSEDED] = true;
		else if (PQgetvalue(r->res, i, 2)[0] == 't')
			walk->trouble[STEP] = true;
	}
}

static bool more_lines(struct req *req, const struct batch_result *r)
{
	struct walk *walk = req->own;

	read_verdicts(req, r);
	return !walk->trouble[SUPERSEDED] && next_part(walk, req_continue);
}

static void reply_log(struct req *req, const struct batch_result *r)
{
	struct uuid id;
	char text[UUID_TEXT], member[64];

	read_verdicts(req, r);
	memcpy(id.b, req->item.values[COL_ID].p, sizeof(id.b));
	snprintf(member, sizeof(member), "\"log_line_id\":\"%s\"", uuid_format(&id, text));
	answer(req, member);
}

static void reply_batch(struct req *req, const struct batch_result *r)
{
	(void)r;
	answer(req, "");
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
		.more = more_lines,
		.reply = reply_batch,
		.failed = log_failed,
	},
};
const int log_nroutes = countof(log_routes);

/*
 * Requests, from their frame to the statement and back. Invariant: each is answered once
 * (chan_answer.c) and freed by its answer; when the worker is gone it is only freed.
 */
#include "chan_private.h"

#include <math.h>
#include <stdlib.h>

/* A large body on its way. */
struct req_body {
	struct batch_item item;
	struct req *req;
	struct value *stored; /* what the message says of it afterwards … */
	const char *field;    /* … and under which name it is warned about */
	size_t size;
};

struct req *req_new(struct chan_conn *conn, char *data, size_t size)
{
	struct req *req = xcalloc(1, sizeof(*req));

	req->server = conn->server;
	req->conn = conn;
	req->data = data;
	req->length = size;
	req->size = size + sizeof(*req) + (size > LARGE ? size : 0);
	req->received = now_us();
	TAILQ_INSERT_TAIL(&conn->reqs, req, entry);
	conn->open_reqs++;
	conn->server->open_reqs++;
	chan_account(conn->server, (ptrdiff_t)req->size);
	chan_flow(conn);
	return req;
}

static void free_values(struct batch_item *item)
{
	if (item->values == NULL)
		return;
	for (int i = 0; i < item->rows * item->stmt->columns; i++)
		value_clear(&item->values[i]);
	free(item->values);
	item->values = NULL;
}

/* The large body, for which the frame counts twice. */
static void free_body(struct req *req)
{
	if (req->body == NULL)
		return;
	req->size -= req->body->size;
	chan_account(req->server, -(ptrdiff_t)req->body->size);
	free_values(&req->body->item);
	free(req->body);
	req->body = NULL;
}

void req_free(struct req *req)
{
	struct chan_server *server = req->server;

	undelivered_done(req);
	free_body(req);
	if (req->chan != NULL && req->conn != NULL) {
		struct req_list *list = &req->chan->reqs;

		if (!req->chan->joined && req->route == NULL)
			list = &req->chan->held;
		TAILQ_REMOVE(list, req, entry);
	} else if (req->conn != NULL) {
		TAILQ_REMOVE(&req->conn->reqs, req, entry);
	}
	chan_account(server, -(ptrdiff_t)req->size);
	server->open_reqs--;
	if (req->conn != NULL) {
		req->conn->open_reqs--;
		chan_flow(req->conn);
	}
	free_values(&req->item);
	buf_free(&req->warnings);
	buf_free(&req->content);
	payload_free(&req->payload);
	if (req->own_end != NULL)
		req->own_end(req->own);
	else
		free(req->own);
	free(req->data);
	free(req);
}

static void fail(struct req *req, const char *code)
{
	if (req->route != NULL && req->route->failed != NULL)
		req->route->failed(req, code);
	else
		req_refuse_code(req, code, NULL);
}

bool req_is_heard(const struct req *req)
{
	return req->conn != NULL && (req->chan != NULL || req->route->orphan == NULL);
}

void req_unheard(struct req *req)
{
	if (req->conn == NULL)
		req_free(req);
	else
		fail(req, "busy");
}

/* Of a run's message the journal has a row. */
static void refuse(struct req *req, const struct refusal *why)
{
	if (req->route->locks && req->chan != NULL)
		req_reject(req, why);
	else
		req_refuse(req, why);
}

static void on_done(struct batch_item *item, const struct batch_result *res)
{
	struct req *req = container_of(item, struct req, item);
	struct refusal why;

	if (req->item.locks && res->status == BATCH_DONE)
		req_count(req, res);
	if (res->status == BATCH_DONE && req->route->more != NULL && req->route->more(req, res))
		return;
	if (!req_is_heard(req)) {
		if (req->route->orphan != NULL && res->status == BATCH_DONE)
			req->route->orphan(req, res);
		else if (req->undelivered != NULL && res->status == BATCH_DONE) {
			/* Decided, and kept for the worker that comes back. */
			req->route->reply(req, res);
			return;
		}
		req_unheard(req);
		return;
	}
	switch (res->status) {
	case BATCH_DONE: req->route->reply(req, res); return;
	case BATCH_UNAVAILABLE: fail(req, "unavailable"); return;
	case BATCH_CONSTRAINT:
		if (refuse_of_constraint(res->constraint, &why)) {
			refuse(req, &why);
			return;
		}
		break;
	case BATCH_FAILED: break;
	}
	fail(req, "busy");
}

void req_own(struct req *req, void *own, void (*end)(void *own))
{
	req->own = own;
	req->own_end = end;
}

void req_hold(struct req *req, size_t bytes)
{
	ptrdiff_t more = (ptrdiff_t)(bytes - req->beside);

	req->beside = bytes;
	req->size += (size_t)more;
	chan_account(req->server, more);
}

static void take_values(struct req *req, const char *stmt, struct value *values, int rows)
{
	free_values(&req->item);
	req->item.stmt = stmt_get(stmt);
	req->item.rows = rows;
	req->item.values = values;
	req->item.locks = req->route->locks;
	req->item.settles = req->route->settles;
	req->item.done = on_done;
	if (req->chan != NULL) {
		req->item.project_id = req->chan->project_id;
		req->item.work_order_id = req->chan->work_order_id;
		req->item.run_id = req->chan->run_id;
	}
}

static void values_for(struct req *req, const char *stmt, int rows)
{
	size_t columns = (size_t)stmt_get(stmt)->columns;

	take_values(req, stmt, xcalloc((size_t)rows, columns * sizeof(struct value)), rows);
}

void req_values(struct req *req, int rows)
{
	values_for(req, req->route->stmt, rows);
}

void req_take_values(struct req *req, struct value *values, int rows)
{
	take_values(req, req->route->stmt, values, rows);
}

/* Gives the statement the warnings, for the journal. */
static void note_warnings(struct req *req)
{
	if (req->noted != NULL && req->warnings.n > 0) {
		struct buf b = { 0 };

		buf_addf(&b, "{\"warnings\":{%s}}", req->warnings.p);
		value_take(req->noted, &b);
	}
}

void req_submit(struct req *req)
{
	note_warnings(req);
	batch_submit(req->server->batch, req->route->lane, &req->item);
}

void req_continue(struct req *req)
{
	batch_continue(req->server->batch, req->route->lane, &req->item);
}

void req_release(struct req *req)
{
	batch_release(req->server->batch, &req->item);
}

void req_withdraw(struct req *req)
{
	batch_withdraw(req->server->batch, req->route->lane, &req->item);
}

/* The body is in dataclips, or cannot be: the message itself, which has kept its place, follows. */
static void on_body_done(struct batch_item *item, const struct batch_result *res)
{
	struct req_body *body = container_of(item, struct req_body, item);
	struct req *req = body->req;
	struct batch *batch = req->server->batch;

	if (res->status == BATCH_UNAVAILABLE) {
		batch_withdraw(batch, req->route->lane, &req->item);
		on_done(&req->item, res);
		return;
	}
	value_bool(body->stored, res->status == BATCH_DONE);
	if (res->status != BATCH_DONE)
		req_warn(req, body->field, "could not be stored");
	free_body(req);
	note_warnings(req);
	batch_release(batch, &req->item);
}

void req_submit_body(struct req *req, const struct value *step, const struct value *clip,
	struct value *body, struct value *stored, const char *field)
{
	struct batch_item *item;
	struct value *v;

	if (body->p == NULL || body->n <= LARGE) {
		req_submit(req);
		return;
	}
	req->body = xmalloc(sizeof(*req->body));
	*req->body = (struct req_body){ req->item, req, stored, field, (size_t)body->n };
	item = &req->body->item;
	item->stmt = stmt_get("body");
	item->values = v = xcalloc((size_t)item->stmt->columns, sizeof(*v));
	item->locks = item->settles = false;
	item->done = on_body_done;
	v = req_claim(req, v);
	if (step != NULL)
		value_copy16(v, step);
	v++;
	value_copy16(v++, clip);
	value_move(v, body);
	req->item.waits = true;
	req_submit(req);
	batch_submit(req->server->batch, LANE_BODY, item);
}

void req_scrub(struct req *req, struct value *text)
{
	field_scrub(req->chan->snapshot->scrub, text);
}

struct value *req_claim(const struct req *req, struct value *v)
{
	value_uuid(v++, &req->chan->project_id);
	value_uuid(v++, &req->chan->run_id);
	value_int(v++, req->chan->epoch);
	value_uuid(v++, &req->chan->claim);
	return v;
}

struct value *req_policy(const struct req *req, struct value *v)
{
	const struct conf *conf = req->server->conf;
	int policy = conf_late_completion(conf, &req->chan->project_id);

	value_text(v++, slice_of(conf_policy_name(policy)));
	value_bigint(v++, conf->late_window * 1000);
	return v;
}

struct value *req_common(struct req *req)
{
	const struct conf *conf = req->server->conf;
	struct value *v;

	req_values(req, 1);
	v = req_policy(req, req_claim(req, req->item.values));
	value_bool(v++, conf->mode == MODE_OBSERVE && strncmp(req->route->event, "run:", 4) == 0);
	req_message(req, v++);
	req->noted = v++;
	return v;
}

static void on_rejected(struct batch_item *item, const struct batch_result *res)
{
	struct req *req = container_of(item, struct req, item);

	if (res->status == BATCH_DONE)
		req_count(req, res);
	if (req->conn == NULL && req->undelivered == NULL) {
		req_free(req);
		return;
	}
	if (res->status == BATCH_DONE) {
		const char *verdict = PQgetvalue(res->res, res->first, 1);

		if (strcmp(verdict, req->why.code) != 0 && req_refused(req, res))
			return;
		if (!PQgetisnull(res->res, res->first, 2))
			req->why.state = PQgetvalue(res->res, res->first, 2);
	}
	req_refuse(req, &req->why);
}

void req_reject(struct req *req, const struct refusal *why)
{
	struct value *v;

	req->why = *why;
	req->noted = NULL;
	values_for(req, "refused", 1);
	req->item.settles = false;
	req->item.done = on_rejected;
	v = req_policy(req, req_claim(req, req->item.values));
	value_text(v++, slice_of(req->route->event));
	value_text(v++, slice_of(why->code));
	req_message(req, v);
	req_submit(req);
}

/* How far the worker's clock is from the database's, where the message carries a time of its own.
 */
static void observe_skew(const struct req *req, const struct value *v)
{
	const struct route *route = req->route;

	for (int i = 0; i < route->nfields; i++) {
		if (route->fields[i].type == FIELD_TIME && value_time_of(v) != req->received) {
			int64_t ours = req->received + req->server->db_ahead;

			stats_observe(stats_series(STATS_CLOCK_SKEW_SECONDS, NULL),
				fabs((double)(value_time_of(v) - ours)) / 1e6);
		}
		v += 1 + route->fields[i].given;
	}
}

bool req_fields(struct req *req, struct value *v)
{
	struct refusal why;

	if (field_parse(req->route->fields, req->route->nfields, req->frame.payload,
		    req->chan->snapshot->scrub, req->received, v, &why)) {
		observe_skew(req, v);
		return true;
	}
	if (req->frame.cut && !refuse_of_code(req->route->event, "too_large", &why))
		fatalx("no refusal for what is too large");
	refuse(req, &why);
	return false;
}

static void refuse_payload(struct req *req, const char *code)
{
	struct refusal why;

	if (req->route->failed == NULL && req->route->locks &&
		refuse_of_code(req->route->event, code, &why))
		req_reject(req, &why);
	else
		fail(req, code);
}

void req_run(struct req *req, const struct route *route)
{
	bool object;

	if (req->frame.cut && !route->takes_cut)
		req->frame.payload = (struct slice){ 0 };
	object = slice_type(req->frame.payload) == SLICE_OBJECT && !req->frame.binary;
	req->route = route;
	req->stats = &req->server->route_stats[route - req->server->routes];
	if (!object && !route->any_payload)
		refuse_payload(req, req->frame.cut ? "too_large" : "invalid");
	else if (route->check != NULL)
		route->check(req);
	else if (req_fields(req, req_common(req)))
		req_submit(req);
}

void req_message(struct req *req, struct value *v)
{
	struct slice cursor = req->frame.payload, key, value;
	struct buf text = { 0 }, clean = { 0 };
	size_t limit = (size_t)req->server->conf->max_message_kept;

	buf_addc(&text, '{');
	if (slice_type(cursor) != SLICE_OBJECT || req->frame.binary) {
		if (cursor.p != NULL)
			buf_addf(&text, "\"length\":%zu", cursor.n);
		cursor = (struct slice){ 0 };
	}
	while (slice_next(&cursor, &key, &value)) {
		if (text.n > 1)
			buf_addc(&text, ',');
		buf_add(&text, key.p, key.n);
		buf_addc(&text, ':');
		if (payload_is_content(key) && req->payload.text.p == NULL) {
			payload_describe(value, &text);
		} else if (value.n > limit) {
			buf_addf(&text, "{\"length\":%zu}", value.n);
		} else {
			buf_add(&text, value.p, value.n);
		}
	}
	buf_addc(&text, '}');
	if (text.n > limit)
		text.n = 0;
	scrub_apply(req->chan->snapshot->scrub, (struct slice){ text.p, text.n }, &clean);
	buf_free(&text);
	value_take(v, &clean);
}

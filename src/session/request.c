/*
 * Requests, from their frame to the statement and back. Invariant: each is answered once
 * (reply.c) and freed by its answer; when the worker is gone it is only freed.
 */
#include "channel_private.h"
#include "sql_columns.h"

#include <math.h>
#include <stdlib.h>

/* A large body on its way. */
struct request_body {
	struct batch_item item;
	struct request *request;
	struct value *stored; /* what the message says of it afterwards … */
	const char *field;    /* … and under which name it is warned about */
	size_t size;
};

struct request *request_new(struct session *session, char *data, size_t size)
{
	struct request *request = xcalloc(1, sizeof(*request));

	request->server = session->server;
	request->session = session;
	request->data = data;
	request->length = size;
	request->size = size + sizeof(*request) + (size > LARGE ? size : 0);
	request->received = now_us();
	TAILQ_INSERT_TAIL(&session->requests, request, entry);
	session->open_requests++;
	session->server->open_requests++;
	memory_account(session->server, (ptrdiff_t)request->size);
	backpressure_update(session);
	return request;
}

static void free_values(struct request *request, struct batch_item *item)
{
	if (item->values == NULL)
		return;
	for (int i = 0; i < item->rows * item->stmt->columns; i++) {
		pool_free(request->server->loop, item->values[i].owned);
		item->values[i].owned = NULL;
	}
	free(item->values);
	item->values = NULL;
}

/* The large body, for which the frame counts twice. */
static void free_body(struct request *request)
{
	if (request->body == NULL)
		return;
	request->size -= request->body->size;
	memory_account(request->server, -(ptrdiff_t)request->body->size);
	free_values(request, &request->body->item);
	free(request->body);
	request->body = NULL;
}

void request_free(struct request *request)
{
	struct server *server = request->server;

	undelivered_done(request);
	backpressure_answered(request);
	free_body(request);
	if (request->channel != NULL && request->session != NULL) {
		struct request_list *list = &request->channel->requests;

		if (!request->channel->joined && request->route == NULL)
			list = &request->channel->pending;
		TAILQ_REMOVE(list, request, entry);
	} else if (request->session != NULL) {
		TAILQ_REMOVE(&request->session->requests, request, entry);
	}
	memory_account(server, -(ptrdiff_t)request->size);
	server->open_requests--;
	if (request->session != NULL) {
		request->session->open_requests--;
		backpressure_update(request->session);
	}
	free_values(request, &request->item);
	buf_free(&request->warnings);
	pool_free(server->loop, request->content.p);
	payload_free(&request->payload);
	if (request->own_end != NULL)
		request->own_end(request->route_data);
	else
		free(request->route_data);
	pool_free(server->loop, request->data);
	free(request);
}

static void fail(struct request *request, const char *code)
{
	if (request->route != NULL && request->route->failed != NULL)
		request->route->failed(request, code);
	else
		reply_error_code(request, code, NULL);
}

bool request_has_client(const struct request *request)
{
	return request->session != NULL &&
	       (request->channel != NULL || request->route->on_client_gone == NULL);
}

void request_client_gone(struct request *request)
{
	if (request->session == NULL)
		request_free(request);
	else
		fail(request, "busy");
}

/* Of a run's message the journal has a row. */
static void refuse(struct request *request, const struct error_reply *why)
{
	if (request->route->locks && request->channel != NULL)
		reply_error_journaled(request, why);
	else
		reply_error(request, why);
}

static void on_done(struct batch_item *item, const struct batch_result *res)
{
	struct request *request = container_of(item, struct request, item);
	struct error_reply why;

	if (request->item.locks && res->status == BATCH_DONE)
		count_message_outcome(request, res);
	if (res->status == BATCH_DONE && request->route->more != NULL &&
		request->route->more(request, res))
		return;
	if (!request_has_client(request)) {
		if (request->route->on_client_gone != NULL && res->status == BATCH_DONE)
			request->route->on_client_gone(request, res);
		else if (request->undelivered != NULL && res->status == BATCH_DONE) {
			/* Decided, and kept for the worker that comes back. */
			request->route->reply(request, res);
			return;
		}
		request_client_gone(request);
		return;
	}
	switch (res->status) {
	case BATCH_DONE: request->route->reply(request, res); return;
	case BATCH_UNAVAILABLE: fail(request, "unavailable"); return;
	case BATCH_CONSTRAINT:
		if (error_reply_of_constraint(res->constraint, &why)) {
			refuse(request, &why);
			return;
		}
		break;
	case BATCH_FAILED: break;
	}
	fail(request, "busy");
}

void request_own(struct request *request, void *route_data, void (*end)(void *route_data))
{
	request->route_data = route_data;
	request->own_end = end;
}

void request_hold(struct request *request, size_t bytes)
{
	ptrdiff_t more = (ptrdiff_t)(bytes - request->beside);

	request->beside = bytes;
	request->size += (size_t)more;
	memory_account(request->server, more);
}

static void take_values(struct request *request, const char *stmt, struct value *values, int rows)
{
	free_values(request, &request->item);
	request->item.stmt = stmt_get(stmt);
	request->item.rows = rows;
	request->item.values = values;
	request->item.locks = request->route->locks;
	request->item.settles = request->route->settles;
	request->item.done = on_done;
	if (request->channel != NULL && request->channel->kind->claim != NULL) {
		const struct run_claim *claim = channel_claim(request->channel);

		request->item.project_id = claim->project_id;
		request->item.work_order_id = claim->work_order_id;
		request->item.run_id = claim->run_id;
	}
}

static void values_for(struct request *request, const char *stmt, int rows)
{
	size_t columns = (size_t)stmt_get(stmt)->columns;

	take_values(request, stmt, xcalloc((size_t)rows, columns * sizeof(struct value)), rows);
}

void request_alloc_params(struct request *request, int rows)
{
	values_for(request, request->route->stmt, rows);
}

void request_take_values(struct request *request, struct value *values, int rows)
{
	take_values(request, request->route->stmt, values, rows);
}

/* Gives the statement the warnings, for the journal. */
static void note_warnings(struct request *request)
{
	if (request->noted != NULL && request->warnings.n > 0) {
		struct buf b = { 0 };

		buf_addf(&b, "{\"warnings\":{%s}}", request->warnings.p);
		value_take(request->noted, &b);
	}
}

void request_submit(struct request *request)
{
	note_warnings(request);
	batch_submit(request->server->batch, request->route->lane, &request->item);
}

void request_continue(struct request *request)
{
	batch_continue(request->server->batch, request->route->lane, &request->item);
}

void request_release(struct request *request)
{
	batch_release(request->server->batch, &request->item);
}

void request_withdraw(struct request *request)
{
	batch_withdraw(request->server->batch, request->route->lane, &request->item);
}

/* The body is in dataclips, or cannot be: the message itself, which has kept its place, follows. */
static void on_body_done(struct batch_item *item, const struct batch_result *res)
{
	struct request_body *body = container_of(item, struct request_body, item);
	struct request *request = body->request;
	struct batch *batch = request->server->batch;

	if (res->status == BATCH_UNAVAILABLE) {
		batch_withdraw(batch, request->route->lane, &request->item);
		on_done(&request->item, res);
		return;
	}
	value_bool(body->stored, res->status == BATCH_DONE);
	if (res->status != BATCH_DONE)
		reply_add_warning(request, body->field, "could not be stored");
	free_body(request);
	note_warnings(request);
	batch_release(batch, &request->item);
}

void request_submit_with_body(struct request *request, const struct value *step,
	const struct value *clip, struct value *body, struct value *stored, const char *field)
{
	struct batch_item *item;
	struct value *v;

	if (body->p == NULL || body->n <= LARGE) {
		request_submit(request);
		return;
	}
	request->body = xmalloc(sizeof(*request->body));
	*request->body =
		(struct request_body){ request->item, request, stored, field, (size_t)body->n };
	item = &request->body->item;
	item->stmt = stmt_get("dataclip_body");
	item->values = v = xcalloc((size_t)item->stmt->columns, sizeof(*v));
	item->locks = item->settles = false;
	item->done = on_body_done;
	v = bind_claim(request, v);
	if (step != NULL)
		value_copy16(v, step);
	v++;
	value_copy16(v++, clip);
	value_move(v, body);
	request->item.waits = true;
	request_submit(request);
	batch_submit(request->server->batch, LANE_BODY, item);
}

static const struct scrubber *scrubber_of(const struct request *request)
{
	return request->channel->kind->scrubber(request->channel);
}

void request_scrub(struct request *request, struct value *text)
{
	field_scrub(scrubber_of(request), text);
}

struct value *bind_claim(const struct request *request, struct value *v)
{
	return run_claim_bind(channel_claim(request->channel), v);
}

struct value *bind_late_policy(const struct request *request, struct value *v)
{
	const struct conf *conf = request->server->conf;
	int policy = conf_late_completion(conf, &channel_claim(request->channel)->project_id);

	value_text(v++, slice_of(conf_policy_name(policy)));
	value_bigint(v++, conf->late_window * 1000);
	return v;
}

struct value *bind_common(struct request *request)
{
	const struct conf *conf = request->server->conf;
	struct value *v;

	request_alloc_params(request, 1);
	v = bind_late_policy(request, bind_claim(request, request->item.values));
	value_bool(
		v++, conf->mode == MODE_OBSERVE && strncmp(request->route->event, "run:", 4) == 0);
	bind_journal_message(request, v++);
	request->noted = v++;
	return v;
}

static void on_rejected(struct batch_item *item, const struct batch_result *res)
{
	struct request *request = container_of(item, struct request, item);

	if (res->status == BATCH_DONE)
		count_message_outcome(request, res);
	if (request->session == NULL && request->undelivered == NULL) {
		request_free(request);
		return;
	}
	if (res->status == BATCH_DONE) {
		const char *verdict = PQgetvalue(res->res, res->first, REPLY_OUT_VERDICT);

		if (strcmp(verdict, request->why.code) != 0 && reply_if_refused(request, res))
			return;
		if (!PQgetisnull(res->res, res->first, REPLY_OUT_STATE))
			request->why.state = PQgetvalue(res->res, res->first, REPLY_OUT_STATE);
	}
	reply_error(request, &request->why);
}

void reply_error_journaled(struct request *request, const struct error_reply *why)
{
	struct value *v;

	request->why = *why;
	request->noted = NULL;
	values_for(request, "journal_refused", 1);
	request->item.locks = true; /* the journal's order is that of the locks */
	request->item.settles = false;
	request->item.done = on_rejected;
	v = bind_late_policy(request, bind_claim(request, request->item.values));
	value_text(v++, slice_of(request->route->event));
	value_text(v++, slice_of(why->code));
	bind_journal_message(request, v);
	request_submit(request);
}

/* Observes the worker's clock skew, where the message carries a time of its own.
 */
static void observe_skew(const struct request *request, const struct value *v)
{
	const struct route *route = request->route;

	for (int i = 0; i < route->nfields; i++) {
		if (route->fields[i].type == FIELD_TIME && value_time_of(v) != request->received) {
			int64_t ours = request->received + request->server->db_clock_offset;

			metrics_observe(metrics_series(METRIC_WORKER_CLOCK_SKEW_SECONDS, NULL),
				fabs((double)(value_time_of(v) - ours)) / 1e6);
		}
		v += 1 + route->fields[i].given;
	}
}

bool bind_fields(struct request *request, struct value *v)
{
	struct error_reply why;

	if (field_parse(request->route->fields, request->route->nfields, request->frame.payload,
		    scrubber_of(request), request->received, v, &why)) {
		observe_skew(request, v);
		return true;
	}
	if (request->frame.cut && !error_reply_of_code(request->route->event, "too_large", &why))
		fatalx("no refusal for what is too large");
	refuse(request, &why);
	return false;
}

static void reply_bad_payload(struct request *request, const char *code)
{
	struct error_reply why;

	if (request->route->failed == NULL && request->route->locks &&
		error_reply_of_code(request->route->event, code, &why))
		reply_error_journaled(request, &why);
	else
		fail(request, code);
}

void request_dispatch(struct request *request, const struct route *route)
{
	bool object;

	if (request->frame.cut && !route->accepts_truncated)
		request->frame.payload = (struct slice){ 0 };
	object = jscan_type(request->frame.payload) == JSCAN_OBJECT && !request->frame.binary;
	request->route = route;
	request->stats = &request->server->route_stats[route - request->server->routes];
	if (!object && !route->accepts_any_payload)
		reply_bad_payload(request, request->frame.cut ? "too_large" : "invalid");
	else if (route->check != NULL)
		route->check(request);
	else if (bind_fields(request, bind_common(request)))
		request_submit(request);
}

void bind_journal_message(struct request *request, struct value *v)
{
	struct slice cursor = request->frame.payload, key, value;
	struct buf text = { 0 }, clean = { 0 };
	size_t limit = (size_t)request->server->conf->journal_max_message;

	buf_addc(&text, '{');
	if (jscan_type(cursor) != JSCAN_OBJECT || request->frame.binary) {
		if (cursor.p != NULL)
			buf_addf(&text, "\"length\":%zu", cursor.n);
		cursor = (struct slice){ 0 };
	}
	while (jscan_next(&cursor, &key, &value)) {
		if (text.n > 1)
			buf_addc(&text, ',');
		buf_add(&text, key.p, key.n);
		buf_addc(&text, ':');
		if (payload_is_content(key) && request->payload.text.p == NULL) {
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
	scrubber_apply(scrubber_of(request), (struct slice){ text.p, text.n }, &clean);
	buf_free(&text);
	value_take(v, &clean);
}

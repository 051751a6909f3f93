/*
 * Requests, from their frame to the statement and back. Invariant: each is answered once and freed
 * by its answer; when the worker is gone it is only freed. Requests and replies call each other by
 * nature: a statement's result becomes a reply, and a reply ends its request.
 */
#include "request_private.h"

#include "channel_private.h"
#include "reply_private.h"
#include "resend_private.h"
#include "session_private.h"

#include "lib/pool.h"
#include "sql_columns.h"

#include <stdlib.h>

/* A large body on its way. */
struct request_body {
	struct batch_item item;
	struct request *request;
	struct value *stored; /* what the message says of it afterwards … */
	const char *field;    /* … and under which name it is warned about */
	size_t size;
};

/* It owns the message, whose bytes everything else borrows. */
struct request {
	struct batch_item item;
	struct sessions *sessions;
	struct session *session;   /* NULL: the worker is gone */
	struct channel *channel;   /* NULL: not found yet, or it was left or replaced */
	struct request_list *list; /* that it is in; NULL: none */
	TAILQ_ENTRY(request) entry;

	struct message *message;
	int64_t received;
	const struct route *route;
	struct reply *reply;
	struct undelivered *undelivered;
	const char *target_state;

	bool continues;               /* a part of it is done */
	struct value *warnings_value; /* the statement's, for the journal */
	struct request_body *body;    /* a large one that goes before it */
	void *data;                   /* the route's */
	void (*end_data)(void *data);
	size_t size, held; /* what it counts in memory; what of it request_hold says */
};

/* ---- its life ---- */

static struct memory *memory_of(const struct request *request)
{
	return request_context(request)->memory;
}

static void move_to(struct request *request, struct request_list *list)
{
	if (request->list != NULL)
		TAILQ_REMOVE(request->list, request, entry);
	request->list = list;
	if (list != NULL)
		TAILQ_INSERT_TAIL(list, request, entry);
}

struct request *request_new(struct session *session, struct message *message)
{
	struct request *request = xcalloc(1, sizeof(*request));

	request->sessions = session_sessions(session);
	request->session = session;
	request->message = message;
	request->reply = reply_new();
	request->size = sizeof(*request) + message_size(message);
	request->received = now_us();
	move_to(request, session_requests(session));
	memory_hold(memory_of(request), MEMORY_MESSAGES, (ptrdiff_t)request->size);
	session_request_began(session);
	return request;
}

static void free_values(struct request *request, struct batch_item *item)
{
	if (item->values == NULL)
		return;
	for (int i = 0; i < item->rows * item->stmt->columns; i++) {
		pool_free(request_context(request)->loop, item->values[i].owned);
		item->values[i].owned = NULL;
	}
	free(item->values);
	item->values = NULL;
}

/* The large body, for which the message counts twice. */
static void free_body(struct request *request)
{
	if (request->body == NULL)
		return;
	request->size -= request->body->size;
	memory_hold(memory_of(request), MEMORY_MESSAGES, -(ptrdiff_t)request->body->size);
	free_values(request, &request->body->item);
	free(request->body);
	request->body = NULL;
}

void request_free(struct request *request)
{
	undelivered_release(request->undelivered);
	free_body(request);
	move_to(request, NULL);
	memory_hold(memory_of(request), MEMORY_MESSAGES, -(ptrdiff_t)request->size);
	session_request_ended(request->sessions, request->session);
	free_values(request, &request->item);
	if (request->end_data != NULL)
		request->end_data(request->data);
	else
		free(request->data);
	reply_free(request->reply);
	message_free(request->message, request_context(request)->loop);
	free(request);
}

void request_enter_channel(
	struct request *request, struct channel *channel, struct request_list *list)
{
	request->channel = channel;
	move_to(request, list);
}

void request_leave_channel(struct request *request)
{
	request->channel = NULL;
	move_to(request, session_requests(request->session));
}

void request_leave_session(struct request *request)
{
	request->session = NULL;
	move_to(request, NULL);
}

/* ---- what it is about ---- */

const struct context *request_context(const struct request *request)
{
	return sessions_config(request->sessions)->context;
}

void *request_protocol(const struct request *request)
{
	return sessions_config(request->sessions)->protocol;
}

struct channel *request_channel(const struct request *request)
{
	return request->channel;
}

struct session *request_session(const struct request *request)
{
	return request->session;
}

const char *request_worker(const struct request *request)
{
	return session_worker(request->session);
}

int64_t request_received(const struct request *request)
{
	return request->received;
}

const struct route_table *request_routes(const struct request *request)
{
	return sessions_routes(request->sessions);
}

const struct route *request_route(const struct request *request)
{
	return request->route;
}

struct message *request_message(const struct request *request)
{
	return request->message;
}

const struct phx_frame *request_frame(const struct request *request)
{
	return message_frame(request->message);
}

struct slice request_member(const struct request *request, const char *name)
{
	return message_member(request->message, name);
}

void request_pick(const struct request *request, const char *const *names, int n, struct slice *out)
{
	message_pick(request->message, names, n, out);
}

bool request_is_large(const struct request *request)
{
	return message_is_large(request->message);
}

bool request_is_truncated(const struct request *request)
{
	return message_is_truncated(request->message);
}

const char *request_content(struct request *request, struct value *v)
{
	return message_content(request->message, request->route, v);
}

struct reply *request_reply(const struct request *request)
{
	return request->reply;
}

struct undelivered *request_undelivered(const struct request *request)
{
	return request->undelivered;
}

void request_keep_reply_in(struct request *request, struct undelivered *undelivered)
{
	request->undelivered = undelivered;
}

void request_set_target_state(struct request *request, const char *state)
{
	request->target_state = state;
}

const char *request_target_state(const struct request *request)
{
	return request->target_state;
}

void request_set_data(struct request *request, void *data, void (*end)(void *data))
{
	request->data = data;
	request->end_data = end;
}

void *request_data(const struct request *request)
{
	return request->data;
}

void request_hold(struct request *request, size_t bytes)
{
	ptrdiff_t more = (ptrdiff_t)(bytes - request->held);

	request->held = bytes;
	request->size += (size_t)more;
	memory_hold(memory_of(request), MEMORY_MESSAGES, more);
}

/* ---- its result ---- */

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

bool request_is_abandoned(const struct request *request)
{
	return request->session == NULL && request->undelivered == NULL;
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

static void on_done_without_client(struct request *request, const struct batch_result *res)
{
	if (res->status == BATCH_DONE && request->route->on_client_gone != NULL) {
		request->route->on_client_gone(request, res);
	} else if (res->status == BATCH_DONE && request->undelivered != NULL) {
		request->route->reply(request, res); /* for the worker that comes back */
		return;
	}
	request_client_gone(request);
}

static void on_done(struct batch_item *item, const struct batch_result *res)
{
	struct request *request = request_of_item(item);
	const struct route *route = request->route;
	struct error_reply why;

	if (item->locks && res->status == BATCH_DONE)
		reply_count_verdict(request, res);
	if (res->status == BATCH_DONE && route->more != NULL) {
		request->continues = true;
		if (route->more(request, res))
			return;
	}
	if (!request_has_client(request))
		on_done_without_client(request, res);
	else if (res->status == BATCH_DONE)
		route->reply(request, res);
	else if (res->status == BATCH_UNAVAILABLE)
		fail(request, "unavailable");
	else if (res->status == BATCH_CONSTRAINT &&
		 error_reply_of_constraint(res->constraint, &why))
		refuse(request, &why);
	else
		fail(request, "busy");
}

/* ---- its statement ---- */

struct request *request_of_item(struct batch_item *item)
{
	return container_of(item, struct request, item);
}

static void set_statement(struct request *request, const char *stmt, struct value *values, int rows)
{
	const struct run_claim *claim =
		request->channel != NULL ? channel_claim(request->channel) : NULL;
	struct batch_item *item = &request->item;

	free_values(request, item);
	item->stmt = stmt_get(stmt);
	item->rows = rows;
	item->values = values;
	item->locks = request->route->locks;
	item->settles = request->route->settles;
	item->done = on_done;
	if (claim != NULL) {
		item->project_id = claim->project_id;
		item->work_order_id = claim->work_order_id;
		item->run_id = claim->run_id;
	}
}

static struct value *new_values(const char *stmt, int rows)
{
	return xcalloc((size_t)rows, (size_t)stmt_get(stmt)->columns * sizeof(struct value));
}

void request_alloc_params(struct request *request, int rows)
{
	const char *stmt = request->route->stmt;

	set_statement(request, stmt, new_values(stmt, rows), rows);
}

void request_take_values(struct request *request, struct value *values, int rows)
{
	set_statement(request, request->route->stmt, values, rows);
}

struct value *request_alloc_for(struct request *request, const char *stmt,
	void (*done)(struct batch_item *item, const struct batch_result *res))
{
	set_statement(request, stmt, new_values(stmt, 1), 1);
	request->item.locks = true; /* the journal's order is that of the locks */
	request->item.settles = false;
	request->item.done = done;
	request->warnings_value = NULL;
	return request->item.values;
}

struct value *request_values(const struct request *request)
{
	return request->item.values;
}

void request_set_scalars(struct request *request, const char *const *scalars, int n)
{
	memcpy(request->item.scalars, scalars, (size_t)n * sizeof(*scalars));
}

/* Gives the statement the warnings, for the journal. */
static void bind_warnings(struct request *request)
{
	struct buf b = { 0 };

	if (request->warnings_value == NULL)
		return;
	reply_describe_warnings(request->reply, &b);
	if (b.n > 0)
		value_take(request->warnings_value, &b);
}

void request_submit(struct request *request)
{
	struct batch *batch = request_context(request)->batch;

	bind_warnings(request);
	if (request->continues)
		batch_continue(batch, request->route->lane, &request->item);
	else
		batch_submit(batch, request->route->lane, &request->item);
}

void request_submit_waiting(struct request *request)
{
	request->item.waits = true;
	request_submit(request);
}

void request_submit_for_large_result(struct request *request)
{
	batch_submit(request_context(request)->batch, LANE_BODY, &request->item);
}

void request_release(struct request *request)
{
	batch_release(request_context(request)->batch, &request->item);
}

void request_withdraw(struct request *request)
{
	batch_withdraw(request_context(request)->batch, request->route->lane, &request->item);
}

/* The body is in dataclips, or cannot be: the message itself, which has kept its place, follows. */
static void on_body_done(struct batch_item *item, const struct batch_result *res)
{
	struct request_body *body = container_of(item, struct request_body, item);
	struct request *request = body->request;

	if (res->status == BATCH_UNAVAILABLE) {
		request_withdraw(request);
		on_done(&request->item, res);
		return;
	}
	value_bool(body->stored, res->status == BATCH_DONE);
	if (res->status != BATCH_DONE)
		reply_add_warning(request, body->field, "could not be stored");
	free_body(request);
	bind_warnings(request);
	request_release(request);
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
	item->values = v = new_values("dataclip_body", 1);
	item->locks = item->settles = false;
	item->done = on_body_done;
	v = bind_claim(request, v);
	if (step != NULL)
		value_copy16(v, step);
	v++;
	value_copy16(v++, clip);
	value_move(v, body);
	request_submit_waiting(request);
	batch_submit(request_context(request)->batch, LANE_BODY, item);
}

/* ---- its route ---- */

struct value *bind_common(struct request *request)
{
	const struct conf *conf = request_context(request)->conf;
	struct value *v;

	request_alloc_params(request, 1);
	v = bind_late_policy(request, bind_claim(request, request->item.values));
	value_bool(
		v++, conf->mode == MODE_OBSERVE && strncmp(request->route->event, "run:", 4) == 0);
	bind_journal_message(request, v++);
	request->warnings_value = v++;
	return v;
}

bool bind_fields(struct request *request, struct value *v)
{
	const struct route *route = request->route;
	struct error_reply why;

	if (field_parse(route->fields, route->nfields, request_frame(request)->payload,
		    channel_scrubber(request->channel), request->received, v, &why)) {
		observe_clock_skew(request, v);
		return true;
	}
	if (request_is_truncated(request) && !error_reply_of_code(route->event, "too_large", &why))
		fatalx("no refusal for what is too large");
	refuse(request, &why);
	return false;
}

static void refuse_payload(struct request *request, const char *code)
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
	bool cut = request_is_truncated(request), object;

	if (cut && !route->accepts_truncated)
		message_drop_payload(request->message);
	object = jscan_type(request_frame(request)->payload) == JSCAN_OBJECT &&
		 !request_frame(request)->binary;
	request->route = route;
	if (!object && !route->accepts_any_payload)
		refuse_payload(request, cut ? "too_large" : "invalid");
	else if (route->check != NULL)
		route->check(request);
	else if (bind_fields(request, bind_common(request)))
		request_submit(request);
}

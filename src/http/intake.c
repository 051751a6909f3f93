/*
 * intake: the webhook. Invariant: 200 means that the work order is durable. Its ids are fixed at
 * receipt, so that a batch can be sent again; every reply has the work order's id in the header
 * x-meta-work-order-id, and a sender that got no reply, or 503, repeats its request with that
 * header (or with its Idempotency-Key): at most one work order is made.
 */
#include "http/intake.h"

#include "lib/crypto.h"
#include "lib/jscan.h"
#include "lib/metrics.h"
#include "sql_columns.h"

#include <stdlib.h>

enum { KEY_MAX = 255, SALT = 16 };

static const char id_header[] = "x-meta-work-order-id";

struct hook {
	struct batch_item item;
	struct value values[INTAKE_IN_COUNT];
	struct ws_http *http; /* NULL: the client has disconnected */
	const struct context *context;
	size_t size; /* what it counts against the memory bound */
	void (*enqueued)(void *arg);
	void *arg;
};

/* work_order: the text of the id under which it is stored, or would be; NULL if there is none. */
static void respond(struct ws_http *http, int status, const char *work_order, struct slice body)
{
	char headers[128] = "";

	if (status == 401 || status == 405)
		snprintf(headers, sizeof(headers), "%s",
			status == 401 ? "WWW-Authenticate: Bearer" : "Allow: POST");
	else if (work_order != NULL)
		snprintf(headers, sizeof(headers), "%s%s: %s",
			status == 503 ? "Retry-After: 5\r\n" : "", id_header, work_order);
	metrics_add(metrics_seriesf(METRIC_INTAKE, "status=\"%d\"", status), 1);
	if (http != NULL)
		ws_http_reply(
			http, status, "application/json", *headers != '\0' ? headers : NULL, body);
}

static void respond_error(
	struct ws_http *http, int status, const struct uuid *work_order, const char *error)
{
	char id[UUID_TEXT];
	struct buf b = { 0 };

	buf_adds(&b, "{\"error\":");
	buf_add_json(&b, slice_of(error));
	buf_addc(&b, '}');
	respond(http, status, work_order != NULL ? uuid_format(work_order, id) : NULL,
		(struct slice){ b.p, b.n });
	buf_free(&b);
}

/* What a verdict of intake.sql means to the client; any other one is that of a work order. */
static const struct {
	const char *verdict;
	int status;
	const char *error;
} refusals[] = {
	{ "not_found", 404, "no such trigger" },
	{ "unauthorized", 401, "this trigger requires a key: Authorization: Bearer, or X-Api-Key" },
	{ "no_edge", 422, "this trigger has no enabled edge" },
	{ "taken", 409, "this x-meta-work-order-id belongs to another trigger" },
};

/* Columns: ord, verdict, work_order_id, run_id. */
static void respond_result(struct hook *hook, const struct batch_result *r)
{
	const char *verdict, *work_order;
	struct buf b = { 0 };

	if (r->status != BATCH_DONE || r->rows != 1) {
		respond_error(hook->http, 503, &hook->item.work_order_id,
			"may not have been stored: retry with this x-meta-work-order-id");
		return;
	}
	verdict = PQgetvalue(r->res, r->first, INTAKE_OUT_VERDICT);
	for (size_t i = 0; i < countof(refusals); i++) {
		if (strcmp(verdict, refusals[i].verdict) == 0) {
			respond_error(hook->http, refusals[i].status, NULL, refusals[i].error);
			return;
		}
	}
	hook->enqueued(hook->arg);
	work_order = PQgetvalue(r->res, r->first, INTAKE_OUT_WORK_ORDER_ID);
	buf_addf(&b, "{\"work_order_id\":\"%s\",\"run_id\":\"%s\"}", work_order,
		PQgetvalue(r->res, r->first, INTAKE_OUT_RUN_ID));
	respond(hook->http, 200, work_order, (struct slice){ b.p, b.n });
	buf_free(&b);
}

static void on_done(struct batch_item *item, const struct batch_result *r)
{
	struct hook *hook = container_of(item, struct hook, item);

	respond_result(hook, r);
	for (int i = 0; i < INTAKE_IN_COUNT; i++)
		value_clear(&hook->values[i]);
	memory_hold(hook->context->memory, MEMORY_BODIES, -(ptrdiff_t)hook->size);
	free(hook);
}

void intake_gone(void *user)
{
	struct hook *hook = user;

	hook->http = NULL;
}

/* What a job sees of the request: {"method", "path", "headers"}. */
static void add_request(struct buf *b, const struct ws_head *head)
{
	static const char *const names[] = { "content-type", "user-agent", "x-request-id" };
	const char *comma = "";

	buf_adds(b, "{\"method\":");
	buf_add_json(b, slice_of(head->method));
	buf_adds(b, ",\"path\":");
	buf_add_json(b, slice_of(head->path));
	buf_adds(b, ",\"headers\":{");
	for (size_t i = 0; i < countof(names); i++) {
		char *value = ws_header(head, names[i]);

		if (value != NULL && utf8_valid(value, strlen(value))) {
			buf_addf(b, "%s\"%s\":", comma, names[i]);
			buf_add_json(b, slice_of(value));
			comma = ",";
		}
		free(value);
	}
	buf_adds(b, "}}");
}

static bool parse_trigger(const struct ws_head *head, struct uuid *trigger)
{
	return uuid_parse(slice_of(head->path + strlen("/i/")), trigger);
}

static bool is_key_valid(const struct ws_head *head)
{
	char *key = ws_header(head, "Idempotency-Key");
	size_t n = key != NULL ? strlen(key) : 1;
	bool valid = n > 0 && n <= KEY_MAX && (key == NULL || utf8_valid(key, n));

	free(key);
	return valid;
}

/* The id for the work order: from the header if the sender repeats a request, else a new one. False
 * if the header has no UUID. */
static bool read_id(const struct ws_head *head, struct uuid *id)
{
	char *text = ws_header(head, id_header);
	bool ok = true;

	if (text == NULL)
		*id = uuid_new();
	else
		ok = uuid_parse(slice_of(text), id);
	free(text);
	return ok;
}

/* 0, or the status with which the request is refused. */
static int check_head(const struct context *context, const struct ws_head *head, size_t length,
	struct uuid *id, const char **why)
{
	struct uuid trigger;

	if (strcmp(head->method, "POST") != 0) {
		*why = "only POST is allowed";
		return 405;
	}
	if (!parse_trigger(head, &trigger)) {
		*why = "no such trigger";
		return 404;
	}
	if (length > (size_t)context->conf->max_body) {
		*why = "the body is too large";
		return 413;
	}
	if (!is_key_valid(head)) {
		*why = "the Idempotency-Key must have 1 to 255 bytes of UTF-8";
		return 400;
	}
	if (!read_id(head, id)) {
		*why = "x-meta-work-order-id is not a UUID";
		return 400;
	}
	if (!batch_lane_is_up(context->batch, LANE_WRITE)) {
		*why = "the database is not available; nothing was stored";
		return 503;
	}
	if (!memory_has_room(context->memory, MEMORY_BODIES, length)) {
		*why = "too many requests at once; nothing was stored";
		return 503;
	}
	return 0;
}

/* The request's key, owned by the caller; NULL if it has none. */
static char *read_key(const struct ws_head *head)
{
	static const char scheme[] = "Bearer ";
	char *header = ws_header(head, "Authorization"), *key = NULL;

	if (header != NULL && strncasecmp(header, scheme, strlen(scheme)) == 0)
		key = xstrdup(header + strlen(scheme) + strspn(header + strlen(scheme), " "));
	free(header);
	return key != NULL ? key : ws_header(head, "X-Api-Key");
}

/* The key's digest under a new salt for each request (intake.sql says why). */
static void add_proof(const struct ws_head *head, struct value *salt, struct value *proof)
{
	char *key = read_key(head), digest[65];
	struct buf salted = { 0 };
	uint8_t bytes[SALT];

	if (key == NULL)
		return;
	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		buf_addf(&salted, "%02x", bytes[i]);
	value_take(salt, &(struct buf){ xstrndup(salted.p, salted.n), salted.n, 0 });
	crypto_sha256_hex(key, strlen(key), digest);
	buf_adds(&salted, digest);
	crypto_sha256_hex(salted.p, salted.n, digest);
	value_take(proof, &(struct buf){ xstrdup(digest), strlen(digest), 0 });
	explicit_bzero(key, strlen(key));
	free(key);
	buf_free(&salted);
}

/* The columns after the proof. */
static void add_ids(struct value *v, const struct uuid *work_order)
{
	struct uuid run = uuid_new(), clip = uuid_new();

	value_uuid(v++, work_order);
	value_uuid(v++, &run);
	value_uuid(v++, &clip);
}

void intake_head(const struct context *context, struct ws_http *http, const struct ws_head *head,
	size_t length)
{
	const char *why;
	struct uuid id;
	int status = check_head(context, head, length, &id, &why);

	if (status != 0)
		respond_error(http, status, status == 503 ? &id : NULL, why);
}

void intake_request(const struct context *context, struct ws_http *http, const struct ws_head *head,
	struct buf *body, void (*enqueued)(void *arg), void *arg)
{
	struct uuid trigger, id;
	struct buf request = { 0 };
	struct slice document;
	struct hook *hook;
	char *key;

	if (!parse_trigger(head, &trigger) || !read_id(head, &id)) {
		/* cannot happen: intake_head has checked them */
		respond_error(http, 404, NULL, "no such trigger");
		return;
	}
	if (body->n == 0 ||
		jscan_document((struct slice){ body->p, body->n }, &document) != JSCAN_OK) {
		respond_error(http, 400, NULL, "the body is not valid JSON");
		return;
	}
	hook = xcalloc(1, sizeof(*hook));
	hook->http = http;
	hook->context = context;
	hook->size = sizeof(*hook) + 2 * body->n; /* a copy is sent to the database */
	hook->enqueued = enqueued;
	hook->arg = arg;
	hook->item.stmt = stmt_get("intake");
	hook->item.values = hook->values;
	hook->item.rows = 1;
	hook->item.done = on_done;
	hook->item.work_order_id = id;
	value_uuid(&hook->values[INTAKE_IN_TRIGGER_ID], &trigger);
	value_take(&hook->values[INTAKE_IN_BODY], body);
	add_request(&request, head);
	value_take(&hook->values[INTAKE_IN_REQUEST], &request);
	key = ws_header(head, "Idempotency-Key");
	if (key != NULL)
		value_take(&hook->values[INTAKE_IN_KEY], &(struct buf){ key, strlen(key), 0 });
	add_proof(head, &hook->values[INTAKE_IN_SALT], &hook->values[INTAKE_IN_PROOF]);
	add_ids(&hook->values[INTAKE_IN_WORK_ORDER_ID], &id);
	ws_http_set_user(http, hook);
	memory_hold(context->memory, MEMORY_BODIES, (ptrdiff_t)hook->size);
	batch_submit(context->batch, LANE_WRITE, &hook->item);
}

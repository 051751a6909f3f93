/*
 * The webhook. Invariant: 200 means that the work order is durable; whatever else happened, the
 * sender is told to try again, and its Idempotency-Key makes that safe.
 */
#include "intake.h"

#include "crypt.h"
#include "slice.h"
#include "stats.h"

#include <stdlib.h>

enum { COLUMNS = 6, KEY_MAX = 255, SALT = 16 };

struct hook {
	struct batch_item item;
	struct value values[COLUMNS];
	struct ws_http *http; /* NULL: the client is gone */
	struct chan_server *server;
	size_t size; /* what it counts against the memory bound */
	void (*enqueued)(void);
};

static void answer(struct ws_http *http, int status, struct slice body)
{
	const char *header = status == 503   ? "Retry-After: 5"
			     : status == 401 ? "WWW-Authenticate: Bearer"
			     : status == 405 ? "Allow: POST"
					     : NULL;

	stats_add(stats_seriesf(STATS_INTAKE, "status=\"%d\"", status), 1);
	if (http != NULL)
		ws_http_reply(http, status, "application/json", header, body);
}

static void refuse(struct ws_http *http, int status, const char *error)
{
	struct buf b = { 0 };

	buf_adds(&b, "{\"error\":");
	buf_add_json(&b, slice_of(error));
	buf_addc(&b, '}');
	answer(http, status, (struct slice){ b.p, b.n });
	buf_free(&b);
}

/* Columns: ord, verdict, work_order_id, run_id. */
static void reply(struct hook *hook, const struct batch_result *r)
{
	const char *verdict;
	struct buf b = { 0 };

	if (r->status != BATCH_DONE || r->rows != 1) {
		refuse(hook->http, 503, "not known to be stored: try again");
		return;
	}
	verdict = PQgetvalue(r->res, r->first, 1);
	if (strcmp(verdict, "not_found") == 0) {
		refuse(hook->http, 404, "no such trigger");
		return;
	}
	if (strcmp(verdict, "unauthorized") == 0) {
		refuse(hook->http, 401,
			"this trigger needs a key: Authorization: Bearer, or X-Api-Key");
		return;
	}
	if (strcmp(verdict, "no_edge") == 0) {
		refuse(hook->http, 422, "no enabled edge leaves this trigger");
		return;
	}
	hook->enqueued();
	buf_addf(&b, "{\"work_order_id\":\"%s\",\"run_id\":\"%s\"}",
		PQgetvalue(r->res, r->first, 2), PQgetvalue(r->res, r->first, 3));
	answer(hook->http, 200, (struct slice){ b.p, b.n });
	buf_free(&b);
}

static void on_done(struct batch_item *item, const struct batch_result *r)
{
	struct hook *hook = container_of(item, struct hook, item);

	reply(hook, r);
	for (int i = 0; i < COLUMNS; i++)
		value_clear(&hook->values[i]);
	chan_hold_bodies(hook->server, -(ptrdiff_t)hook->size);
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

static bool key_is_good(const struct ws_head *head)
{
	char *key = ws_header(head, "Idempotency-Key");
	size_t n = key != NULL ? strlen(key) : 1;
	bool good = n > 0 && n <= KEY_MAX && (key == NULL || utf8_valid(key, n));

	free(key);
	return good;
}

/* 0, or the status with which the request is refused. */
static int judge(const struct chan_server *server, const struct ws_head *head, size_t length,
	const char **why)
{
	struct uuid trigger;

	if (strcmp(head->method, "POST") != 0) {
		*why = "POST is what this path takes";
		return 405;
	}
	if (!parse_trigger(head, &trigger)) {
		*why = "no such trigger";
		return 404;
	}
	if (length > (size_t)server->conf->max_body) {
		*why = "the body is too large";
		return 413;
	}
	if (!key_is_good(head)) {
		*why = "an Idempotency-Key has 1 to 255 characters";
		return 400;
	}
	if (!batch_lane_is_up(server->batch, LANE_WRITE)) {
		*why = "the database is not available: nothing was stored";
		return 503;
	}
	if (!chan_body_fits(server, length)) {
		*why = "too many requests are under way: nothing was stored";
		return 503;
	}
	return 0;
}

/* The key that the request brings, owned by the caller; NULL if it brings none. */
static char *read_key(const struct ws_head *head)
{
	static const char scheme[] = "Bearer ";
	char *header = ws_header(head, "Authorization"), *key = NULL;

	if (header != NULL && strncasecmp(header, scheme, strlen(scheme)) == 0)
		key = xstrdup(header + strlen(scheme) + strspn(header + strlen(scheme), " "));
	free(header);
	return key != NULL ? key : ws_header(head, "X-Api-Key");
}

/* The key's digest under a salt of this request's own (intake.sql says why). */
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
	crypt_sha256_hex(key, strlen(key), digest);
	buf_adds(&salted, digest);
	crypt_sha256_hex(salted.p, salted.n, digest);
	value_take(proof, &(struct buf){ xstrdup(digest), strlen(digest), 0 });
	explicit_bzero(key, strlen(key));
	free(key);
	buf_free(&salted);
}

void intake_head(
	struct chan_server *server, struct ws_http *http, const struct ws_head *head, size_t length)
{
	const char *why;
	int status = judge(server, head, length, &why);

	if (status != 0)
		refuse(http, status, why);
}

void intake_request(struct chan_server *server, struct ws_http *http, const struct ws_head *head,
	struct buf *body, void (*enqueued)(void))
{
	struct uuid trigger;
	struct buf request = { 0 };
	struct slice document;
	struct hook *hook;
	char *key;

	if (!parse_trigger(head, &trigger)) { /* can't happen: the head was judged */
		refuse(http, 404, "no such trigger");
		return;
	}
	if (body->n == 0 ||
		slice_document((struct slice){ body->p, body->n }, &document) != SLICE_OK) {
		refuse(http, 400, "the body is not JSON");
		return;
	}
	hook = xcalloc(1, sizeof(*hook));
	hook->http = http;
	hook->server = server;
	hook->size = sizeof(*hook) + 2 * body->n; /* once more on its way to the database */
	hook->enqueued = enqueued;
	hook->item.stmt = stmt_get("intake");
	hook->item.values = hook->values;
	hook->item.rows = 1;
	hook->item.done = on_done;
	random_bytes(&hook->item.work_order_id, sizeof(hook->item.work_order_id)); /* any writer */
	value_uuid(&hook->values[0], &trigger);
	value_take(&hook->values[1], body);
	add_request(&request, head);
	value_take(&hook->values[2], &request);
	key = ws_header(head, "Idempotency-Key");
	if (key != NULL)
		value_take(&hook->values[3], &(struct buf){ key, strlen(key), 0 });
	add_proof(head, &hook->values[4], &hook->values[5]);
	ws_http_set_user(http, hook);
	chan_hold_bodies(server, (ptrdiff_t)hook->size);
	batch_submit(server->batch, LANE_WRITE, &hook->item);
}

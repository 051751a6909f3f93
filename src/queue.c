/*
 * worker:queue: workers offer capacity, claim runs and are told when there are some. Invariant: a
 * claim whose answer cannot be heard any more gives its runs back at once.
 */
#include "message.h"

#include <assert.h>
#include <stdlib.h>

enum { DEMAND_MAX = 64, QUEUES_MAX = 1024 };

/* Seconds: how far a run token's nbf lies back and its exp ahead. The real worker shuts down over a
 * token that its own clock calls invalid. */
enum { TOKEN_BACK = 86400, TOKEN_AHEAD = 7 * 86400, TOKEN_FOR_EVER = 10 * 365 * 86400 };

/* A claim's scalars, as text. */
struct claim {
	char queues[QUEUES_MAX], timeout[24], grace[24], lease[24];
};

static const char default_queues[] = "manual\x1f*";

static void check_join(struct req *req)
{
	struct chan *chan = req->chan;
	int64_t capacity;

	if (!slice_int(slice_get(req->frame.payload, "capacity"), &capacity) || capacity < 1)
		capacity = 1;
	chan->capacity = capacity < DEMAND_MAX ? (int)capacity : DEMAND_MAX;
	TAILQ_INSERT_TAIL(&req->server->queues, chan, queue_entry);
	req_joined(req, slice_of("{}"));
}

static void join_failed(struct req *req, const char *code)
{
	req_join_refused(req, code);
}

/* The list, joined by U+001F; anything malformed means the default. */
static void read_queues(struct slice list, char out[QUEUES_MAX])
{
	struct slice cursor = list, key, value;
	struct buf b = { 0 };
	bool fine = slice_type(list) == SLICE_ARRAY;

	while (fine && slice_next(&cursor, &key, &value)) {
		if (b.n > 0)
			buf_addc(&b, '\x1f');
		fine = slice_type(value) == SLICE_STRING && value.n > 2 && slice_decode(value, &b);
	}
	fine = fine && b.n > 0 && b.n < QUEUES_MAX;
	snprintf(out, QUEUES_MAX, "%s", fine ? b.p : default_queues);
	buf_free(&b);
}

static void check_claim(struct req *req)
{
	const struct conf *conf = req->server->conf;
	struct claim *claim;
	struct value *v;
	int64_t demand;

	if (!batch_lane_is_up(req->server->batch, LANE_CLAIM)) {
		req_ok(req, slice_of("{\"runs\":[]}"));
		return;
	}
	if (!slice_int(slice_get(req->frame.payload, "demand"), &demand) || demand < 1)
		demand = 1;
	req->own = claim = xmalloc(sizeof(*claim));
	read_queues(slice_get(req->frame.payload, "queues"), claim->queues);
	snprintf(claim->timeout, sizeof(claim->timeout), "%lld", (long long)conf->default_timeout);
	snprintf(claim->grace, sizeof(claim->grace), "%lld", (long long)conf->grace);
	snprintf(claim->lease, sizeof(claim->lease), "%lld", (long long)conf->lease);
	req_values(req, 1);
	req->item.scalars[0] = claim->queues;
	req->item.scalars[1] = claim->timeout;
	req->item.scalars[2] = claim->grace;
	req->item.scalars[3] = claim->lease;
	v = req->item.values;
	value_int(v++, demand < DEMAND_MAX ? (int32_t)demand : DEMAND_MAX);
	if (!field_text(slice_get(req->frame.payload, "worker_name"), v) || v->n == 0)
		value_text(v, slice_of(req->conn->worker_id));
	if (v->owned == NULL) /* the connection may go before the claim does */
		value_take(v, &(struct buf){ xstrndup(v->p, (size_t)v->n), (size_t)v->n, 0 });
	req_submit(req);
}

/* The columns of claim.sql. */
enum { COL_ORD, COL_ID, COL_PROJECT, COL_WORK_ORDER, COL_EPOCH, COL_DEADLINE };

static void add_token(
	const struct chan_server *server, const PGresult *res, int row, struct buf *out)
{
	int64_t now = now_us() / 1000000, window = server->conf->late_window / 1000;
	const char *id = PQgetvalue(res, row, COL_ID);
	json_t *claims = json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:i, s:s, s:s}", "iss",
		"Lightning", "id", id, "sub", json_sprintf("run:%s", id), "iat", (json_int_t)now,
		"nbf", (json_int_t)(now - TOKEN_BACK), "exp",
		(json_int_t)(atoll(PQgetvalue(res, row, COL_DEADLINE)) +
			     (window != 0 ? window : TOKEN_FOR_EVER) + TOKEN_AHEAD),
		"epoch", atoi(PQgetvalue(res, row, COL_EPOCH)), "project_id",
		PQgetvalue(res, row, COL_PROJECT), "work_order_id",
		PQgetvalue(res, row, COL_WORK_ORDER));

	assert(claims != NULL);
	jwt_sign(keys_signer(server->keys), claims, out);
	json_decref(claims);
}

static void reply_claim(struct req *req, const struct batch_result *r)
{
	struct buf b = { 0 };

	buf_adds(&b, "{\"runs\":[");
	for (int i = r->first; i < r->first + r->rows; i++) {
		buf_addf(&b, "%s{\"id\":\"%s\",\"token\":\"", i > r->first ? "," : "",
			PQgetvalue(r->res, i, COL_ID));
		add_token(req->server, r->res, i, &b);
		buf_adds(&b, "\"}");
	}
	buf_adds(&b, "]}");
	stats_add(stats_series(STATS_CLAIMED, NULL), r->rows);
	req_ok(req, (struct slice){ b.p, b.n });
	buf_free(&b);
}

/* Never an error: the worker would take it for one of its own. */
static void claim_failed(struct req *req, const char *code)
{
	(void)code;
	req_ok(req, slice_of("{\"runs\":[]}"));
}

static void on_released(struct batch_item *item, const struct batch_result *res)
{
	if (res->status != BATCH_DONE)
		log_warnx("a claim that nobody heard could not be given back at once");
	free(item->values);
	free(item);
}

static void orphan_claim(struct req *req, const struct batch_result *r)
{
	for (int i = r->first; i < r->first + r->rows; i++) {
		struct batch_item *item = xcalloc(1, sizeof(*item));

		item->stmt = stmt_get("release");
		item->rows = 1;
		item->values = xcalloc((size_t)item->stmt->columns, sizeof(*item->values));
		if (!uuid_parse(slice_of(PQgetvalue(r->res, i, COL_PROJECT)), &item->project_id) ||
			!uuid_parse(slice_of(PQgetvalue(r->res, i, COL_ID)), &item->run_id) ||
			!uuid_parse(slice_of(PQgetvalue(r->res, i, COL_WORK_ORDER)),
				&item->work_order_id))
			fatalx("claim: the database answered no ids");
		value_uuid(&item->values[0], &item->project_id);
		value_uuid(&item->values[1], &item->run_id);
		value_int(&item->values[2], atoi(PQgetvalue(r->res, i, COL_EPOCH)));
		item->locks = item->settles = true;
		item->done = on_released;
		batch_submit(req->server->batch, LANE_WRITE, item);
	}
	stats_add(stats_series(STATS_UNHEARD, NULL), r->rows);
}

const struct route queue_routes[] = {
	{
		.topic = "worker:queue",
		.event = "phx_join",
		.check = check_join,
		.failed = join_failed,
		.any_payload = true,
	},
	{
		.topic = "worker:queue",
		.event = "claim",
		.stmt = "claim",
		.lane = LANE_CLAIM,
		.check = check_claim,
		.reply = reply_claim,
		.orphan = orphan_claim,
		.failed = claim_failed,
		.any_payload = true,
	},
};
const int queue_nroutes = countof(queue_routes);

/* ---- work-available ---- */

/* The connection that listens. One look at a time: what is heard meanwhile makes one more look. */
static struct {
	struct db *db;
	struct chan_server *server;
	struct db_stmt stmt;
	bool looking, again;
} listener;

static int runs_held(const struct chan_conn *conn)
{
	const struct chan *chan;
	int n = 0;

	TAILQ_FOREACH (chan, &conn->chans, entry)
		n += chan->capacity == 0;
	return n;
}

static bool has_capacity(const struct chan *queue)
{
	return !queue->conn->closing && runs_held(queue->conn) < queue->capacity;
}

static void look(void)
{
	char limit[24];
	int idle = 0;
	struct chan *chan;

	if (listener.looking) {
		listener.again = true;
		return;
	}
	TAILQ_FOREACH (chan, &listener.server->queues, queue_entry)
		idle += has_capacity(chan);
	if (idle == 0 || !db_is_up(listener.db))
		return;
	snprintf(limit, sizeof(limit), "%d", idle);
	db_query(listener.db, listener.stmt.name,
		&(struct db_param){ limit, (int)strlen(limit), false }, 1);
	db_sync(listener.db);
	listener.looking = true;
}

/* Tells as many workers as there are runs, each time beginning with those that were not told the
 * last time. */
static void tell(int runs)
{
	struct chan_server *server = listener.server;
	struct chan *chan = TAILQ_FIRST(&server->queues), *next,
		    *last = TAILQ_LAST(&server->queues, queue_list);

	for (; runs > 0 && chan != NULL; chan = next) {
		next = chan == last ? NULL : TAILQ_NEXT(chan, queue_entry);
		if (!has_capacity(chan))
			continue;
		chan_push(chan, "work-available", "{}");
		TAILQ_REMOVE(&server->queues, chan, queue_entry);
		TAILQ_INSERT_TAIL(&server->queues, chan, queue_entry);
		runs--;
	}
}

static void on_up(struct db *db, void *arg)
{
	(void)db;
	(void)arg;
	listener.looking = listener.again = false;
	look();
}

static void on_down(struct db *db, void *arg, const char *why)
{
	(void)db;
	(void)arg;
	(void)why;
	listener.looking = false;
}

static void on_result(struct db *db, void *arg, PGresult *res)
{
	(void)db;
	(void)arg;
	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		tell(atoi(PQgetvalue(res, 0, 0)));
	PQclear(res);
}

static void on_synced(struct db *db, void *arg)
{
	(void)db;
	(void)arg;
	listener.looking = false;
	if (listener.again) {
		listener.again = false;
		look();
	}
}

static void on_notified(struct db *db, void *arg, const char *channel)
{
	(void)db;
	(void)arg;
	(void)channel;
	look();
}

static const struct db_ops listener_ops = {
	.up = on_up,
	.down = on_down,
	.result = on_result,
	.synced = on_synced,
	.notified = on_notified,
};

void queue_listen(struct chan_server *server, const char *conninfo)
{
	const struct stmt *count = stmt_get("waiting_count");

	listener.server = server;
	listener.stmt = (struct db_stmt){ count->name, count->sql };
	listener.db = db_open(server->loop, &(struct db_config){
						    .conninfo = conninfo,
						    .name = "listen",
						    .application_name = "interlockd",
						    .settings = batch_settings,
						    .stmts = &listener.stmt,
						    .nstmts = 1,
						    .listen = "interlock_waiting",
						    .ops = &listener_ops,
					    });
}

void queue_poll(void)
{
	look();
}

void queue_close(void (*on_closed)(void *arg), void *arg)
{
	db_close(listener.db, on_closed, arg);
}

/*
 * worker:queue: workers offer capacity, claim runs and are told when there are some. Invariant: a
 * claim whose answer cannot be heard any more gives its runs back at once.
 */
#include "message.h"

#include "sign.h"

#include <assert.h>
#include <stdlib.h>

enum {
	DEMAND_MAX = 64,
	QUEUES_MAX = 1024,
	TOLD_MS = 1000, /* who was told of a run has so long to ask for it */
};

/* Seconds: how far a run token's nbf lies back and its exp ahead. The real worker shuts down over a
 * token that its own clock calls invalid. */
enum { TOKEN_BACK = 86400, TOKEN_AHEAD = 7 * 86400, TOKEN_FOR_EVER = 10 * 365 * 86400 };

/* A run that a claim got. */
struct grant {
	struct uuid project_id, run_id, work_order_id;
	int epoch;
};

/* A claim: its scalars, as text; then, while they are being signed, the tokens of what it got. */
struct claim {
	char timeout[24], grace[24], lease[24];
	struct req *req;
	struct grant *grants;
	struct sign_job job;
	char queues[];
};

/* The connection that listens. One look at a time: what is heard meanwhile makes one more look.
 * nothing_waits: so said the last look, and nobody has said otherwise since; claims need not ask.
 */
static struct {
	struct db *db;
	struct chan_server *server;
	struct db_stmt stmt;
	bool looking, again, nothing_waits;
	int64_t looked_at; /* mono_ms() */
} listener;

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
static void read_queues(struct slice list, struct buf *out)
{
	struct slice cursor = list, key, value;
	bool fine = slice_type(list) == SLICE_ARRAY;

	while (fine && slice_next(&cursor, &key, &value)) {
		if (out->n > 0)
			buf_addc(out, '\x1f');
		fine = slice_type(value) == SLICE_STRING && value.n > 2 && slice_decode(value, out);
	}
	if (fine && out->n > 0 && out->n < QUEUES_MAX)
		return;
	out->n = 0;
	buf_adds(out, default_queues);
}

static struct claim *claim_new(struct slice queues)
{
	struct buf list = { 0 };
	struct claim *claim;

	read_queues(queues, &list);
	claim = xcalloc(1, sizeof(*claim) + list.n + 1);
	memcpy(claim->queues, list.p, list.n);
	buf_free(&list);
	return claim;
}

static void check_claim(struct req *req)
{
	const struct conf *conf = req->server->conf;
	struct claim *claim;
	struct value *v;
	int64_t demand;

	if (listener.nothing_waits || req->server->draining ||
		!batch_lane_is_up(req->server->batch, LANE_CLAIM)) {
		if (listener.nothing_waits)
			stats_add(stats_series(STATS_EMPTY_CLAIMS, NULL), 1);
		req->chan->told = 0;
		req_ok(req, slice_of("{\"runs\":[]}"));
		return;
	}
	if (!slice_int(slice_get(req->frame.payload, "demand"), &demand) || demand < 1)
		demand = 1;
	req->own = claim = claim_new(slice_get(req->frame.payload, "queues"));
	claim->req = req;
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

static json_t *token_claims(const struct chan_server *server, const PGresult *res, int row)
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
	return claims;
}

static struct grant read_grant(const PGresult *res, int row)
{
	struct grant g = { .epoch = atoi(PQgetvalue(res, row, COL_EPOCH)) };

	if (!uuid_parse(slice_of(PQgetvalue(res, row, COL_PROJECT)), &g.project_id) ||
		!uuid_parse(slice_of(PQgetvalue(res, row, COL_ID)), &g.run_id) ||
		!uuid_parse(slice_of(PQgetvalue(res, row, COL_WORK_ORDER)), &g.work_order_id))
		fatalx("claim: the database answered no ids");
	return g;
}

static void on_released(struct batch_item *item, const struct batch_result *res)
{
	if (res->status != BATCH_DONE)
		log_warnx("a claim that nobody heard could not be given back at once");
	listener.server->open_reqs--;
	free(item->values);
	free(item);
}

/* Counts as an open request, so that a shutdown waits for it. */
static void release(const struct grant *grant)
{
	struct batch_item *item = xcalloc(1, sizeof(*item));
	char run[UUID_TEXT];

	log_about(LOG_LEVEL_NOTICE,
		&(struct log_about){ .run = uuid_format(&grant->run_id, run),
			.event = "claim",
			.code = "unheard" },
		"claim: given back, its worker was gone before the answer");
	item->stmt = stmt_get("release");
	item->rows = 1;
	item->values = xcalloc((size_t)item->stmt->columns, sizeof(*item->values));
	item->project_id = grant->project_id;
	item->run_id = grant->run_id;
	item->work_order_id = grant->work_order_id;
	value_uuid(&item->values[0], &item->project_id);
	value_uuid(&item->values[1], &item->run_id);
	value_int(&item->values[2], grant->epoch);
	item->locks = item->settles = true;
	item->done = on_released;
	listener.server->open_reqs++;
	batch_submit(listener.server->batch, LANE_WRITE, item);
	stats_add(stats_series(STATS_UNHEARD, NULL), 1);
}

/* The worker went while the database was asked. */
static void orphan_claim(struct req *req, const struct batch_result *r)
{
	(void)req;
	for (int i = r->first; i < r->first + r->rows; i++) {
		struct grant grant = read_grant(r->res, i);

		release(&grant);
	}
}

/* Never an error: the worker would take it for one of its own. */
static void claim_failed(struct req *req, const char *code)
{
	(void)code;
	req_ok(req, slice_of("{\"runs\":[]}"));
}

static void answer_claim(const struct claim *claim)
{
	struct buf b = { 0 };
	char id[UUID_TEXT];

	buf_adds(&b, "{\"runs\":[");
	for (int i = 0; i < claim->job.n; i++) {
		uuid_format(&claim->grants[i].run_id, id);
		log_about(LOG_LEVEL_DEBUG,
			&(struct log_about){ .run = id,
				.worker = claim->req->conn->worker_id,
				.event = "claim" },
			"claim: handed out");
		buf_addf(&b, "%s{\"id\":\"%s\",\"token\":\"%s\"}", i > 0 ? "," : "", id,
			claim->job.tokens[i].text.p);
	}
	buf_adds(&b, "]}");
	stats_add(stats_series(STATS_CLAIMED, NULL), claim->job.n);
	req_ok(claim->req, (struct slice){ b.p, b.n });
	buf_free(&b);
}

/* The worker may have gone while the tokens were signed. */
static void on_signed(struct sign_job *job)
{
	struct claim *claim = container_of(job, struct claim, job);
	struct sign_token *tokens = job->tokens;
	struct grant *grants = claim->grants;
	int n = job->n;

	if (req_is_heard(claim->req)) {
		answer_claim(claim);
	} else {
		for (int i = 0; i < n; i++)
			release(&grants[i]);
		req_unheard(claim->req);
	}
	for (int i = 0; i < n; i++) {
		json_decref(tokens[i].claims);
		buf_free(&tokens[i].text);
	}
	free(tokens);
	free(grants);
}

static void reply_claim(struct req *req, const struct batch_result *r)
{
	struct claim *claim = req->own;
	struct sign_job *job = &claim->job;

	req->chan->told = 0;
	if (r->rows == 0) {
		req_ok(req, slice_of("{\"runs\":[]}"));
		return;
	}
	*job = (struct sign_job){
		.key = keys_signer(req->server->keys), .n = r->rows, .done = on_signed
	};
	job->tokens = xcalloc((size_t)job->n, sizeof(*job->tokens));
	claim->grants = xcalloc((size_t)job->n, sizeof(*claim->grants));
	for (int i = 0; i < job->n; i++) {
		claim->grants[i] = read_grant(r->res, r->first + i);
		job->tokens[i].claims = token_claims(req->server, r->res, r->first + i);
	}
	sign_start(req->server->loop, job);
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

static bool has_capacity(const struct chan *queue)
{
	return !queue->conn->closing && chan_runs_held(queue->conn) < queue->capacity;
}

static void look(void)
{
	char limit[24];
	int idle = 1;
	struct chan *chan;

	if (listener.looking) {
		listener.again = true;
		return;
	}
	TAILQ_FOREACH (chan, &listener.server->queues, queue_entry)
		idle += has_capacity(chan);
	if (!db_is_up(listener.db) || listener.server->draining)
		return;
	snprintf(limit, sizeof(limit), "%d", idle);
	db_query(listener.db, listener.stmt.name,
		&(struct db_param){ limit, (int)strlen(limit), false }, 1);
	db_sync(listener.db);
	listener.looking = true;
	listener.looked_at = mono_ms();
}

/* Those who were told and have had no answer to a claim since are on their way to as many runs. */
static int on_their_way(int64_t now)
{
	const struct chan *chan;
	int n = 0;

	TAILQ_FOREACH (chan, &listener.server->queues, queue_entry)
		n += chan->told != 0 && now - chan->told < TOLD_MS;
	return n;
}

/* Tells as many workers as there are runs, each time beginning with those that were not told the
 * last time. */
static void tell(int runs)
{
	struct chan_server *server = listener.server;
	int64_t now = mono_ms();
	struct chan *chan = TAILQ_FIRST(&server->queues), *next,
		    *last = TAILQ_LAST(&server->queues, queue_list);

	runs -= on_their_way(now);
	for (; runs > 0 && chan != NULL; chan = next) {
		next = chan == last ? NULL : TAILQ_NEXT(chan, queue_entry);
		if (!has_capacity(chan))
			continue;
		chan_push(chan, "work-available", "{}");
		chan->told = now;
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
	listener.looking = listener.nothing_waits = false;
}

static void on_result(struct db *db, void *arg, PGresult *res)
{
	(void)db;
	(void)arg;
	if (PQresultStatus(res) == PGRES_TUPLES_OK) {
		int waiting = atoi(PQgetvalue(res, 0, 0));

		/* What was committed after this look is notified after it. */
		listener.nothing_waits = waiting == 0 && !listener.again;
		tell(waiting);
	}
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

void queue_heard(void)
{
	listener.nothing_waits = false;
	look();
}

static void on_notified(struct db *db, void *arg, const char *channel)
{
	(void)db;
	(void)arg;
	(void)channel;
	queue_heard();
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

/* A look without an answer says nothing, and after a while its connection is given up. */
void queue_poll(void)
{
	int64_t patience = listener.server->conf->patience;

	if (listener.looking) {
		listener.nothing_waits = false;
		if (db_is_up(listener.db) && mono_ms() - listener.looked_at > patience)
			db_reset(listener.db, "no answer from the database");
	}
	look();
}

void queue_close(void (*on_closed)(void *arg), void *arg)
{
	db_close(listener.db, on_closed, arg);
}

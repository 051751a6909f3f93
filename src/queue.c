/*
 * worker:queue: workers offer capacity and claim runs. Invariant: a claim whose answer cannot be
 * heard any more gives its runs back at once.
 */
#include "message.h"

#include "sign.h"
#include "waiting.h"

#include <assert.h>
#include <stdlib.h>

enum {
	DEMAND_MAX = 64,
	QUEUES_MAX = 1024,
};

/* Seconds: how far a run token's nbf lies back and its exp ahead. The real worker shuts down over a
 * token that its own clock calls invalid. */
enum { TOKEN_BACK = 86400, TOKEN_AHEAD = 7 * 86400, TOKEN_FOR_EVER = 10 * 365 * 86400 };

/* A run that a claim got. */
struct grant {
	struct uuid project_id, run_id, work_order_id, claim;
	int epoch;
};

/* Why a run goes back, and what is said of it. */
enum giving_why { GIVING_UNHEARD, GIVING_LOST, GIVING_LEFT };
static const char *const giving_texts[] = {
	[GIVING_UNHEARD] = "its worker was gone before the answer",
	[GIVING_LOST] = "its worker is back and had not heard the answer",
	[GIVING_LEFT] = "its worker left the channel before the start",
};

/* A run on its way back. */
struct giving {
	struct batch_item item;
	struct chan_server *server;
	enum giving_why why;
	size_t size;
	TAILQ_ENTRY(giving) entry;
	int64_t due; /* mono_ms(), of what is delayed */
};

/* For a worker that is back to join what it has claimed. */
enum { JOIN_MS = 1000 };
static TAILQ_HEAD(giving_list, giving) delayed = TAILQ_HEAD_INITIALIZER(delayed);

/* A claim: its scalars, as text; then, while they are being signed, the tokens of what it got. */
struct claim {
	char timeout[24], grace[24], lease[24];
	struct req *req;
	struct grant *grants;
	struct sign_job job;
	char queues[];
};

/* The columns of claim.sql; lost_claims.sql has the first ones. */
enum { COL_ORD, COL_ID, COL_PROJECT, COL_WORK_ORDER, COL_EPOCH, COL_CLAIM, COL_DEADLINE };

static struct grant read_grant(const PGresult *res, int row)
{
	struct grant g = { .epoch = atoi(PQgetvalue(res, row, COL_EPOCH)) };

	if (!uuid_parse(slice_of(PQgetvalue(res, row, COL_PROJECT)), &g.project_id) ||
		!uuid_parse(slice_of(PQgetvalue(res, row, COL_ID)), &g.run_id) ||
		!uuid_parse(slice_of(PQgetvalue(res, row, COL_WORK_ORDER)), &g.work_order_id) ||
		!uuid_parse(slice_of(PQgetvalue(res, row, COL_CLAIM)), &g.claim))
		fatalx("claim: the database answered no ids");
	return g;
}

static void on_given_back(struct batch_item *item, const struct batch_result *res)
{
	struct giving *giving = container_of(item, struct giving, item);
	char run[UUID_TEXT];

	if (res->status != BATCH_DONE) {
		log_warnx("a claim could not be given back at once");
	} else if (res->rows > 0) {
		log_about(LOG_LEVEL_NOTICE,
			&(struct log_about){ .run = uuid_format(&item->run_id, run),
				.event = "claim",
				.code = giving->why == GIVING_LEFT ? "left" : "unheard" },
			"claim: given back, %s", giving_texts[giving->why]);
		if (giving->why == GIVING_LEFT)
			stats_add(stats_seriesf(STATS_GIVEN_BACK, "reason=\"left\""), 1);
		else if (giving->why == GIVING_LOST)
			stats_add(stats_series(STATS_UNHEARD, NULL), 1);
	}
	giving->server->open_reqs--;
	chan_account(giving->server, -(ptrdiff_t)giving->size);
	free(item->values);
	free(giving);
}

static struct giving *giving_new(
	struct chan_server *server, const struct grant *grant, enum giving_why why)
{
	struct giving *giving = xcalloc(1, sizeof(*giving));
	struct batch_item *item = &giving->item;

	giving->server = server;
	giving->why = why;
	item->stmt = stmt_get("release");
	item->rows = 1;
	item->values = xcalloc((size_t)item->stmt->columns, sizeof(*item->values));
	item->project_id = grant->project_id;
	item->run_id = grant->run_id;
	item->work_order_id = grant->work_order_id;
	value_uuid(&item->values[0], &item->project_id);
	value_uuid(&item->values[1], &item->run_id);
	value_int(&item->values[2], grant->epoch);
	value_uuid(&item->values[3], &grant->claim);
	value_bool(&item->values[4], why == GIVING_LEFT);
	item->locks = item->settles = true;
	item->done = on_given_back;
	giving->size = sizeof(*giving) + (size_t)item->stmt->columns * sizeof(*item->values);
	chan_account(server, (ptrdiff_t)giving->size);
	return giving;
}

/* Counts as an open request, so that a shutdown waits for it. */
static void giving_submit(struct giving *giving)
{
	giving->server->open_reqs++;
	batch_submit(giving->server->batch, LANE_WRITE, &giving->item);
}

static void give_back(struct chan_server *server, const struct grant *grant, enum giving_why why)
{
	if (why == GIVING_UNHEARD)
		stats_add(stats_series(STATS_UNHEARD, NULL), 1);
	giving_submit(giving_new(server, grant, why));
}

/* A start that is on its way is stored first, and then nothing is given back. */
void queue_left(struct chan *chan)
{
	const struct grant grant = {
		.project_id = chan->project_id,
		.run_id = chan->run_id,
		.work_order_id = chan->work_order_id,
		.claim = chan->claim,
		.epoch = chan->epoch,
	};

	give_back(chan->conn->server, &grant, GIVING_LEFT);
}

void queue_give_back(void)
{
	struct giving *giving;

	while ((giving = TAILQ_FIRST(&delayed)) != NULL && giving->due <= mono_ms()) {
		TAILQ_REMOVE(&delayed, giving, entry);
		giving_submit(giving);
	}
}

static const char default_queues[] = "manual\x1f*";

/* The client ignores what it does not wait for. Before the answer to the join, upon which it sends
 * what it has kept back, under new refs, and forgets the old ones. */
static void open_queue(struct req *req)
{
	struct chan *chan = req->chan;
	int64_t capacity;

	req_answer_below(req, slice_of("{\"runs\":[]}"), "claim");

	if (!slice_int(slice_get(req->frame.payload, "capacity"), &capacity) || capacity < 1)
		capacity = 1;
	chan->capacity = capacity < DEMAND_MAX ? (int)capacity : DEMAND_MAX;
	TAILQ_INSERT_TAIL(&req->server->queues, chan, queue_entry);
	req_joined(req, slice_of("{}"));
}

static void check_join(struct req *req)
{
	char *worker = xstrdup(req->conn->worker_id);

	req_values(req, 1);
	value_take(&req->item.values[0], &(struct buf){ worker, strlen(worker), 0 });
	if (batch_lane_is_up(req->server->batch, LANE_READ))
		req_submit(req);
	else
		open_queue(req);
}

/* Gives back what its lost claims took, a moment later: what it heard of after all, it joins in the
 * same breath as the queue. */
static void reply_join(struct req *req, const struct batch_result *r)
{
	for (int i = r->first; i < r->first + r->rows; i++) {
		struct grant grant = read_grant(r->res, i);
		struct giving *giving = giving_new(req->server, &grant, GIVING_LOST);

		giving->due = mono_ms() + JOIN_MS;
		TAILQ_INSERT_TAIL(&delayed, giving, entry);
	}
	open_queue(req);
}

static void join_failed(struct req *req, const char *code)
{
	(void)code;
	open_queue(req);
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

	if (waiting_none() || req->server->draining ||
		!batch_lane_is_up(req->server->batch, LANE_CLAIM)) {
		if (waiting_none())
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

static json_t *token_claims(const struct chan_server *server, const PGresult *res, int row)
{
	int64_t now = now_us() / 1000000, window = server->conf->late_window / 1000;
	const char *id = PQgetvalue(res, row, COL_ID);
	json_t *claims = json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:i, s:s, s:s, s:s}", "iss",
		"Lightning", "id", id, "sub", json_sprintf("run:%s", id), "iat", (json_int_t)now,
		"nbf", (json_int_t)(now - TOKEN_BACK), "exp",
		(json_int_t)(atoll(PQgetvalue(res, row, COL_DEADLINE)) +
			     (window != 0 ? window : TOKEN_FOR_EVER) + TOKEN_AHEAD),
		"epoch", atoi(PQgetvalue(res, row, COL_EPOCH)), "claim",
		PQgetvalue(res, row, COL_CLAIM), "project_id", PQgetvalue(res, row, COL_PROJECT),
		"work_order_id", PQgetvalue(res, row, COL_WORK_ORDER));

	assert(claims != NULL);
	return claims;
}

/* The worker went while the database was asked. */
static void orphan_claim(struct req *req, const struct batch_result *r)
{
	for (int i = r->first; i < r->first + r->rows; i++) {
		struct grant grant = read_grant(r->res, i);

		give_back(req->server, &grant, GIVING_UNHEARD);
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
			give_back(claim->req->server, &grants[i], GIVING_UNHEARD);
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
		.stmt = "lost_claims",
		.lane = LANE_READ,
		.check = check_join,
		.reply = reply_join,
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

/*
 * worker:queue: workers offer capacity and claim runs. Invariant: a claim whose answer cannot be
 * delivered releases its runs at once.
 */
#include "run_channel.h"

#include "lib/logger.h"
#include "lib/metrics.h"
#include "lib/signer.h"
#include "services/listener.h"
#include "sql_columns.h"

#include <assert.h>
#include <stdlib.h>

enum {
	MAX_DEMAND = 64,
	QUEUES_MAX = 1024,
};

/* Seconds: how far a run token's nbf lies back and its exp ahead. The real worker shuts down over a
 * token that its own clock calls invalid. */
enum { TOKEN_BACK = 86400, TOKEN_AHEAD = 7 * 86400, TOKEN_FOREVER = 10 * 365 * 86400 };

/* A worker that was notified of runs has so long to claim them. */
enum { NOTIFIED_MS = 1000 };

struct queue_channel {
	struct channel *channel;
	TAILQ_ENTRY(queue_channel) entry; /* of the queue's; of none before it is joined */
	int capacity;
	int64_t notified_at; /* mono_ms(), when it was notified of runs; 0: it has had a reply to a
				claim since */
};

/* Why a run goes back, and what the log says of it. */
enum release_reason { RELEASE_CLIENT_GONE, RELEASE_UNDELIVERED, RELEASE_LEFT };
static const char *const release_reasons[] = {
	[RELEASE_CLIENT_GONE] = "the worker disconnected before the reply",
	[RELEASE_UNDELIVERED] = "its worker is back and had not received the reply",
	[RELEASE_LEFT] = "the worker left the topic before the start",
};

/* A run on its way back. */
struct pending_release {
	struct batch_item item;
	struct queue *queue;
	enum release_reason why;
	struct value values[RELEASE_IN_COUNT];
	TAILQ_ENTRY(pending_release) entry;
	int64_t due; /* mono_ms(), of what is delayed */
};

/* For a worker that is back to join what it has claimed. */
enum { JOIN_MS = 1000 };

struct queue {
	const struct context *context;
	const struct listener *listener;
	const struct sessions *sessions;
	int open;
	TAILQ_HEAD(queue_list, queue_channel) channels; /* those to be notified next first */
	TAILQ_HEAD(, pending_release) delayed;
};

static struct queue *queue_of(const struct request *request)
{
	return request_protocol(request);
}

static const struct conf *conf_of(const struct request *request)
{
	return request_context(request)->conf;
}

/* A claim: its scalars, as text; then, while they are being signed, the tokens of what it got. */
struct claim {
	char timeout[24], grace[24], lease[24];
	struct request *request;
	struct run_claim *grants;
	struct signer_job job;
	char queues[];
};

/* The columns of claim.sql; lost_claims.sql has the first ones. */

static struct run_claim read_grant(const PGresult *res, int row)
{
	struct run_claim g = { .epoch = atoi(PQgetvalue(res, row, CLAIM_OUT_CLAIM_EPOCH)) };

	if (!uuid_parse(slice_of(PQgetvalue(res, row, CLAIM_OUT_PROJECT_ID)), &g.project_id) ||
		!uuid_parse(slice_of(PQgetvalue(res, row, CLAIM_OUT_ID)), &g.run_id) ||
		!uuid_parse(slice_of(PQgetvalue(res, row, CLAIM_OUT_WORK_ORDER_ID)),
			&g.work_order_id) ||
		!uuid_parse(slice_of(PQgetvalue(res, row, CLAIM_OUT_CLAIM_ID)), &g.claim))
		fatalx("claim: the database answered no ids");
	return g;
}

static void release_free(struct pending_release *pending_release)
{
	memory_hold(pending_release->queue->context->memory, MEMORY_MESSAGES,
		-(ptrdiff_t)sizeof(*pending_release));
	free(pending_release);
}

static void on_released(struct batch_item *item, const struct batch_result *res)
{
	struct pending_release *pending_release = container_of(item, struct pending_release, item);
	char run[UUID_TEXT];

	if (res->status != BATCH_DONE) {
		log_warnx("a claim could not be released at once");
	} else if (res->rows > 0) {
		log_about(LOG_LEVEL_NOTICE,
			&(struct log_about){ .run = uuid_format(&item->run_id, run),
				.event = "claim",
				.code = pending_release->why == RELEASE_LEFT ? "left"
									     : "undelivered" },
			"claim: released: %s", release_reasons[pending_release->why]);
		if (pending_release->why == RELEASE_LEFT)
			metrics_add(metrics_seriesf(METRIC_RETURNED_RUNS, "reason=\"left\""), 1);
		else if (pending_release->why == RELEASE_UNDELIVERED)
			metrics_add(metrics_series(METRIC_UNDELIVERED_CLAIMS, NULL), 1);
	}
	pending_release->queue->open--;
	release_free(pending_release);
}

static struct pending_release *release_new(
	struct queue *queue, const struct run_claim *grant, enum release_reason why)
{
	struct pending_release *pending_release = xcalloc(1, sizeof(*pending_release));
	struct batch_item *item = &pending_release->item;

	pending_release->queue = queue;
	pending_release->why = why;
	item->stmt = stmt_get("release");
	item->rows = 1;
	item->values = pending_release->values;
	item->project_id = grant->project_id;
	item->run_id = grant->run_id;
	item->work_order_id = grant->work_order_id;
	run_claim_bind(grant, item->values);
	value_bool(&item->values[RELEASE_IN_LEFT], why == RELEASE_LEFT);
	item->locks = item->settles = true;
	item->done = on_released;
	memory_hold(queue->context->memory, MEMORY_MESSAGES, sizeof(*pending_release));
	return pending_release;
}

static void release_submit(struct pending_release *pending_release)
{
	struct queue *queue = pending_release->queue;

	queue->open++;
	batch_submit(queue->context->batch, LANE_WRITE, &pending_release->item);
}

static void release_claim(
	struct queue *queue, const struct run_claim *grant, enum release_reason why)
{
	if (why == RELEASE_CLIENT_GONE)
		metrics_add(metrics_series(METRIC_UNDELIVERED_CLAIMS, NULL), 1);
	release_submit(release_new(queue, grant, why));
}

/* A start that is on its way is stored first, and then nothing is given back. */
void queue_release_left(struct queue *queue, const struct run_claim *claim)
{
	release_claim(queue, claim, RELEASE_LEFT);
}

void queue_add_open(struct queue *queue, int n)
{
	queue->open += n;
}

int queue_open(const struct queue *queue)
{
	return queue->open;
}

void queue_release_due(void *arg)
{
	struct queue *queue = arg;
	struct pending_release *pending_release;

	while ((pending_release = TAILQ_FIRST(&queue->delayed)) != NULL &&
		pending_release->due <= mono_ms()) {
		TAILQ_REMOVE(&queue->delayed, pending_release, entry);
		release_submit(pending_release);
	}
}

/* ---- the channel ---- */

static struct queue_channel *queue_channel(const struct channel *channel)
{
	return channel_data(channel);
}

static void end_channel(struct channel *channel)
{
	struct queue_channel *worker = queue_channel(channel);
	struct queue *queue = channel_protocol(channel);

	if (worker->channel != NULL)
		TAILQ_REMOVE(&queue->channels, worker, entry);
}

/* Has it fewer runs than it offered to execute? */
static bool has_capacity(const struct queue_channel *worker)
{
	const struct session *session = channel_session(worker->channel);

	return !session_is_closing(session) && session_run_count(session) < worker->capacity;
}

static bool claim_expected(const struct queue_channel *worker)
{
	return worker->notified_at != 0 && mono_ms() - worker->notified_at < NOTIFIED_MS;
}

static void notify(struct queue_channel *worker)
{
	channel_push(worker->channel, "work-available", "{}");
	worker->notified_at = mono_ms();
}

/* A worker with capacity is notified, so that it claims now and learns that there are no runs,
 * rather than while its socket is being closed: a claim without an answer costs it a slot for an
 * hour. */
static void on_drain(struct channel *channel)
{
	if (has_capacity(queue_channel(channel)))
		notify(queue_channel(channel));
}

static bool message_expected(const struct channel *channel)
{
	return has_capacity(queue_channel(channel)) && claim_expected(queue_channel(channel));
}

static int capacity_of(const struct channel *channel)
{
	return queue_channel(channel)->capacity;
}

const struct channel_kind queue_kind = {
	.topic = "worker:queue",
	.size = sizeof(struct queue_channel),
	.end = end_channel,
	.on_drain = on_drain,
	.message_expected = message_expected,
	.capacity = capacity_of,
};

/* ---- all of them ---- */

struct queue *queue_new(const struct context *context)
{
	struct queue *queue = xcalloc(1, sizeof(*queue));

	queue->context = context;
	TAILQ_INIT(&queue->channels);
	TAILQ_INIT(&queue->delayed);
	return queue;
}

void queue_free(struct queue *queue)
{
	struct pending_release *pending_release;

	while ((pending_release = TAILQ_FIRST(&queue->delayed)) != NULL) {
		TAILQ_REMOVE(&queue->delayed, pending_release, entry);
		release_free(pending_release);
	}
	free(queue);
}

void queue_connect(
	struct queue *queue, const struct listener *listener, const struct sessions *sessions)
{
	queue->listener = listener;
	queue->sessions = sessions;
}

int queue_capacity(void *arg)
{
	const struct queue *queue = arg;
	const struct queue_channel *worker;
	int n = 0;

	if (sessions_are_draining(queue->sessions))
		return -1;
	if (memory_plans_are_full(queue->context->memory))
		return 0;
	TAILQ_FOREACH (worker, &queue->channels, entry)
		n += has_capacity(worker);
	return n;
}

/* Begins with those that were not notified the last time. Workers that were notified and have had
 * no reply to a claim since: so many runs are spoken for. */
void queue_offer(void *arg, int runs)
{
	struct queue *queue = arg;
	struct queue_channel *worker, *next, *last = TAILQ_LAST(&queue->channels, queue_list);

	TAILQ_FOREACH (worker, &queue->channels, entry)
		runs -= claim_expected(worker);
	for (worker = TAILQ_FIRST(&queue->channels); runs > 0 && worker != NULL; worker = next) {
		next = worker == last ? NULL : TAILQ_NEXT(worker, entry);
		if (!has_capacity(worker))
			continue;
		notify(worker);
		TAILQ_REMOVE(&queue->channels, worker, entry);
		TAILQ_INSERT_TAIL(&queue->channels, worker, entry);
		runs--;
	}
}

static const char default_queues[] = "manual\x1f*";

/* The client ignores what it does not wait for. Before the answer to the join, upon which it sends
 * what it has kept back, under new refs, and forgets the old ones. */
static void open_queue(struct request *request)
{
	struct queue_channel *worker = queue_channel(request_channel(request));
	int64_t capacity;

	resend_answer_below(request, slice_of("{\"runs\":[]}"), "claim");

	if (!jscan_int(request_member(request, "capacity"), &capacity) || capacity < 1)
		capacity = 1;
	worker->channel = request_channel(request);
	worker->capacity = capacity < MAX_DEMAND ? (int)capacity : MAX_DEMAND;
	TAILQ_INSERT_TAIL(&queue_of(request)->channels, worker, entry);
	channel_accept_join(request, slice_of("{}"));
}

static void check_join(struct request *request)
{
	char *worker = xstrdup(request_worker(request));

	request_alloc_params(request, 1);
	value_take(&request_values(request)[LOST_CLAIMS_IN_WORKER],
		&(struct buf){ worker, strlen(worker), 0 });
	if (batch_lane_is_up(request_context(request)->batch, LANE_READ))
		request_submit(request);
	else
		open_queue(request);
}

/* Releases what its lost claims took, a moment later: if a reply arrived after all, the worker
 * joins those runs together with the queue. */
static void reply_join(struct request *request, const struct batch_result *r)
{
	for (int i = r->first; i < r->first + r->rows; i++) {
		struct run_claim grant = read_grant(r->res, i);
		struct pending_release *pending_release =
			release_new(queue_of(request), &grant, RELEASE_UNDELIVERED);

		pending_release->due = mono_ms() + JOIN_MS;
		TAILQ_INSERT_TAIL(&queue_of(request)->delayed, pending_release, entry);
	}
	open_queue(request);
}

static void join_failed(struct request *request, const char *code)
{
	(void)code;
	open_queue(request);
}

/* The list, joined by U+001F; anything malformed means the default. */
static void read_queues(struct slice list, struct buf *out)
{
	struct slice cursor = list, key, value;
	bool fine = jscan_type(list) == JSCAN_ARRAY;

	while (fine && jscan_next(&cursor, &key, &value)) {
		if (out->n > 0)
			buf_addc(out, '\x1f');
		fine = jscan_type(value) == JSCAN_STRING && value.n > 2 && jscan_decode(value, out);
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

static void check_claim(struct request *request)
{
	const struct conf *conf = conf_of(request);
	const struct queue *queue = queue_of(request);
	bool nothing_waits = listener_nothing_waits(queue->listener);
	struct claim *claim;
	struct value *v;
	int64_t demand;

	if (nothing_waits || sessions_are_draining(queue->sessions) ||
		memory_plans_are_full(queue->context->memory) ||
		!batch_lane_is_up(queue->context->batch, LANE_CLAIM)) {
		if (nothing_waits)
			metrics_add(metrics_series(METRIC_EMPTY_CLAIMS, NULL), 1);
		queue_channel(request_channel(request))->notified_at = 0;
		reply_ok(request, slice_of("{\"runs\":[]}"));
		return;
	}
	if (!jscan_int(request_member(request, "demand"), &demand) || demand < 1)
		demand = 1;
	claim = claim_new(request_member(request, "queues"));
	claim->request = request;
	request_set_data(request, claim, NULL);
	snprintf(claim->timeout, sizeof(claim->timeout), "%lld", (long long)conf->default_timeout);
	snprintf(claim->grace, sizeof(claim->grace), "%lld", (long long)conf->grace);
	snprintf(claim->lease, sizeof(claim->lease), "%lld", (long long)conf->lease);
	request_alloc_params(request, 1);
	request_set_scalars(request,
		(const char *const[]){ claim->queues, claim->timeout, claim->grace, claim->lease },
		4);
	v = request_values(request);
	value_int(v++, demand < MAX_DEMAND ? (int32_t)demand : MAX_DEMAND);
	if (!field_text(request_member(request, "worker_name"), v) || v->n == 0)
		value_text(v, slice_of(request_worker(request)));
	if (v->owned == NULL) /* the connection may go before the claim does */
		value_take(v, &(struct buf){ xstrndup(v->p, (size_t)v->n), (size_t)v->n, 0 });
	request_submit(request);
}

static json_t *token_claims(const struct conf *conf, const PGresult *res, int row)
{
	int64_t now = now_us() / 1000000, window = conf->late_window / 1000;
	const char *id = PQgetvalue(res, row, CLAIM_OUT_ID);
	json_t *claims = json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:i, s:s, s:s, s:s}", "iss",
		"Lightning", "id", id, "sub", json_sprintf("run:%s", id), "iat", (json_int_t)now,
		"nbf", (json_int_t)(now - TOKEN_BACK), "exp",
		(json_int_t)(atoll(PQgetvalue(res, row, CLAIM_OUT_DEADLINE_S)) +
			     (window != 0 ? window : TOKEN_FOREVER) + TOKEN_AHEAD),
		"epoch", atoi(PQgetvalue(res, row, CLAIM_OUT_CLAIM_EPOCH)), "claim",
		PQgetvalue(res, row, CLAIM_OUT_CLAIM_ID), "project_id",
		PQgetvalue(res, row, CLAIM_OUT_PROJECT_ID), "work_order_id",
		PQgetvalue(res, row, CLAIM_OUT_WORK_ORDER_ID));

	assert(claims != NULL);
	return claims;
}

/* The worker went while the database was asked. */
static void claim_client_gone(struct request *request, const struct batch_result *r)
{
	for (int i = r->first; i < r->first + r->rows; i++) {
		struct run_claim grant = read_grant(r->res, i);

		release_claim(queue_of(request), &grant, RELEASE_CLIENT_GONE);
	}
}

/* Never an error: the worker would take it for one of its own. */
static void claim_failed(struct request *request, const char *code)
{
	(void)code;
	reply_ok(request, slice_of("{\"runs\":[]}"));
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
				.worker = request_worker(claim->request),
				.event = "claim" },
			"claim: delivered");
		buf_addf(&b, "%s{\"id\":\"%s\",\"token\":\"%s\"}", i > 0 ? "," : "", id,
			claim->job.tokens[i].text.p);
	}
	buf_adds(&b, "]}");
	metrics_add(metrics_series(METRIC_CLAIMED_RUNS, NULL), claim->job.n);
	reply_ok(claim->request, (struct slice){ b.p, b.n });
	buf_free(&b);
}

/* The worker may have gone while the tokens were signed. */
static void on_signed(struct signer_job *job)
{
	struct claim *claim = container_of(job, struct claim, job);
	struct signer_token *tokens = job->tokens;
	struct run_claim *grants = claim->grants;
	int n = job->n;

	if (request_has_client(claim->request)) {
		answer_claim(claim);
	} else {
		for (int i = 0; i < n; i++)
			release_claim(queue_of(claim->request), &grants[i], RELEASE_CLIENT_GONE);
		request_client_gone(claim->request);
	}
	for (int i = 0; i < n; i++) {
		json_decref(tokens[i].claims);
		buf_free(&tokens[i].text);
	}
	free(tokens);
	free(grants);
}

static void reply_claim(struct request *request, const struct batch_result *r)
{
	struct claim *claim = request_data(request);
	struct signer_job *job = &claim->job;

	queue_channel(request_channel(request))->notified_at = 0;
	if (r->rows == 0) {
		reply_ok(request, slice_of("{\"runs\":[]}"));
		return;
	}
	*job = (struct signer_job){ .key = keyring_signing_key(request_context(request)->keyring),
		.n = r->rows,
		.done = on_signed };
	job->tokens = xcalloc((size_t)job->n, sizeof(*job->tokens));
	claim->grants = xcalloc((size_t)job->n, sizeof(*claim->grants));
	for (int i = 0; i < job->n; i++) {
		claim->grants[i] = read_grant(r->res, r->first + i);
		job->tokens[i].claims = token_claims(conf_of(request), r->res, r->first + i);
	}
	signer_start(request_context(request)->loop, job);
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
		.accepts_any_payload = true,
	},
	{
		.topic = "worker:queue",
		.event = "claim",
		.stmt = "claim",
		.lane = LANE_CLAIM,
		.check = check_claim,
		.reply = reply_claim,
		.on_client_gone = claim_client_gone,
		.failed = claim_failed,
		.accepts_any_payload = true,
	},
	ROUTES_END,
};

const struct route *const protocol_routes[] = { queue_routes, run_routes, step_routes, log_routes,
	plan_routes, NULL };
const struct channel_kind *const protocol_kinds[] = { &queue_kind, &run_kind, NULL };

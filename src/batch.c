/*
 * Queues, connections and outcomes. Invariants: an item is either queued or in flight and is done
 * exactly once; the queue is also the log of what must be sent again when the database comes back,
 * in order.
 */
#include "batch_private.h"

#include <stdlib.h>

/* On every connection. Plans do not change with the tables' sizes; hash joins stay, for without
 * them joins between CTEs become quadratic. And no backend outlives its coordinator for long: one
 * that has half a batch, or waits for a lock, would keep the work orders locked that the same
 * messages, sent again over another connection, wait for. */
const char *const batch_settings[BATCH_SETTINGS] = { "jit", "off", "enable_seqscan", "off",
	"plan_cache_mode", "force_generic_plan", "timezone", "UTC",
	"client_connection_check_interval", "2s", "tcp_keepalives_idle", "5",
	"tcp_keepalives_interval", "5", "tcp_keepalives_count", "2", "tcp_user_timeout", "15s",
	NULL };

struct batch {
	struct batch_config config;
	const char *settings[BATCH_SETTINGS + 2];
	struct lane_conn *lanes; /* the writers first, then one of each other kind */
	int nlanes, writers;
	uv_timer_t patience;
	uv_timer_t soon; /* fires once when something was submitted */
	bool told_up;
	int open;
	void (*on_closed)(void *arg);
	void *closed_arg;
	struct series *stat_resent;
};

static const char *const lane_names[LANES] = { "write", "read", "claim", "body" };

/* What a failed batch of one means, by SQLSTATE (PostgreSQL's appendix A). */
enum remedy { AGAIN, WAIT, ANSWER };

static const struct {
	const char *prefix;
	enum remedy remedy;
} remedies[] = {
	{ "40", AGAIN },    /* deadlock, serialization */
	{ "23503", AGAIN }, /* a reference vanished meanwhile: the statement sees it now */
	{ "25006", WAIT },  /* read-only: a standby */
	{ "53", WAIT },     /* out of disk, memory, connections */
	{ "57", WAIT },     /* shutdown, cancel, crash of another backend */
	{ "58", WAIT },     /* input or output error */
	{ "08", WAIT },
};

static enum remedy remedy_of(const char *sqlstate)
{
	for (size_t i = 0; i < countof(remedies); i++)
		if (strncmp(sqlstate, remedies[i].prefix, strlen(remedies[i].prefix)) == 0)
			return remedies[i].remedy;
	return ANSWER;
}

static void done(struct batch_item *item, const struct batch_result *result)
{
	item->under_way = false;
	item->done(item, result);
}

static void finish(struct batch_item *item, enum batch_status status, const char *constraint)
{
	done(item, &(struct batch_result){ .status = status, .constraint = constraint });
}

static void pump(struct lane_conn *lane)
{
	if (lane->nitems == 0 && db_is_up(lane->db) && !TAILQ_EMPTY(&lane->queue))
		batch_send(lane);
}

/* Puts what was in flight back to the head of the queue. A run has one message in a batch at most,
 * so the order of its messages is kept. */
static void put_back(struct lane_conn *lane)
{
	int n = lane->nitems;

	for (int g = lane->ngroups - 1; g >= 0; g--) {
		struct batch_group *group = &lane->groups[g];

		PQclear(group->res);
		group->res = NULL;
		TAILQ_CONCAT(&group->items, &lane->queue, entry);
		TAILQ_CONCAT(&lane->queue, &group->items, entry);
	}
	lane->nitems = lane->ngroups = 0;
	stats_add(lane->stat_queued, n);
}

/* Every item gets the rows whose ord (the first column, counted from 1) is one of its own. */
static void deliver(struct lane_conn *lane)
{
	int ngroups = lane->ngroups;

	for (int g = 0; g < ngroups; g++) {
		struct batch_group *group = &lane->groups[g];
		int row = 0, rows = PQntuples(group->res), ord = 0;

		for (struct batch_item *item; (item = TAILQ_FIRST(&group->items)) != NULL;) {
			struct batch_result r = {
				.status = BATCH_DONE, .res = group->res, .first = row
			};

			ord += item->rows;
			while (row < rows && atoi(PQgetvalue(group->res, row, 0)) <= ord)
				row++;
			r.rows = row - r.first;
			TAILQ_REMOVE(&group->items, item, entry);
			done(item, &r);
		}
		PQclear(group->res);
		group->res = NULL;
	}
	lane->nitems = lane->ngroups = 0;
}

/* A batch of one was refused. */
static void blame(struct lane_conn *lane)
{
	struct batch_item *item = TAILQ_FIRST(&lane->groups[0].items);
	const struct batch_error *e = &lane->error;
	enum remedy remedy = remedy_of(e->state);

	if (remedy == AGAIN && item->tries++ < BATCH_RETRIES) {
		put_back(lane);
		return;
	}
	log_warnx("%s: statement %s: SQLSTATE %s: %s", lane->name, item->stmt->name, e->state,
		e->message);
	if (remedy == WAIT && lane->kind != LANE_CLAIM) {
		put_back(lane);
		db_reset(lane->db, e->message);
		return;
	}
	PQclear(lane->groups[0].res);
	lane->nitems = lane->ngroups = 0;
	if (strncmp(e->state, "23", 2) == 0)
		finish(item, BATCH_CONSTRAINT, e->constraint);
	else
		finish(item, BATCH_FAILED, NULL);
}

/* Nothing of the batch was done. Its messages go again one by one, so that only the culprit fails.
 */
static void on_failed(struct lane_conn *lane)
{
	struct batch_item *item;

	stats_add(lane->stat_failed, 1);
	if (lane->nitems == 1) {
		blame(lane);
		return;
	}
	stats_add(lane->stat_alone, lane->nitems);
	for (int g = 0; g < lane->ngroups; g++)
		TAILQ_FOREACH (item, &lane->groups[g].items, entry)
			item->alone = true;
	put_back(lane);
}

static void on_result(struct db *db, void *arg, PGresult *res)
{
	struct lane_conn *lane = arg;
	int g = lane->answered++ - lane->first_group;
	ExecStatusType status = PQresultStatus(res);

	(void)db;
	if (status == PGRES_FATAL_ERROR && !lane->error.set) {
		const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
		const char *name = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
		const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

		lane->error.set = true;
		snprintf(lane->error.state, sizeof(lane->error.state), "%s",
			state ? state : "58000");
		snprintf(lane->error.constraint, sizeof(lane->error.constraint), "%s",
			name ? name : "");
		snprintf(lane->error.message, sizeof(lane->error.message), "%s",
			message ? message : "");
	}
	if (g >= 0 && g < lane->ngroups)
		lane->groups[g].res = res;
	else
		PQclear(res);
}

static void on_synced(struct db *db, void *arg)
{
	struct lane_conn *lane = arg;

	(void)db;
	stats_observe(lane->stat_seconds, (double)(mono_ms() - lane->sent_at) / 1000);
	stats_set(lane->stat_committing, 0);
	if (lane->error.set) {
		on_failed(lane);
	} else {
		stats_add(lane->stat_committed, 1);
		deliver(lane);
	}
	pump(lane);
}

static void tell_up(struct batch *b, const char *why)
{
	bool up = batch_is_up(b);

	if (up == b->told_up)
		return;
	b->told_up = up;
	if (b->config.up != NULL)
		b->config.up(b->config.arg, up, why);
}

static void on_up(struct db *db, void *arg)
{
	struct lane_conn *lane = arg;

	(void)db;
	lane->plans_for = lane->plans_left = BATCH_PLANS_MIN;
	tell_up(lane->batch, "");
	pump(lane);
}

static void on_down(struct db *db, void *arg, const char *why)
{
	struct lane_conn *lane = arg;
	struct batch_item *item;

	(void)db;
	tell_up(lane->batch, why);
	if (lane->nitems == 0)
		return;
	stats_add(lane->batch->stat_resent, lane->nitems);
	stats_set(lane->stat_committing, 0);
	for (int g = 0; g < lane->ngroups; g++)
		TAILQ_FOREACH (item, &lane->groups[g].items, entry)
			item->resent = true;
	put_back(lane);
	if (lane->kind != LANE_CLAIM)
		return;
	while ((item = TAILQ_FIRST(&lane->queue)) != NULL) {
		TAILQ_REMOVE(&lane->queue, item, entry);
		stats_add(lane->stat_queued, -1);
		finish(item, BATCH_UNAVAILABLE, NULL);
	}
}

static const struct db_ops db_ops = {
	.up = on_up,
	.down = on_down,
	.result = on_result,
	.synced = on_synced,
};

/* Answers what has waited too long, and drops a connection that sits on a batch for as long. */
static void on_patience(uv_timer_t *timer)
{
	struct batch *b = timer->data;
	int64_t limit = mono_ms() - b->config.patience;

	for (int i = 0; i < b->nlanes; i++) {
		struct lane_conn *lane = &b->lanes[i];
		struct batch_item *item, *next;

		if (lane->nitems > 0 && lane->sent_at < limit && db_is_up(lane->db))
			db_reset(lane->db, "no answer from the database");
		for (item = TAILQ_FIRST(&lane->queue); item != NULL; item = next) {
			next = TAILQ_NEXT(item, entry);
			if (item->since >= limit || item->waits)
				continue;
			TAILQ_REMOVE(&lane->queue, item, entry);
			stats_add(lane->stat_queued, -1);
			finish(item, BATCH_UNAVAILABLE, NULL);
		}
	}
}

static void on_soon(uv_timer_t *timer)
{
	struct batch *b = timer->data;

	for (int i = 0; i < b->nlanes; i++)
		pump(&b->lanes[i]);
}

static void open_lane(struct batch *b, uv_loop_t *loop, int index, enum lane kind)
{
	struct lane_conn *lane = &b->lanes[index];
	struct db_config config = {
		.conninfo = b->config.conninfo,
		.name = lane->name,
		.application_name = "interlockd",
		.settings = b->settings,
		.ops = &db_ops,
		.arg = lane,
	};

	lane->batch = b;
	lane->kind = kind;
	TAILQ_INIT(&lane->queue);
	if (kind == LANE_WRITE)
		snprintf(lane->name, sizeof(lane->name), "write%d", index);
	else
		snprintf(lane->name, sizeof(lane->name), "%s", lane_names[kind]);
	lane->stat_committed =
		stats_seriesf(STATS_BATCHES, "lane=\"%s\",result=\"committed\"", lane->name);
	lane->stat_failed =
		stats_seriesf(STATS_BATCHES, "lane=\"%s\",result=\"failed\"", lane->name);
	lane->stat_alone =
		stats_seriesf(STATS_BATCHES, "lane=\"%s\",result=\"one_by_one\"", lane->name);
	lane->stat_items = stats_seriesf(STATS_BATCH_ITEMS, "lane=\"%s\"", lane->name);
	lane->stat_seconds = stats_seriesf(STATS_BATCH_SECONDS, "lane=\"%s\"", lane->name);
	lane->stat_wait = stats_seriesf(STATS_BATCH_WAIT_SECONDS, "lane=\"%s\"", lane->name);
	lane->stat_committing = stats_seriesf(STATS_COMMITTING, "lane=\"%s\"", lane->name);
	lane->stat_queued = stats_seriesf(STATS_QUEUED, "lane=\"%s\"", lane->name);
	config.stmts = stmt_all(&config.nstmts);
	lane->db = db_open(loop, &config);
}

struct batch *batch_new(uv_loop_t *loop, const struct batch_config *config)
{
	struct batch *b = xcalloc(1, sizeof(*b));
	size_t n = 0;

	b->config = *config;
	while (batch_settings[n] != NULL) {
		b->settings[n] = batch_settings[n];
		n++;
	}
	b->settings[n++] = "interlock.coordinator";
	b->settings[n] = config->coordinator;
	b->writers = config->writers;
	b->nlanes = b->writers + LANES - 1;
	b->lanes = xcalloc((size_t)b->nlanes, sizeof(*b->lanes));
	b->stat_resent = stats_series(STATS_RESENT, NULL);
	for (int i = 0; i < b->nlanes; i++)
		open_lane(
			b, loop, i, i < b->writers ? LANE_WRITE : (enum lane)(i - b->writers + 1));
	uv_timer_init(loop, &b->patience);
	uv_timer_init(loop, &b->soon);
	b->patience.data = b->soon.data = b;
	uv_timer_start(&b->patience, on_patience, 250, 250);
	return b;
}

static struct lane_conn *lane_of(
	const struct batch *b, enum lane kind, const struct uuid *work_order)
{
	uint32_t hash;

	if (kind != LANE_WRITE)
		return &b->lanes[b->writers + kind - 1];
	/* The last bytes of a UUID, of whatever version, are random. */
	memcpy(&hash, work_order->b + 12, sizeof(hash));
	return &b->lanes[hash % (uint32_t)b->writers];
}

static void wake(struct batch *b)
{
	if (!uv_is_active((uv_handle_t *)&b->soon))
		uv_timer_start(&b->soon, on_soon, 0, 0);
}

void batch_submit(struct batch *b, enum lane kind, struct batch_item *item)
{
	struct lane_conn *lane = lane_of(b, kind, &item->work_order_id);
	int values = item->rows * item->stmt->columns;

	item->since = mono_ms();
	item->bytes = 0;
	for (int i = 0; i < values; i++)
		item->bytes += (size_t)item->values[i].n + 4;
	item->under_way = true;
	item->alone = item->resent = false;
	item->tries = 0;
	TAILQ_INSERT_TAIL(&lane->queue, item, entry);
	stats_add(lane->stat_queued, 1);
	wake(b);
}

void batch_release(struct batch *b, struct batch_item *item)
{
	item->waits = false;
	wake(b);
}

void batch_withdraw(struct batch *b, enum lane kind, struct batch_item *item)
{
	struct lane_conn *lane = lane_of(b, kind, &item->work_order_id);

	TAILQ_REMOVE(&lane->queue, item, entry);
	item->under_way = false;
	stats_add(lane->stat_queued, -1);
}

bool batch_lane_is_up(const struct batch *b, enum lane kind)
{
	static const struct uuid any;

	return db_is_up(lane_of(b, kind, &any)->db);
}

int64_t batch_up_since(const struct batch *b)
{
	int64_t since = 0;

	for (int i = 0; i < b->nlanes; i++) {
		int64_t one = db_up_since(b->lanes[i].db);

		if (one == 0)
			return 0;
		since = one > since ? one : since;
	}
	return since;
}

bool batch_is_up(const struct batch *b)
{
	return batch_up_since(b) != 0;
}

static bool any_resent(const struct batch_queue *queue)
{
	const struct batch_item *item;

	TAILQ_FOREACH (item, queue, entry)
		if (item->resent)
			return true;
	return false;
}

bool batch_is_resending(const struct batch *b)
{
	for (int i = 0; i < b->nlanes; i++) {
		const struct lane_conn *lane = &b->lanes[i];

		if (any_resent(&lane->queue))
			return true;
		for (int g = 0; g < lane->ngroups; g++)
			if (any_resent(&lane->groups[g].items))
				return true;
	}
	return false;
}

static void closed_one(struct batch *b)
{
	if (--b->open == 0)
		b->on_closed(b->closed_arg);
}

static void on_db_closed(void *arg)
{
	closed_one(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	closed_one(handle->data);
}

/* Whatever is left ends here; what became of it is not known. */
static void forget(struct lane_conn *lane)
{
	struct batch_item *item;

	put_back(lane);
	while ((item = TAILQ_FIRST(&lane->queue)) != NULL) {
		TAILQ_REMOVE(&lane->queue, item, entry);
		finish(item, BATCH_UNAVAILABLE, NULL);
	}
}

void batch_close(struct batch *b, void (*on_closed)(void *arg), void *arg)
{
	b->on_closed = on_closed;
	b->closed_arg = arg;
	b->open = b->nlanes + 2;
	/* The bodies, which come last, before the messages that wait for them. */
	for (int i = b->nlanes - 1; i >= 0; i--)
		forget(&b->lanes[i]);
	for (int i = 0; i < b->nlanes; i++)
		db_close(b->lanes[i].db, on_db_closed, b);
	uv_close((uv_handle_t *)&b->patience, on_timer_closed);
	uv_close((uv_handle_t *)&b->soon, on_timer_closed);
}

void batch_free(struct batch *b)
{
	free(b->lanes);
	free(b);
}

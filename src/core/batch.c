/*
 * The lanes together: which one a message goes to, how long it may wait there, the beginning and
 * the end.
 */
#include "batch_private.h"

#include <stdlib.h>

/* On every connection. Plans do not change with the tables' sizes; hash joins stay, for without
 * them joins between CTEs become quadratic. And no backend outlives its coordinator for long: one
 * that has half a batch, or waits for a lock, would keep the work orders locked that the same
 * messages, sent again over another connection, wait for. */
const char *const batch_settings[BATCH_SETTINGS] = { "jit", "off", "enable_seqscan", "off",
	"enable_bitmapscan", "off", "enable_memoize", "off", "max_parallel_workers_per_gather", "0",
	"plan_cache_mode", "force_generic_plan", "timezone", "UTC",
	"client_connection_check_interval", "2s", "tcp_keepalives_idle", "5",
	"tcp_keepalives_interval", "5", "tcp_keepalives_count", "2", "tcp_user_timeout", "15s",
	NULL };

size_t batch_settings_of(const char *coordinator, const char **settings)
{
	size_t n = 0;

	for (; batch_settings[n] != NULL; n++)
		settings[n] = batch_settings[n];
	settings[n++] = "interlock.coordinator";
	settings[n++] = coordinator;
	return n;
}

void batch_notify_state(struct batch *b, const char *why)
{
	bool up = batch_is_up(b);

	if (up == b->told_up)
		return;
	b->told_up = up;
	if (b->config.up != NULL)
		b->config.up(b->config.arg, up, why);
}

/* Answers what has waited too long, drops a connection that sits on a batch for as long, and sends
 * what was to wait for a while. */
static void on_patience(uv_timer_t *timer)
{
	struct batch *b = timer->data;
	int64_t limit = mono_ms() - b->config.patience;

	for (int i = 0; i < b->nlanes; i++) {
		struct lane *lane = &b->lanes[i];

		if (lane->nitems > 0 && lane->sent_at < limit && db_is_up(lane->db))
			db_reset(lane->db, "no answer from the database");
		batch_give_up_old(lane);
		lane_send_next(lane);
	}
}

static void on_send_timer(uv_timer_t *timer)
{
	struct batch *b = timer->data;

	for (int i = 0; i < b->nlanes; i++)
		lane_send_next(&b->lanes[i]);
}

struct batch *batch_new(uv_loop_t *loop, const struct batch_config *config)
{
	struct batch *b = xcalloc(1, sizeof(*b));

	b->config = *config;
	b->writers = config->writers;
	b->nlanes = b->writers + LANES - 1;
	b->lanes = xcalloc((size_t)b->nlanes, sizeof(*b->lanes));
	b->stat_resent = metrics_series(METRIC_RESENT_MESSAGES, NULL);
	for (int i = 0; i < b->nlanes; i++)
		lane_open(b, loop, i,
			i < b->writers ? LANE_WRITE : (enum lane_kind)(i - b->writers + 1));
	uv_timer_init(loop, &b->patience);
	uv_timer_init(loop, &b->soon);
	b->patience.data = b->soon.data = b;
	uv_timer_start(&b->patience, on_patience, 250, 250);
	return b;
}

static struct lane *lane_of(
	const struct batch *b, enum lane_kind kind, const struct uuid *work_order)
{
	uint32_t hash;

	if (kind != LANE_WRITE)
		return &b->lanes[b->writers + (int)kind - 1];
	/* The last bytes of a UUID, of whatever version, are random. */
	memcpy(&hash, work_order->b + 12, sizeof(hash));
	return &b->lanes[hash % (uint32_t)b->writers];
}

static void wake(struct batch *b)
{
	if (!uv_is_active((uv_handle_t *)&b->soon))
		uv_timer_start(&b->soon, on_send_timer, 0, 0);
}

static void measure(struct batch_item *item)
{
	int values = item->rows * item->stmt->columns;

	item->bytes = 0;
	for (int i = 0; i < values; i++)
		item->bytes += (size_t)item->values[i].n + 4;
}

static struct lane *prepare(struct batch *b, enum lane_kind kind, struct batch_item *item)
{
	struct lane *lane = lane_of(b, kind, &item->work_order_id);

	item->since = mono_ms();
	measure(item);
	item->submitted = true;
	item->alone = item->resent = item->timed_out = false;
	item->tries = 0;
	item->due = 0;
	metrics_add(lane->stat_queued, 1);
	wake(b);
	return lane;
}

void batch_submit(struct batch *b, enum lane_kind kind, struct batch_item *item)
{
	struct lane *lane = prepare(b, kind, item);

	TAILQ_INSERT_TAIL(&lane->queue, item, entry);
}

void batch_continue(struct batch *b, enum lane_kind kind, struct batch_item *item)
{
	struct lane *lane = prepare(b, kind, item);

	TAILQ_INSERT_HEAD(&lane->queue, item, entry);
}

void batch_release(struct batch *b, struct batch_item *item)
{
	item->waits = false;
	measure(item);
	wake(b);
}

void batch_withdraw(struct batch *b, enum lane_kind kind, struct batch_item *item)
{
	struct lane *lane = lane_of(b, kind, &item->work_order_id);

	TAILQ_REMOVE(&lane->queue, item, entry);
	item->submitted = false;
	metrics_add(lane->stat_queued, -1);
}

bool batch_lane_is_up(const struct batch *b, enum lane_kind kind)
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
		const struct lane *lane = &b->lanes[i];

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

void batch_stop(struct batch *b)
{
	b->closing = true;
	for (int i = 0; i < b->nlanes; i++)
		if (b->lanes[i].nitems > 0 && b->lanes[i].kind == LANE_BODY)
			db_reset(b->lanes[i].db, "shutting down");
}

void batch_close(struct batch *b, void (*on_closed)(void *arg), void *arg)
{
	b->on_closed = on_closed;
	b->closed_arg = arg;
	b->open = b->nlanes + 2;
	/* The bodies, which come last, before the messages that wait for them. */
	for (int i = b->nlanes - 1; i >= 0; i--)
		lane_fail_all(&b->lanes[i]);
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

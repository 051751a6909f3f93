/*
 * batch: distributes messages over the lanes: which one each goes to, when they send, the beginning
 * and the end. A message that takes too long for its writer is sent by the slow lane. Invariant: it
 * keeps its place in its writer's queue until then, so that later messages of its run wait for it.
 */
#include "core/batch.h"

#include "lane.h"

#include <stdlib.h>

enum { CHECK_MS = 250 }; /* how often the lanes look at what has waited too long */

struct batch {
	struct batch_config config;
	struct lane **lanes; /* the writers first, then one of each other kind */
	int nlanes, writers;
	uv_timer_t timeout_timer;
	uv_timer_t send_timer; /* fires once, in the next turn, when something was submitted */
	bool notified_up;
	int open; /* handles and connections that are not closed yet */
	void (*on_closed)(void *arg);
	void *closed_arg;
};

static void on_state_changed(void *arg, const char *why)
{
	struct batch *b = arg;
	bool up = batch_is_up(b);

	if (up == b->notified_up)
		return;
	b->notified_up = up;
	if (b->config.up != NULL)
		b->config.up(b->config.arg, up, why);
}

static void on_timeout_timer(uv_timer_t *timer)
{
	struct batch *b = timer->data;

	for (int i = 0; i < b->nlanes; i++)
		lane_check_timeouts(b->lanes[i]);
}

static void on_send_timer(uv_timer_t *timer)
{
	struct batch *b = timer->data;

	for (int i = 0; i < b->nlanes; i++)
		lane_send(b->lanes[i]);
}

static void on_held_up(void *arg, struct batch_item *original);

struct batch *batch_new(uv_loop_t *loop, const struct batch_config *config)
{
	struct batch *b = xcalloc(1, sizeof(*b));
	struct lane_config lane = {
		.conninfo = config->conninfo,
		.coordinator = config->coordinator,
		.queue_timeout = config->queue_timeout,
		.state_changed = on_state_changed,
		.held_up = on_held_up,
		.arg = b,
	};

	b->config = *config;
	b->writers = config->writers;
	b->nlanes = b->writers + LANES - 1;
	b->lanes = xcalloc((size_t)b->nlanes, sizeof(struct lane *));
	for (lane.index = 0; lane.index < b->nlanes; lane.index++) {
		if (lane.index >= b->writers)
			lane.kind = (enum lane_kind)(lane.index - b->writers + 1);
		b->lanes[lane.index] = lane_open(loop, &lane);
	}
	uv_timer_init(loop, &b->timeout_timer);
	uv_timer_init(loop, &b->send_timer);
	b->timeout_timer.data = b->send_timer.data = b;
	uv_timer_start(&b->timeout_timer, on_timeout_timer, CHECK_MS, CHECK_MS);
	return b;
}

static struct lane *lane_of(
	const struct batch *b, enum lane_kind kind, const struct uuid *work_order)
{
	uint32_t hash;

	if (kind != LANE_WRITE)
		return b->lanes[b->writers + (int)kind - 1];
	/* The last bytes of a UUID, of whatever version, are random. */
	memcpy(&hash, work_order->b + 12, sizeof(hash));
	return b->lanes[hash % (uint32_t)b->writers];
}

static void schedule_send(struct batch *b)
{
	if (!uv_is_active((uv_handle_t *)&b->send_timer))
		uv_timer_start(&b->send_timer, on_send_timer, 0, 0);
}

/* ---- messages that take too long for a writer ---- */

/* One that is sent by the slow lane, as a copy that borrows everything. */
struct detour {
	struct batch_item item;
	struct batch_item *original;
	struct batch *batch;
};

static void on_detour_done(struct batch_item *item, const struct batch_result *result)
{
	struct detour *detour = container_of(item, struct detour, item);
	struct batch_item *original = detour->original;

	original->waits = false;
	batch_withdraw(detour->batch, LANE_WRITE, original);
	schedule_send(detour->batch); /* what waits behind it */
	free(detour);
	original->done(original, result);
}

static void on_held_up(void *arg, struct batch_item *original)
{
	struct batch *b = arg;
	struct detour *detour = xmalloc(sizeof(*detour));

	original->waits = true;
	*detour = (struct detour){ *original, original, b };
	detour->item.waits = false;
	detour->item.done = on_detour_done;
	batch_submit(b, LANE_SLOW, &detour->item);
	detour->item.queued_at = original->queued_at;
}

void batch_submit(struct batch *b, enum lane_kind kind, struct batch_item *item)
{
	lane_submit(lane_of(b, kind, &item->work_order_id), item);
	schedule_send(b);
}

void batch_continue(struct batch *b, enum lane_kind kind, struct batch_item *item)
{
	lane_submit_first(lane_of(b, kind, &item->work_order_id), item);
	schedule_send(b);
}

void batch_release(struct batch *b, struct batch_item *item)
{
	lane_release(item);
	schedule_send(b);
}

void batch_withdraw(struct batch *b, enum lane_kind kind, struct batch_item *item)
{
	lane_withdraw(lane_of(b, kind, &item->work_order_id), item);
}

bool batch_lane_is_up(const struct batch *b, enum lane_kind kind)
{
	static const struct uuid any;

	return lane_up_since(lane_of(b, kind, &any)) != 0;
}

int64_t batch_up_since(const struct batch *b)
{
	int64_t since = 0;

	for (int i = 0; i < b->nlanes; i++) {
		int64_t one = lane_up_since(b->lanes[i]);

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

size_t batch_buffered(const struct batch *b)
{
	size_t n = 0;

	for (int i = 0; i < b->nlanes; i++)
		n += lane_buffered(b->lanes[i]);
	return n;
}

bool batch_is_resending(const struct batch *b)
{
	for (int i = 0; i < b->nlanes; i++)
		if (lane_is_resending(b->lanes[i]))
			return true;
	return false;
}

static void closed_one(void *arg)
{
	struct batch *b = arg;

	if (--b->open == 0)
		b->on_closed(b->closed_arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	closed_one(handle->data);
}

void batch_stop(struct batch *b)
{
	for (int i = 0; i < b->nlanes; i++)
		lane_stop(b->lanes[i]);
}

void batch_close(struct batch *b, void (*on_closed)(void *arg), void *arg)
{
	b->on_closed = on_closed;
	b->closed_arg = arg;
	b->open = b->nlanes + 2;
	/* The bodies and the slow lane, which come last, before the messages that wait for them. */
	for (int i = b->nlanes - 1; i >= 0; i--)
		lane_fail_all(b->lanes[i]);
	for (int i = 0; i < b->nlanes; i++)
		lane_close(b->lanes[i], closed_one, b);
	uv_close((uv_handle_t *)&b->timeout_timer, on_timer_closed);
	uv_close((uv_handle_t *)&b->send_timer, on_timer_closed);
}

bool batch_is_closed(const struct batch *b)
{
	return b->on_closed != NULL;
}

void batch_free(struct batch *b)
{
	for (int i = 0; i < b->nlanes; i++)
		lane_free(b->lanes[i]);
	free(b->lanes);
	free(b);
}

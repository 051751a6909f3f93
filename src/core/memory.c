/*
 * The memory that is held for peers. Invariant: it stays within [limits] memory, but for one
 * message that is itself larger, as long as whoever holds more asks first and whoever reads stops
 * when it is full.
 */
#include "core/memory.h"

#include "core/batch.h"
#include "core/plan_cache.h"
#include "lib/metrics.h"

struct memory {
	const struct conf *conf;
	const struct ws *ws;
	const struct batch *batch;
	size_t uses[MEMORY_USES];
	TAILQ_HEAD(, memory_wait) waiting;
	bool full;
	void (*changed)(void *arg);
	void *arg;
	struct series *buffered, *db_buffers;
};

struct memory *memory_new(const struct conf *conf)
{
	struct memory *memory = xcalloc(1, sizeof(*memory));

	memory->conf = conf;
	memory->buffered = metrics_series(METRIC_BUFFERED_BYTES, NULL);
	memory->db_buffers = metrics_series(METRIC_DB_BUFFER_BYTES, NULL);
	TAILQ_INIT(&memory->waiting);
	return memory;
}

void memory_watch_sockets(struct memory *memory, const struct ws *ws)
{
	memory->ws = ws;
}

void memory_watch_batch(struct memory *memory, const struct batch *batch)
{
	memory->batch = batch;
}

void memory_on_change(struct memory *memory, void (*changed)(void *arg), void *arg)
{
	memory->changed = changed;
	memory->arg = arg;
}

/* What is coming will be there twice for a while, as it came and as it is handed on. */
static size_t held_by_bodies(const struct memory *memory)
{
	return memory->uses[MEMORY_BODIES] + 2 * ws_buffered(memory->ws).bodies;
}

/* What goes by itself, when it is answered and written. */
static size_t under_way(const struct memory *memory)
{
	struct ws_buffered ws = ws_buffered(memory->ws);

	return memory->uses[MEMORY_MESSAGES] + 2 * ws.incoming + ws.queued + ws.requests +
	       held_by_bodies(memory);
}

static size_t db_buffers(const struct memory *memory)
{
	return memory->batch != NULL ? batch_buffered(memory->batch) : 0;
}

static size_t in_use(const struct memory *memory)
{
	return under_way(memory) + memory->uses[MEMORY_REPLIES] + plan_cache_bytes() +
	       db_buffers(memory);
}

static size_t limit_of(const struct memory *memory)
{
	return (size_t)memory->conf->memory;
}

static void offer_room(struct memory *memory)
{
	struct memory_wait *wait;

	while ((wait = TAILQ_FIRST(&memory->waiting)) != NULL &&
		memory_has_room(memory, MEMORY_MESSAGES, wait->bytes)) {
		memory_forget(memory, wait);
		wait->on_room(wait); /* holds it, and that leads here again */
	}
}

/* What only stays does not make it full: nothing would end that. */
void memory_sockets_changed(struct memory *memory)
{
	size_t now = in_use(memory), going = under_way(memory), limit = limit_of(memory);

	metrics_set(memory->buffered, (double)going);
	metrics_set(memory->db_buffers, (double)db_buffers(memory));
	memory->full = (memory->full ? now > limit - limit / 4 : now > limit) && going > limit / 8;
	if (memory->changed != NULL)
		memory->changed(memory->arg);
	offer_room(memory);
}

void memory_await(struct memory *memory, struct memory_wait *wait)
{
	TAILQ_INSERT_TAIL(&memory->waiting, wait, entry);
	offer_room(memory);
}

void memory_forget(struct memory *memory, struct memory_wait *wait)
{
	TAILQ_REMOVE(&memory->waiting, wait, entry);
}

void memory_hold(struct memory *memory, enum memory_use use, ptrdiff_t bytes)
{
	memory->uses[use] += (size_t)bytes;
	memory_sockets_changed(memory);
}

bool memory_is_full(const struct memory *memory)
{
	return memory->full;
}

/* One that is larger than the part of the webhooks has to be the only one. */
static bool has_room_for_body(const struct memory *memory, size_t size)
{
	size_t limit = limit_of(memory), now = in_use(memory), bodies = held_by_bodies(memory);

	if (bodies == 0)
		return now + 2 * size <= limit || under_way(memory) <= limit / 4;
	return bodies + 2 * size <= limit / 4 && now + 2 * size <= limit;
}

/* Whatever its size, there is room when little else is there. */
static bool has_room_for_message(const struct memory *memory, size_t size)
{
	size_t limit = limit_of(memory), now = in_use(memory);

	return under_way(memory) <= limit / 4 || now + 2 * size <= limit - limit / 4;
}

bool memory_has_room(const struct memory *memory, enum memory_use use, size_t size)
{
	switch (use) {
	case MEMORY_MESSAGES: return has_room_for_message(memory, size);
	case MEMORY_BODIES: return has_room_for_body(memory, size);
	case MEMORY_REPLIES: return memory->uses[use] + size <= limit_of(memory) / 8;
	case MEMORY_USES: break;
	}
	return false;
}

bool memory_plans_are_full(const struct memory *memory)
{
	return plan_cache_bytes() > limit_of(memory) / 4;
}

/*
 * Which sockets are read. Invariant: what is in flight stays within [limits] memory (core/memory.c
 * says how much that is), because nothing is read while it is full. A large message counts whole
 * from its beginning; when there is no room for it, its socket waits, in the order in which they
 * came, so that small messages need not wait for large ones. What a message holds is given back
 * with its reply, what a reply holds when it is written. Webhooks are refused rather than made to
 * wait. A worker that is refused all the time is read at the rate at which it may be refused.
 */
#include "session/backpressure.h"

#include "throttle.h"

#include "lib/metrics.h"

#include <stdlib.h>
#include <sys/queue.h>

/* src/README.md, Bounds. Open requests of a socket: not read, and read again. */
enum { REQUESTS_PAUSE = 64, REQUESTS_RESUME = 32 };
/* How many refusals at once, and a second, a worker is not slowed for. */
enum { REFUSALS_BURST = 500, REFUSALS_RATE = 100 };

/* Why a socket is not read. */
enum pause_reason {
	PAUSE_NOT,
	PAUSE_REQUESTS,
	PAUSE_MEMORY,
	PAUSE_REFUSED,
	PAUSE_DRAINING,
	PAUSES
};

struct backpressure {
	struct memory *memory;
	bool stopped, was_full;
	TAILQ_HEAD(, throttle) all;
	TAILQ_HEAD(, throttle) waiting; /* for room for a large message */
	TAILQ_HEAD(, throttle) slowed;  /* refused too often */
	struct series *paused[PAUSES], *pauses[PAUSES];
};

struct throttle {
	TAILQ_ENTRY(throttle) entry;
	struct backpressure *backpressure;
	struct ws_socket *peer; /* NULL: not open yet, or gone */
	enum pause_reason paused;
	int open_requests;
	bool reading;
	size_t wanted;  /* bytes of the large message that waits for room; 0: none */
	size_t granted; /* and of the one that has got it and is coming */
	TAILQ_ENTRY(throttle) waiting_entry;
	double refusals; /* as of refusals_as_of, mono_ms() */
	int64_t refusals_as_of;
	bool slowed;
	TAILQ_ENTRY(throttle) slowed_entry;
};

static enum pause_reason pause_of(const struct throttle *t)
{
	int limit = t->paused == PAUSE_REQUESTS ? REQUESTS_RESUME + 1 : REQUESTS_PAUSE;

	if (t->backpressure->stopped)
		return PAUSE_DRAINING;
	if (memory_is_full(t->backpressure->memory) || t->wanted > 0)
		return PAUSE_MEMORY;
	if (t->slowed)
		return PAUSE_REFUSED;
	return t->open_requests >= limit || t->reading ? PAUSE_REQUESTS : PAUSE_NOT;
}

static void count(const struct backpressure *backpressure, enum pause_reason reason, int n)
{
	if (reason == PAUSE_NOT)
		return;
	metrics_add(backpressure->paused[reason], n);
	if (n > 0)
		metrics_add(backpressure->pauses[reason], n);
}

static void update(struct throttle *t)
{
	enum pause_reason before = t->paused, now = pause_of(t);

	if (now == before || t->peer == NULL)
		return;
	t->paused = now;
	count(t->backpressure, before, -1);
	count(t->backpressure, now, 1);
	if (now == PAUSE_NOT)
		ws_resume(t->peer);
	else if (before == PAUSE_NOT)
		ws_pause(t->peer);
}

static void update_all(const struct backpressure *backpressure)
{
	struct throttle *t;

	TAILQ_FOREACH (t, &backpressure->all, entry)
		update(t);
}

/* ---- one socket ---- */

struct throttle *throttle_new(struct backpressure *backpressure)
{
	struct throttle *t = xcalloc(1, sizeof(*t));

	t->backpressure = backpressure;
	TAILQ_INSERT_TAIL(&backpressure->all, t, entry);
	return t;
}

void throttle_open(struct throttle *t, struct ws_socket *peer)
{
	t->peer = peer;
}

void throttle_close(struct throttle *t)
{
	t->peer = NULL;
}

void throttle_set_load(struct throttle *t, int open_requests, bool reading)
{
	t->open_requests = open_requests;
	t->reading = reading;
	update(t);
}

static bool has_room(const struct backpressure *backpressure, size_t size)
{
	return memory_has_room(backpressure->memory, MEMORY_MESSAGES, size);
}

enum admission throttle_admit(struct throttle *t, size_t size)
{
	struct backpressure *backpressure = t->backpressure;
	bool room = has_room(backpressure, size);

	if (t->granted > 0 && !room)
		return NOT_ADMITTED;
	if (t->granted > 0 || (TAILQ_EMPTY(&backpressure->waiting) && room)) {
		t->granted = size;
		return ADMITTED;
	}
	t->wanted = size;
	TAILQ_INSERT_TAIL(&backpressure->waiting, t, waiting_entry);
	update(t);
	return ADMITTED_LATER;
}

static void stop_waiting(struct throttle *t)
{
	if (t->wanted > 0)
		TAILQ_REMOVE(&t->backpressure->waiting, t, waiting_entry);
	t->wanted = 0;
}

void throttle_message_came(struct throttle *t)
{
	stop_waiting(t);
	t->granted = 0;
	update(t);
}

/* Refusals are forgotten at the rate that is allowed. */
static void forgive(struct throttle *t)
{
	int64_t now = mono_ms();
	double forgiven = (double)(now - t->refusals_as_of) * REFUSALS_RATE / 1000;

	t->refusals = t->refusals > forgiven ? t->refusals - forgiven : 0;
	t->refusals_as_of = now;
}

static void slow(struct throttle *t, bool slowed)
{
	if (slowed == t->slowed)
		return;
	t->slowed = slowed;
	if (slowed)
		TAILQ_INSERT_TAIL(&t->backpressure->slowed, t, slowed_entry);
	else
		TAILQ_REMOVE(&t->backpressure->slowed, t, slowed_entry);
	update(t);
}

void throttle_refused(struct throttle *t)
{
	forgive(t);
	if (++t->refusals > REFUSALS_BURST)
		slow(t, true);
}

void throttle_free(struct throttle *t)
{
	stop_waiting(t);
	slow(t, false);
	count(t->backpressure, t->paused, -1);
	TAILQ_REMOVE(&t->backpressure->all, t, entry);
	free(t);
}

/* ---- all of them ---- */

static void on_memory(void *arg)
{
	struct backpressure *backpressure = arg;
	bool full = memory_is_full(backpressure->memory);
	struct throttle *t;

	if (full != backpressure->was_full) {
		backpressure->was_full = full;
		update_all(backpressure);
	}
	while ((t = TAILQ_FIRST(&backpressure->waiting)) != NULL &&
		has_room(backpressure, t->wanted)) {
		t->granted = t->wanted;
		stop_waiting(t);
		update(t); /* it is read: the sockets hold more, and that leads here again */
	}
}

struct backpressure *backpressure_new(struct memory *memory)
{
	static const char *const reasons[PAUSES] = { NULL, "requests", "memory", "refused",
		"draining" };
	struct backpressure *backpressure = xcalloc(1, sizeof(*backpressure));

	backpressure->memory = memory;
	TAILQ_INIT(&backpressure->all);
	TAILQ_INIT(&backpressure->waiting);
	TAILQ_INIT(&backpressure->slowed);
	for (int i = PAUSE_NOT + 1; i < PAUSES; i++) {
		backpressure->paused[i] =
			metrics_seriesf(METRIC_SOCKETS_PAUSED, "reason=\"%s\"", reasons[i]);
		backpressure->pauses[i] =
			metrics_seriesf(METRIC_SOCKET_PAUSES, "reason=\"%s\"", reasons[i]);
	}
	memory_on_change(memory, on_memory, backpressure);
	return backpressure;
}

bool backpressure_memory_is_scarce(const struct backpressure *backpressure)
{
	return memory_is_full(backpressure->memory) || !TAILQ_EMPTY(&backpressure->waiting);
}

void backpressure_forgive(void *arg)
{
	struct backpressure *backpressure = arg;
	struct throttle *t, *next;

	for (t = TAILQ_FIRST(&backpressure->slowed); t != NULL; t = next) {
		next = TAILQ_NEXT(t, slowed_entry);
		forgive(t);
		if (t->refusals < REFUSALS_BURST - REFUSALS_RATE)
			slow(t, false);
	}
}

void backpressure_stop_reading(struct backpressure *backpressure)
{
	backpressure->stopped = true;
	update_all(backpressure);
}

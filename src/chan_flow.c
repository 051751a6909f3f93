/*
 * Which sockets are read. Invariant: what is in flight stays within [limits] memory, but for one
 * message that is itself larger. A large message counts whole from its beginning; three quarters of
 * the memory are for those, and the next ones wait for room in the order in which they came, so
 * that small messages need not wait for them. What a message holds is given back with its reply,
 * what a reply holds when it is written. Webhooks may hold a quarter: they are refused beyond it,
 * and never make a worker wait for long. A worker that is refused all the time is read at the rate
 * at which it may be refused.
 */
#include "chan_private.h"

/* How many refusals at once, and a second, a worker is not slowed for. One that is works on: what
 * it says beside is only later. */
enum { REFUSALS_BURST = 500, REFUSALS_RATE = 100 };

static struct series *stat_memory, *stat_paused[PAUSES], *stat_pauses[PAUSES];

void chan_flow_init(void)
{
	static const char *const reasons[PAUSES] = { NULL, "requests", "memory", "refused",
		"draining" };

	stat_memory = stats_series(STATS_MEMORY_IN_FLIGHT, NULL);
	for (int i = PAUSE_NOT + 1; i < PAUSES; i++) {
		stat_paused[i] = stats_seriesf(STATS_SOCKETS_PAUSED, "reason=\"%s\"", reasons[i]);
		stat_pauses[i] = stats_seriesf(STATS_PAUSES, "reason=\"%s\"", reasons[i]);
	}
}

static enum chan_pause pause_of(const struct chan_conn *conn)
{
	int limit = conn->paused == PAUSE_REQUESTS ? REQS_RESUME + 1 : REQS_PAUSE;

	if (conn->server->deaf)
		return PAUSE_DRAINING;
	if (conn->server->full || conn->wanted > 0)
		return PAUSE_MEMORY;
	if (conn->slowed)
		return PAUSE_REFUSED;
	return conn->open_reqs >= limit || conn->reading != NULL ? PAUSE_REQUESTS : PAUSE_NOT;
}

static void count(enum chan_pause reason, int n)
{
	if (reason == PAUSE_NOT)
		return;
	stats_add(stat_paused[reason], n);
	if (n > 0)
		stats_add(stat_pauses[reason], n);
}

void chan_flow(struct chan_conn *conn)
{
	enum chan_pause before = conn->paused, now = pause_of(conn);

	if (now == before || conn->peer == NULL)
		return;
	conn->paused = now;
	count(before, -1);
	count(now, 1);
	if (now == PAUSE_NOT)
		ws_resume(conn->peer);
	else if (before == PAUSE_NOT)
		ws_pause(conn->peer);
}

static void stop_waiting(struct chan_conn *conn)
{
	if (conn->wanted > 0)
		TAILQ_REMOVE(&conn->server->large, conn, large_entry);
	conn->wanted = 0;
}

/* Refusals are forgotten at the rate that is allowed. */
static void forgive(struct chan_conn *conn)
{
	int64_t now = mono_ms();
	double forgiven = (double)(now - conn->forgiven_at) * REFUSALS_RATE / 1000;

	conn->refusals = conn->refusals > forgiven ? conn->refusals - forgiven : 0;
	conn->forgiven_at = now;
}

static void slow(struct chan_conn *conn, bool slowed)
{
	if (slowed == conn->slowed)
		return;
	conn->slowed = slowed;
	if (slowed)
		TAILQ_INSERT_TAIL(&conn->server->slowed, conn, slowed_entry);
	else
		TAILQ_REMOVE(&conn->server->slowed, conn, slowed_entry);
	chan_flow(conn);
}

void chan_flow_refused(struct chan_conn *conn)
{
	forgive(conn);
	if (++conn->refusals > REFUSALS_BURST)
		slow(conn, true);
}

void chan_flow_forgive(struct chan_server *server)
{
	struct chan_conn *conn, *next;

	for (conn = TAILQ_FIRST(&server->slowed); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, slowed_entry);
		forgive(conn);
		if (conn->refusals < REFUSALS_BURST - REFUSALS_RATE)
			slow(conn, false);
	}
}

void chan_flow_arrived(struct chan_conn *conn)
{
	stop_waiting(conn);
	conn->granted = 0;
	chan_flow(conn);
}

void chan_flow_forget(struct chan_conn *conn)
{
	stop_waiting(conn);
	slow(conn, false);
	count(conn->paused, -1);
}

static void flow_all(struct chan_server *server)
{
	struct chan_conn *conn;

	TAILQ_FOREACH (conn, &server->conns, entry)
		chan_flow(conn);
}

/* What is coming will be there twice for a while, as it came and as it is handed on. */
static size_t held_by_bodies(const struct chan_server *server)
{
	return server->bodies + 2 * ws_held(server->ws).bodies;
}

static size_t held(const struct chan_server *server)
{
	struct ws_held ws = ws_held(server->ws);

	return server->memory + server->kept + 2 * ws.coming + ws.queued + ws.requests +
	       held_by_bodies(server);
}

/* One that is larger than the part of the webhooks has to be the only one. */
bool chan_body_fits(const struct chan_server *server, size_t size)
{
	size_t limit = (size_t)server->conf->memory, now = held(server);
	size_t bodies = held_by_bodies(server);

	if (bodies == 0)
		return now + 2 * size <= limit || now <= limit / 4;
	return bodies + 2 * size <= limit / 4 && now + 2 * size <= limit;
}

/* Is there room for a large message? Whatever its size, there is when little else is there. */
static bool fits(const struct chan_server *server, size_t size)
{
	size_t limit = (size_t)server->conf->memory, now = held(server);

	return now <= limit / 4 || now + 2 * size <= limit - limit / 4;
}

bool chan_begin(void *user, size_t size)
{
	struct chan_conn *conn = user;
	struct chan_server *server = conn->server;

	if (size <= LARGE)
		return true;
	if (conn->granted > 0 && !fits(server, size)) { /* others may wait for what it holds */
		log_info(
			"worker %s: no room for more fragments; closed with 1013", conn->worker_id);
		chan_close(conn, 1013);
		return true;
	}
	if (conn->granted > 0 || (TAILQ_EMPTY(&server->large) && fits(server, size))) {
		conn->granted = size;
		return true;
	}
	conn->wanted = size;
	TAILQ_INSERT_TAIL(&server->large, conn, large_entry);
	chan_flow(conn);
	return false;
}

/* Full beyond the limit, and until a quarter of it is free again: or each message would pause all
 * sockets, and the next reply resume them. */
static void weigh(struct chan_server *server)
{
	size_t now = held(server), limit = (size_t)server->conf->memory;
	bool full = server->full ? now > limit - limit / 4 : now > limit;
	struct chan_conn *conn;

	stats_set(stat_memory, (double)(now - server->kept)); /* what is under way */
	if (full != server->full) {
		server->full = full;
		flow_all(server);
	}
	while ((conn = TAILQ_FIRST(&server->large)) != NULL && fits(server, conn->wanted)) {
		conn->granted = conn->wanted;
		stop_waiting(conn);
		chan_flow(conn); /* and by that into ws.coming, and here again */
	}
}

void chan_account(struct chan_server *server, ptrdiff_t bytes)
{
	server->memory += (size_t)bytes;
	weigh(server);
}

void chan_hold_bodies(struct chan_server *server, ptrdiff_t bytes)
{
	server->bodies += (size_t)bytes;
	weigh(server);
}

void chan_held(void *arg)
{
	weigh(arg);
}

bool chan_scarce(void *arg)
{
	const struct chan_server *server = arg;

	return server->full || !TAILQ_EMPTY(&server->large);
}

void chan_stop_reading(struct chan_server *server)
{
	server->deaf = true;
	flow_all(server);
}

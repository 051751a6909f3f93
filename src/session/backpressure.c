/*
 * Which sockets are read. Invariant: what is in flight stays within [limits] memory, but for one
 * message that is itself larger. A large message counts whole from its beginning; three quarters of
 * the memory are for those, and the next ones wait for room in the order in which they came, so
 * that small messages need not wait for them. What a message holds is given back with its reply,
 * what a reply holds when it is written. Webhooks may hold a quarter: they are refused beyond it,
 * and never make a worker wait for long. So may cached plans: beyond it no more runs are claimed. A
 * worker that is refused all the time is read at the rate at which it may be refused.
 */
#include "channel_private.h"

#include "core/plan_cache.h"

/* How many refusals at once, and a second, a worker is not slowed for. One that is works on: what
 * it says beside is only later. */
enum { REFUSALS_BURST = 500, REFUSALS_RATE = 100 };

static struct series *stat_memory, *stat_db_buffers, *stat_paused[PAUSES], *stat_pauses[PAUSES];

void backpressure_init(void)
{
	static const char *const reasons[PAUSES] = { NULL, "requests", "memory", "refused",
		"draining" };

	stat_memory = metrics_series(METRIC_BUFFERED_BYTES, NULL);
	stat_db_buffers = metrics_series(METRIC_DB_BUFFER_BYTES, NULL);
	for (int i = PAUSE_NOT + 1; i < PAUSES; i++) {
		stat_paused[i] =
			metrics_seriesf(METRIC_SOCKETS_PAUSED, "reason=\"%s\"", reasons[i]);
		stat_pauses[i] = metrics_seriesf(METRIC_SOCKET_PAUSES, "reason=\"%s\"", reasons[i]);
	}
}

static enum pause_reason pause_of(const struct session *session)
{
	int limit =
		session->paused == PAUSE_REQUESTS ? OPEN_REQUESTS_RESUME + 1 : OPEN_REQUESTS_PAUSE;

	if (session->server->reading_stopped)
		return PAUSE_DRAINING;
	if (session->server->memory_full || session->large_size > 0)
		return PAUSE_MEMORY;
	if (session->slowed)
		return PAUSE_REFUSED;
	return session->open_requests >= limit || session->reading != NULL ? PAUSE_REQUESTS
									   : PAUSE_NOT;
}

static void count(enum pause_reason reason, int n)
{
	if (reason == PAUSE_NOT)
		return;
	metrics_add(stat_paused[reason], n);
	if (n > 0)
		metrics_add(stat_pauses[reason], n);
}

void backpressure_update(struct session *session)
{
	enum pause_reason before = session->paused, now = pause_of(session);

	if (now == before || session->peer == NULL)
		return;
	session->paused = now;
	count(before, -1);
	count(now, 1);
	if (now == PAUSE_NOT)
		ws_resume(session->peer);
	else if (before == PAUSE_NOT)
		ws_pause(session->peer);
}

static void stop_waiting(struct session *session)
{
	if (session->large_size > 0)
		TAILQ_REMOVE(&session->server->large, session, large_entry);
	session->large_size = 0;
}

/* Refusals are forgotten at the rate that is allowed. */
static void forgive(struct session *session)
{
	int64_t now = mono_ms();
	double forgiven = (double)(now - session->refusals_as_of) * REFUSALS_RATE / 1000;

	session->refusals = session->refusals > forgiven ? session->refusals - forgiven : 0;
	session->refusals_as_of = now;
}

static void slow(struct session *session, bool slowed)
{
	if (slowed == session->slowed)
		return;
	session->slowed = slowed;
	if (slowed)
		TAILQ_INSERT_TAIL(&session->server->slowed, session, slowed_entry);
	else
		TAILQ_REMOVE(&session->server->slowed, session, slowed_entry);
	backpressure_update(session);
}

void backpressure_refused(struct session *session)
{
	forgive(session);
	if (++session->refusals > REFUSALS_BURST)
		slow(session, true);
}

void backpressure_forgive(struct server *server)
{
	struct session *session, *next;
	struct request *request;

	for (session = TAILQ_FIRST(&server->slowed); session != NULL; session = next) {
		next = TAILQ_NEXT(session, slowed_entry);
		forgive(session);
		if (session->refusals < REFUSALS_BURST - REFUSALS_RATE)
			slow(session, false);
	}
	while ((request = TAILQ_FIRST(&server->fetching)) != NULL &&
		now_us() - request->received > server->conf->queue_timeout * 1000)
		reply_error_code(request, "unavailable", NULL);
}

void channel_flow_arrived(struct session *session)
{
	stop_waiting(session);
	session->granted = 0;
	backpressure_update(session);
}

void backpressure_forget(struct session *session)
{
	stop_waiting(session);
	slow(session, false);
	count(session->paused, -1);
}

static void flow_all(struct server *server)
{
	struct session *session;

	TAILQ_FOREACH (session, &server->conns, entry)
		backpressure_update(session);
}

/* What is coming will be there twice for a while, as it came and as it is handed on. */
static size_t held_by_bodies(const struct server *server)
{
	return server->bodies + 2 * ws_buffered(server->ws).bodies;
}

/* What goes by itself, when it is answered and written. */
static size_t memory_under_way(const struct server *server)
{
	struct ws_buffered ws = ws_buffered(server->ws);

	return server->memory + 2 * ws.incoming + ws.queued + ws.requests + held_by_bodies(server);
}

static size_t memory_in_use(const struct server *server)
{
	size_t buffered = server->batch != NULL ? batch_buffered(server->batch) : 0;

	metrics_set(stat_db_buffers, (double)buffered);
	return memory_under_way(server) + server->kept + plan_cache_bytes() + buffered;
}

bool channel_plans_full(const struct server *server)
{
	return plan_cache_bytes() > (size_t)server->conf->memory / 4;
}

/* One that is larger than the part of the webhooks has to be the only one. */
bool channel_body_fits(const struct server *server, size_t size)
{
	size_t limit = (size_t)server->conf->memory, now = memory_in_use(server);
	size_t bodies = held_by_bodies(server);

	if (bodies == 0)
		return now + 2 * size <= limit || now <= limit / 4;
	return bodies + 2 * size <= limit / 4 && now + 2 * size <= limit;
}

/* Is there room for a large message? Whatever its size, there is when little else is there. */
static bool fits(const struct server *server, size_t size)
{
	size_t limit = (size_t)server->conf->memory, now = memory_in_use(server);

	return memory_under_way(server) <= limit / 4 || now + 2 * size <= limit - limit / 4;
}

bool session_admit(void *user, size_t size)
{
	struct session *session = user;
	struct server *server = session->server;

	if (size <= LARGE)
		return true;
	if (session->granted > 0 && !fits(server, size)) { /* others may wait for what it holds */
		log_info("worker %s: no room for more fragments; closed with 1013",
			session->worker_id);
		session_close(session, 1013);
		return true;
	}
	if (session->granted > 0 || (TAILQ_EMPTY(&server->large) && fits(server, size))) {
		session->granted = size;
		return true;
	}
	session->large_size = size;
	TAILQ_INSERT_TAIL(&server->large, session, large_entry);
	backpressure_update(session);
	return false;
}

/* Full beyond the limit, and until a quarter of it is free again: or each message would pause all
 * sockets, and the next reply resume them. But not for what only stays: nothing would end it. */
static void update_memory(struct server *server)
{
	size_t now = memory_in_use(server), under_way = memory_under_way(server);
	size_t limit = (size_t)server->conf->memory;
	bool full = (server->memory_full ? now > limit - limit / 4 : now > limit) &&
		    under_way > limit / 8;
	struct session *session;
	struct request *request;

	metrics_set(stat_memory, (double)under_way);
	if (full != server->memory_full) {
		server->memory_full = full;
		flow_all(server);
	}
	while ((session = TAILQ_FIRST(&server->large)) != NULL &&
		fits(server, session->large_size)) {
		session->granted = session->large_size;
		stop_waiting(session);
		backpressure_update(session); /* and by that into ws.coming, and here again */
	}
	while ((request = TAILQ_FIRST(&server->fetching)) != NULL &&
		fits(server, request->reply_size)) {
		size_t size = request->reply_size;

		backpressure_answered(request);
		request_hold(request, 2 * size); /* and by that here again */
		request->on_room(request);
	}
}

void request_await_room(
	struct request *request, size_t bytes, void (*on_room)(struct request *request))
{
	request->reply_size = bytes;
	request->on_room = on_room;
	TAILQ_INSERT_TAIL(&request->server->fetching, request, fetching_entry);
	update_memory(request->server);
}

void backpressure_answered(struct request *request)
{
	if (request->reply_size > 0)
		TAILQ_REMOVE(&request->server->fetching, request, fetching_entry);
	request->reply_size = 0;
}

void memory_account(struct server *server, ptrdiff_t bytes)
{
	server->memory += (size_t)bytes;
	update_memory(server);
}

void channel_hold_bodies(struct server *server, ptrdiff_t bytes)
{
	server->bodies += (size_t)bytes;
	update_memory(server);
}

void memory_changed(void *arg)
{
	update_memory(arg);
}

bool channel_scarce(void *arg)
{
	const struct server *server = arg;

	return server->memory_full || !TAILQ_EMPTY(&server->large);
}

void session_stop_reading(struct server *server)
{
	server->reading_stopped = true;
	flow_all(server);
}

/*
 * db: the life of one connection. Dial, prepare, be up; when anything goes wrong, db_fail() marks
 * the connection broken and a timer of no milliseconds buries it from the loop, so that no send
 * ever re-enters its caller. Seen from outside there are two states: up from the call of `up` until
 * the call of `down`, and down.
 */
#include "db_private.h"

#include <assert.h>
#include <stdlib.h>

enum {
	CALM = 5000, /* ms without a loss, after which the next loss is answered at once again */
	MAX_PARAMS = 64,
};

static void on_timer(uv_timer_t *timer);

void db_enter(struct db *db, enum db_state state, int64_t ms)
{
	db->state = state;
	if (ms < 0)
		uv_timer_stop(&db->timer);
	else
		uv_timer_start(&db->timer, on_timer, (uint64_t)ms, 0);
}

bool db_is_live(const struct db *db)
{
	return db->state == PREPARING || db->state == UP;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct db *db = poll->data;
	(void)events;
	if (status < 0)
		db->watched = 0; /* libuv has stopped the handle; libpq will find out why */
	if (db->state == CONNECTING)
		db_connect_continue(db);
	else
		db_read(db);
}

void db_watch(struct db *db, int events)
{
	if (db->poll == NULL) {
		db->poll = xmalloc(sizeof(*db->poll));
		int err = uv_poll_init(db->loop, db->poll, PQsocket(db->conn));
		if (err != 0)
			fatalx("%s: uv_poll_init: %s", db->config.name, uv_strerror(err));
		db->poll->data = db;
		db->watched = 0;
	}
	if (events != db->watched)
		uv_poll_start(db->poll, events, on_poll);
	db->watched = events;
}

static void on_poll_closed(uv_handle_t *poll)
{
	free(poll);
}

void db_unwatch(struct db *db)
{
	if (db->poll != NULL)
		uv_close((uv_handle_t *)db->poll, on_poll_closed);
	db->poll = NULL;
}

void db_fail(struct db *db, const char *fmt, ...)
{
	if (db->state == BROKEN || db->state == CLOSING || (db->state == LENT && db->lost))
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(db->why, sizeof(db->why), fmt, ap);
	va_end(ap);
	db->why[strcspn(db->why, "\n")] = '\0';
	if (db->state == LENT) {
		db->lost = true;
		return;
	}
	db_unwatch(db);
	db_enter(db, BROKEN, 0);
}

void db_flush(struct db *db)
{
	int left = PQflush(db->conn);
	if (left < 0 || PQstatus(db->conn) == CONNECTION_BAD)
		db_fail(db, "%s", PQerrorMessage(db->conn));
	else
		db_watch(db, UV_READABLE | (left > 0 ? UV_WRITABLE : 0));
}

void db_established(struct db *db)
{
	int64_t now = mono_ms();
	db_enter(db, UP, -1);
	if (now - db->up_since > CALM)
		db->delay = 0;
	db->up = true;
	db->up_since = now;
	db->failures = 0;
	metrics_set(db->stat_up, 1);
	metrics_add(db->stat_connects, 1);
	log_info(
		"%s: connected to %s port %s", db->config.name, PQhost(db->conn), PQport(db->conn));
	db->config.ops->up(db, db->config.arg);
}

static void on_timer_closed(uv_handle_t *timer)
{
	struct db *db = container_of((uv_timer_t *)timer, struct db, timer);
	void (*on_closed)(void *arg) = db->on_closed;
	void *arg = db->closed_arg;
	uv_freeaddrinfo(db->found);
	db_hosts_free(db->hosts);
	buf_free(&db->owed);
	free((char *)db->config.name);
	free(db);
	if (on_closed != NULL)
		on_closed(arg);
}

void db_release(struct db *db)
{
	uv_close((uv_handle_t *)&db->timer, on_timer_closed);
}

/* The end of a broken connection, called from the loop. */
static void free_connection(struct db *db)
{
	bool was_up = db->up;
	unsigned n = ++db->failures;
	/* The 1st, 2nd, 4th, 8th … in a row: an outage must not fill the log. */
	log_line((n & (n - 1)) == 0 ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "%s: %s", db->config.name,
		db->why);
	PQfinish(db->conn);
	db->conn = NULL;
	db->owed.n = db->answered = 0;
	db->up = false;
	metrics_set(db->stat_up, 0);
	db_enter(db, WAITING, db_connect_next(db, was_up));
	if (was_up)
		db->config.ops->down(db, db->config.arg, db->why);
}

static void on_timer(uv_timer_t *timer)
{
	struct db *db = container_of(timer, struct db, timer);
	if (db->state == WAITING)
		db_connect(db);
	else if (db->state == BROKEN)
		free_connection(db);
	else
		db_fail(db, "%s port %s did not answer within %d ms", PQhost(db->conn),
			PQport(db->conn), DB_ANSWER);
}

struct db *db_open(uv_loop_t *loop, const struct db_config *config)
{
	struct db *db = xcalloc(1, sizeof(*db));
	db->config = *config;
	db->config.conninfo = db->config.application_name = NULL;
	db->config.name = xstrdup(config->name);
	db->hosts = db_hosts_new(config->conninfo, config->application_name);
	if (db->hosts == NULL)
		fatalx("%s: the database's address is neither a URL nor key=value pairs, or its "
		       "hosts and ports do not match",
			config->name);
	db->loop = loop;
	db->delay = DB_RETRY_MIN;
	db->stat_up = metrics_seriesf(METRIC_DB_UP, "lane=\"%s\"", config->name);
	db->stat_connects = metrics_seriesf(METRIC_DB_CONNECTS, "lane=\"%s\"", config->name);
	uv_timer_init(loop, &db->timer);
	db_enter(db, WAITING, 0);
	return db;
}

bool db_is_up(const struct db *db)
{
	return db->up;
}

int64_t db_up_since(const struct db *db)
{
	return db->up ? db->up_since : 0;
}

void db_query(struct db *db, const char *stmt, const struct db_param *params, int n)
{
	const char *values[MAX_PARAMS];
	int lengths[MAX_PARAMS], formats[MAX_PARAMS];
	if (!db->up || n > MAX_PARAMS)
		fatalx("%s: %s with %d parameters, %s", db->config.name, stmt, n,
			db->up ? "up" : "down");
	if (db->state != UP && db->state != LENT)
		return; /* broken, and `down` is on its way */
	for (int i = 0; i < n; i++) {
		values[i] = params[i].p;
		lengths[i] = params[i].n;
		formats[i] = params[i].binary;
	}
	db_await(
		db, STATEMENT, PQsendQueryPrepared(db->conn, stmt, n, values, lengths, formats, 0));
}

void db_sync(struct db *db)
{
	if (db->state == UP || db->state == LENT)
		db_await(db, SYNC, PQpipelineSync(db->conn));
	if (db->state == UP)
		db_flush(db);
}

void db_reset(struct db *db, const char *why)
{
	if (db->state == LENT)
		db_recall(db);
	else if (db->state == UP)
		db_fail(db, "%s", why);
}

void db_close(struct db *db, void (*on_closed)(void *arg), void *arg)
{
	bool resolving = db->state == RESOLVING;
	assert(db->state != LENT);
	db_enter(db, CLOSING, -1);
	db->up = false;
	db->on_closed = on_closed;
	db->closed_arg = arg;
	metrics_set(db->stat_up, 0);
	db_unwatch(db);
	PQfinish(db->conn);
	db->conn = NULL;
	if (resolving)
		uv_cancel((uv_req_t *)&db->resolver); /* on_resolved comes in any case */
	else
		db_release(db);
}

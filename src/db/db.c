/*
 * db: the life of one connection, and the pipeline in it. The states are below, and enter() alone
 * changes them. When anything goes wrong, fail() marks the connection broken and a timer of no
 * milliseconds frees it from the loop, so that no send ever re-enters its caller. Seen from outside
 * there are two states: up from the call of `up` until the call of `down`, and down. A round of
 * connecting tries every address of every host in the order of the conninfo, each with its own time
 * limit, and only then waits; libpq never resolves a name and never chooses among hosts. Results
 * are matched with a queue of our own, because libpq's NULL says both "end of this statement" and
 * "nothing left". After each callback the state is looked at again: the owner may have reset or
 * closed the connection. Invariant: while the connection is lent to a thread (db_exchange_beside)
 * the loop does not touch it, but to shut its socket down.
 */
#include "db/db.h"

#include "db_discard.h"
#include "db_error.h"
#include "db_hosts.h"
#include "db_prepared.h"
#include "lib/metrics.h"
#include "lib/pool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	RESULT_MS = 5000,    /* for a server to accept us, and again to prepare everything */
	RETRY_MIN_MS = 100,  /* between two rounds over the hosts, doubled … */
	RETRY_MAX_MS = 2000, /* … up to this */
	STABLE_MS = 5000, /* without a loss, after which the next loss is answered at once again */
	MAX_PARAMS = 64,
};

enum db_state {
	WAITING,    /* the timer starts the next attempt */
	RESOLVING,  /* on_resolved comes */
	CONNECTING, /* within PQconnectPoll; the timer gives up */
	PREPARING,  /* settings, statements and LISTEN are on their way; the timer gives up */
	UP,
	LENT,   /* to a thread: the loop does not touch the connection */
	BROKEN, /* lost; the timer frees it */
	CLOSING
};

/* What a result is awaited for, in db->awaited. */
enum awaited { STATEMENT = 'q', SYNC = 's' };

struct db {
	struct db_config config; /* conninfo and application_name are in hosts, name is ours */
	struct db_hosts *hosts;

	uv_loop_t *loop;
	uv_timer_t timer;
	uv_getaddrinfo_t resolver;
	uv_poll_t *poll; /* on the connection's socket, or NULL */
	int watched;     /* the events it waits for */

	enum db_state state;
	PGconn *conn;
	struct buf awaited; /* one enum awaited for each result since the last sync … */
	size_t received;    /* … of which so many have come */

	bool up;          /* the caller has been notified */
	int64_t up_since; /* mono_ms(), the last time */
	int64_t delay;    /* ms to wait after the next failed round */
	unsigned failures;
	char why[256]; /* the last failure */
	struct series *stat_up, *stat_connects;

	/* While the connection is lent to a thread nothing above is touched in the loop. */
	bool recalled;
	bool lost;  /* by the thread; `why` says why */
	int socket; /* for recall(): our own descriptor, as libpq may close its one */
	struct pool_job job;
	void (*send)(void *arg);
	void *send_arg;

	void (*on_closed)(void *arg);
	void *closed_arg;
};

static void on_timer(uv_timer_t *timer);
static void on_poll(uv_poll_t *poll, int status, int events);

/* ---- the state ---- */

/* The only place that changes the state. ms: until the timer; < 0: it has none in this state. */
static void enter(struct db *db, enum db_state state, int64_t ms)
{
	db->state = state;
	if (ms < 0)
		uv_timer_stop(&db->timer);
	else
		uv_timer_start(&db->timer, on_timer, (uint64_t)ms, 0);
}

static bool is_live(const struct db *db)
{
	return db->state == PREPARING || db->state == UP;
}

static void watch(struct db *db, int events)
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

/* Before anything that may close the socket. */
static void unwatch(struct db *db)
{
	if (db->poll != NULL)
		uv_close((uv_handle_t *)db->poll, on_poll_closed);
	db->poll = NULL;
}

/* Marks this attempt, or this connection, as failed. The first line of the text counts, and the
 * first call. */
__attribute__((format(printf, 2, 3))) static void fail(struct db *db, const char *fmt, ...)
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
	unwatch(db);
	enter(db, BROKEN, 0);
}

/* Hands to the socket what it takes, and waits for it only if it does not take everything. */
static void flush(struct db *db)
{
	int left = PQflush(db->conn);
	if (left < 0 || PQstatus(db->conn) == CONNECTION_BAD)
		fail(db, "%s", PQerrorMessage(db->conn));
	else
		watch(db, UV_READABLE | (left > 0 ? UV_WRITABLE : 0));
}

/* It says FATAL here when it ends an idle session. */
static void on_notice(void *arg, const PGresult *res)
{
	struct db *db = arg;
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	bool warning = severity != NULL && strcmp(severity, "WARNING") == 0;
	if (is_live(db) && severity != NULL && db_error_is_fatal(res))
		fail(db, "%s", db_error_text(res));
	else
		log_line(warning ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "%s: %s", db->config.name,
			db_error_text(res));
}

/* What was sent will have a result, or the connection is lost. */
static void await(struct db *db, enum awaited kind, int sent)
{
	if (sent)
		buf_addc(&db->awaited, (char)kind);
	else
		fail(db, "%s", PQerrorMessage(db->conn));
}

static void end_pipeline(struct db *db)
{
	if (is_live(db) || db->state == LENT)
		await(db, SYNC, PQpipelineSync(db->conn));
	if (is_live(db))
		flush(db);
}

static void send_listen(struct db *db, const char *channel)
{
	char *quoted = PQescapeIdentifier(db->conn, channel, strlen(channel));
	char *sql = xasprintf("LISTEN %s", quoted);
	await(db, STATEMENT, PQsendQueryParams(db->conn, sql, 0, NULL, NULL, NULL, NULL, 0));
	free(sql);
	PQfreemem(quoted);
}

/* Sends all of it in one pipeline. */
static void prepare(struct db *db)
{
	const struct db_config *c = &db->config;
	enter(db, PREPARING, RESULT_MS);
	if (PQsetnonblocking(db->conn, 1) != 0 || !PQenterPipelineMode(db->conn)) {
		fail(db, "%s", PQerrorMessage(db->conn));
		return;
	}
	for (const char *const *s = c->settings; s != NULL && *s != NULL && is_live(db); s += 2)
		await(db, STATEMENT,
			PQsendQueryParams(db->conn, "SELECT set_config($1, $2, false)", 2, NULL, s,
				NULL, NULL, 0));
	for (const struct db_stmt *s = c->stmts; s < c->stmts + c->nstmts && is_live(db); s++) {
		await(db, STATEMENT, PQsendPrepare(db->conn, s->name, s->sql, 0, NULL));
		if (s->columns != NULL && is_live(db))
			await(db, STATEMENT, PQsendDescribePrepared(db->conn, s->name));
	}
	if (c->listen != NULL && is_live(db))
		send_listen(db, c->listen);
	end_pipeline(db);
}

/* Classes 22 and 42 blame the text that was sent, which is ours; the rest blames the server. */
static void check_prepared(struct db *db, const PGresult *res)
{
	const struct db_stmt *described = NULL;
	const char *what = db_prepared_name(&db->config, db->received - 1, &described);

	if (PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK) {
		if (described != NULL)
			db_check_columns(db->config.name, described, res);
		return;
	}
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	if (strncmp(sqlstate, "42", 2) == 0 || strncmp(sqlstate, "22", 2) == 0)
		fatalx("%s: %s does not prepare: %s", db->config.name, what, db_error_text(res));
	fail(db, "%s: %s", what, db_error_text(res));
}

/* ---- results ---- */

static void establish(struct db *db)
{
	int64_t now = mono_ms();
	enter(db, UP, -1);
	if (now - db->up_since > STABLE_MS)
		db->delay = 0;
	if (!db->up)
		db->up_since = now;
	log_line(db->up ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "%s: connected to %s port %s",
		db->config.name, PQhost(db->conn), PQport(db->conn));
	db->up = true;
	db->failures = 0;
	metrics_set(db->stat_up, 1);
	metrics_add(db->stat_connects, 1);
	db->config.ops->up(db, db->config.arg);
}

static void pass_sync(struct db *db)
{
	db->awaited.n -= db->received;
	memmove(db->awaited.p, db->awaited.p + db->received, db->awaited.n);
	db->received = 0;
	if (db->state == PREPARING)
		establish(db);
	else
		db->config.ops->synced(db, db->config.arg);
}

/* One result. An error in the place of a sync's is a commit that failed (the schema defers no
 * constraint): the connection counts as lost, so that nothing is taken for committed. Takes res. */
static void accept_result(struct db *db, PGresult *res)
{
	ExecStatusType status = PQresultStatus(res);
	bool sync = status == PGRES_PIPELINE_SYNC;
	bool expected = sync == (db->awaited.p[db->received] == SYNC);
	if (!expected || (status == PGRES_FATAL_ERROR && db_error_is_fatal(res))) {
		fail(db, "%s", db_error_text(res));
		PQclear(res);
		return;
	}
	db->received++;
	if (!sync && db->state != PREPARING) {
		db->config.ops->result(db, db->config.arg, res);
		return;
	}
	if (sync)
		pass_sync(db);
	else
		check_prepared(db, res);
	PQclear(res);
}

/* NULL ends each statement; a second one in a row would mean that libpq expects nothing more. */
static void read_results(struct db *db)
{
	bool ended = false;
	while (is_live(db) && db->received < db->awaited.n && !PQisBusy(db->conn)) {
		PGresult *res = PQgetResult(db->conn);
		if (res != NULL)
			accept_result(db, res);
		else if (ended)
			fail(db, "results are missing");
		ended = res == NULL;
	}
}

static void read_notifications(struct db *db)
{
	PGnotify *note;
	while (db->state == UP && (note = PQnotifies(db->conn)) != NULL) {
		if (db->config.ops->notified != NULL)
			db->config.ops->notified(db, db->config.arg, note->relname);
		PQfreemem(note);
	}
}

/* Reads what has come and hands results and notifications on, then writes what waits. */
static void read_input(struct db *db)
{
	/* Also when the socket is only writable: libpq may have read by itself while it wrote. */
	if (!PQconsumeInput(db->conn)) {
		fail(db, "%s", PQerrorMessage(db->conn));
		return;
	}
	read_results(db);
	read_notifications(db);
	if (is_live(db))
		flush(db);
}

/* ---- connecting ---- */

static void start_connecting(struct db *db)
{
	enter(db, CONNECTING, RESULT_MS);
	db->conn = db_hosts_start(db->hosts);
	if (db->conn == NULL)
		fatalx("%s: out of memory", db->config.name);
	PQsetNoticeReceiver(db->conn, on_notice, db);
	if (PQstatus(db->conn) == CONNECTION_BAD)
		fail(db, "%s", PQerrorMessage(db->conn));
	else
		watch(db, UV_WRITABLE);
}

static void on_timer_closed(uv_handle_t *timer)
{
	struct db *db = container_of((uv_timer_t *)timer, struct db, timer);
	void (*on_closed)(void *arg) = db->on_closed;
	void *arg = db->closed_arg;
	db_hosts_free(db->hosts);
	buf_free(&db->awaited);
	free((char *)db->config.name);
	free(db);
	on_closed(arg);
}

static void on_resolved(uv_getaddrinfo_t *resolver, int status, struct addrinfo *found)
{
	struct db *db = container_of(resolver, struct db, resolver);
	if (db->state == CLOSING) {
		uv_freeaddrinfo(found);
		uv_close((uv_handle_t *)&db->timer, on_timer_closed);
	} else if (status != 0) {
		fail(db, "%s: %s", db_hosts_name(db->hosts), uv_strerror(status));
	} else {
		db_hosts_resolved(db->hosts, found);
		start_connecting(db);
	}
}

/* Resolving has no time limit of ours, and cannot be called off once it has begun. */
static void connect_to_host(struct db *db)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	const char *name = db_hosts_name(db->hosts);
	if (name == NULL) {
		start_connecting(db);
		return;
	}
	enter(db, RESOLVING, -1);
	int err = uv_getaddrinfo(db->loop, &db->resolver, on_resolved, name, NULL, &hints);
	if (err != 0)
		fail(db, "%s: %s", name, uv_strerror(err));
}

static void continue_connecting(struct db *db)
{
	unwatch(db);
	switch (PQconnectPoll(db->conn)) {
	case PGRES_POLLING_OK: prepare(db); break;
	case PGRES_POLLING_READING: watch(db, UV_READABLE); break;
	case PGRES_POLLING_WRITING: watch(db, UV_WRITABLE); break;
	default: fail(db, "%s", PQerrorMessage(db->conn));
	}
}

/* Chooses the next address; returns how many milliseconds to wait before it is tried. After a
 * connection that was up a new round begins. */
static int64_t next_attempt(struct db *db, bool was_up)
{
	int64_t wait = db->delay;
	if (!was_up && db_hosts_next(db->hosts))
		return 0;
	db_hosts_rewind(db->hosts);
	db->delay = wait == 0 ? RETRY_MIN_MS : wait < RETRY_MAX_MS / 2 ? 2 * wait : RETRY_MAX_MS;
	return wait;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct db *db = poll->data;
	(void)events;
	if (status < 0)
		db->watched = 0; /* libuv has stopped the handle; libpq will find out why */
	if (db->state == CONNECTING)
		continue_connecting(db);
	else
		read_input(db);
}

static void free_connection(struct db *db)
{
	bool was_up = db->up;
	unsigned n = ++db->failures;
	/* The 1st, 2nd, 4th, 8th … in a row: an outage must not fill the log. */
	log_line((n & (n - 1)) == 0 ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "%s: %s", db->config.name,
		db->why);
	PQfinish(db->conn);
	db->conn = NULL;
	db->awaited.n = db->received = 0;
	db->up = false;
	metrics_set(db->stat_up, 0);
	enter(db, WAITING, next_attempt(db, was_up));
	if (was_up && db->config.ops->down != NULL)
		db->config.ops->down(db, db->config.arg, db->why);
}

static void on_timer(uv_timer_t *timer)
{
	struct db *db = container_of(timer, struct db, timer);
	if (db->state == WAITING)
		connect_to_host(db);
	else if (db->state == BROKEN)
		free_connection(db);
	else
		fail(db, "%s port %s did not answer within %d ms", PQhost(db->conn),
			PQport(db->conn), RESULT_MS);
}

/* ---- a large exchange, in a thread: what the socket has not taken libpq moves each time that it
 * takes some, for 100 MiB that takes seconds, and a row is copied; a thread may wait instead ----
 */

static void recall(struct db *db)
{
	db->recalled = true;
	shutdown(db->socket, SHUT_RDWR);
}

static void on_work(struct pool_job *job)
{
	struct db *db = container_of(job, struct db, job);
	struct pollfd readable = { .fd = PQsocket(db->conn), .events = POLLIN };
	PQsetnonblocking(db->conn, 0);
	db->send(db->send_arg);
	bool good = PQflush(db->conn) == 0 && PQsetnonblocking(db->conn, 1) == 0;
	while (good && PQisBusy(db->conn))
		good = (poll(&readable, 1, -1) >= 0 || errno == EINTR) && PQconsumeInput(db->conn);
	if (!good)
		fail(db, "%s", PQerrorMessage(db->conn));
}

static void on_exchanged(struct pool_job *job)
{
	struct db *db = container_of(job, struct db, job);
	enter(db, UP, -1);
	close(db->socket);
	if (db->recalled)
		fail(db, "no answer from the database");
	else if (db->lost)
		fail(db, "%s", PQerrorMessage(db->conn));
	else
		read_input(db);
}

void db_exchange_beside(struct db *db, void (*send)(void *arg), void *arg)
{
	if (db->state != UP)
		return; /* broken, and `down` is on its way */
	db->socket = fcntl(PQsocket(db->conn), F_DUPFD_CLOEXEC, 0);
	if (db->socket < 0) {
		fail(db, "%s", strerror(errno));
		return;
	}
	unwatch(db);
	enter(db, LENT, -1);
	db->recalled = db->lost = false;
	db->send = send;
	db->send_arg = arg;
	db->job = (struct pool_job){ .work = on_work, .done = on_exchanged };
	pool_start(db->loop, &db->job);
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
	db->delay = RETRY_MIN_MS;
	db->stat_up = metrics_seriesf(METRIC_DB_UP, "lane=\"%s\"", config->name);
	db->stat_connects = metrics_seriesf(METRIC_DB_CONNECTS, "lane=\"%s\"", config->name);
	uv_timer_init(loop, &db->timer);
	enter(db, WAITING, 0);
	return db;
}

void db_renew(struct db *db)
{
	if (db->state != UP)
		return;
	unwatch(db);
	db_discard(db->loop, db->conn);
	db->conn = NULL;
	enter(db, WAITING, 0);
}

bool db_is_ready(const struct db *db)
{
	return db->state == UP;
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
	await(db, STATEMENT, PQsendQueryPrepared(db->conn, stmt, n, values, lengths, formats, 0));
}

void db_sync(struct db *db)
{
	if (db->up)
		end_pipeline(db);
}

void db_reset(struct db *db, const char *why)
{
	if (db->state == LENT)
		recall(db);
	else if (db->state == UP)
		fail(db, "%s", why);
}

void db_close(struct db *db, void (*on_closed)(void *arg), void *arg)
{
	bool resolving = db->state == RESOLVING;
	assert(db->state != LENT);
	enter(db, CLOSING, -1);
	db->up = false;
	db->on_closed = on_closed;
	db->closed_arg = arg;
	metrics_set(db->stat_up, 0);
	unwatch(db);
	PQfinish(db->conn);
	db->conn = NULL;
	if (resolving)
		uv_cancel((uv_req_t *)&db->resolver); /* on_resolved comes in any case */
	else
		uv_close((uv_handle_t *)&db->timer, on_timer_closed);
}

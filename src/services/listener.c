/*
 * waiting: knows whether runs wait, and tells workers of them. A connection of its own listens for
 * notifications; each of them, our own intake and a poll make it look, one look at a time.
 * Invariant: that nothing waits is assumed only until a notification says otherwise, or a query
 * fails.
 */
#include "services/listener.h"
#include "sql_columns.h"

#include <stdlib.h>

/* The connection that listens. One query at a time: a notification meanwhile makes one more.
 * nothing_waits: the result of the last query, with no notification since; claims need no query.
 */
static struct {
	struct db *db;
	struct server *server;
	struct db_stmt stmt;
	bool looking, again, nothing_waits;
	int64_t queried_at; /* mono_ms() */
} listener;

static void look(void)
{
	char limit[24];
	int idle = 1;
	struct channel *channel;

	if (listener.looking) {
		listener.again = true;
		return;
	}
	if (!db_is_up(listener.db) || listener.server->draining)
		return;
	TAILQ_FOREACH (channel, &listener.server->queues, queue_entry)
		idle += channel_has_capacity(channel);
	snprintf(limit, sizeof(limit), "%d", idle);
	db_query(listener.db, listener.stmt.name,
		&(struct db_param){ limit, (int)strlen(limit), false }, 1);
	db_sync(listener.db);
	listener.looking = true;
	listener.queried_at = mono_ms();
}

/* Workers that were notified and have had no reply to a claim since: so many runs are spoken for.
 */
static int workers_notified(void)
{
	const struct channel *channel;
	int n = 0;

	TAILQ_FOREACH (channel, &listener.server->queues, queue_entry)
		n += channel_claim_expected(channel);
	return n;
}

/* Notifies as many workers as there are runs, beginning with those that were not notified the
 * last time. */
static void tell(int runs)
{
	struct server *server = listener.server;
	struct channel *channel = TAILQ_FIRST(&server->queues), *next,
		       *last = TAILQ_LAST(&server->queues, queue_list);

	runs -= workers_notified();
	for (; runs > 0 && channel != NULL; channel = next) {
		next = channel == last ? NULL : TAILQ_NEXT(channel, queue_entry);
		if (!channel_has_capacity(channel))
			continue;
		channel_notify(channel);
		TAILQ_REMOVE(&server->queues, channel, queue_entry);
		TAILQ_INSERT_TAIL(&server->queues, channel, queue_entry);
		runs--;
	}
}

static void on_up(struct db *db, void *arg)
{
	(void)db;
	(void)arg;
	listener.looking = listener.again = false;
	look();
}

static void on_down(struct db *db, void *arg, const char *why)
{
	(void)db;
	(void)arg;
	(void)why;
	listener.looking = listener.nothing_waits = false;
}

static void on_result(struct db *db, void *arg, PGresult *res)
{
	(void)db;
	(void)arg;
	if (PQresultStatus(res) == PGRES_TUPLES_OK) {
		int waiting = atoi(PQgetvalue(res, 0, WAITING_COUNT_OUT_N));

		/* What was committed after this look is notified after it. */
		listener.nothing_waits = waiting == 0 && !listener.again;
		tell(waiting);
	}
	PQclear(res);
}

static void on_synced(struct db *db, void *arg)
{
	(void)db;
	(void)arg;
	listener.looking = false;
	if (listener.again) {
		listener.again = false;
		look();
	}
}

bool listener_nothing_waits(void)
{
	return listener.nothing_waits;
}

void listener_run_available(void)
{
	listener.nothing_waits = false;
	look();
}

static void on_notified(struct db *db, void *arg, const char *channel)
{
	(void)db;
	(void)arg;
	(void)channel;
	listener_run_available();
}

static const struct db_ops listener_ops = {
	.up = on_up,
	.down = on_down,
	.result = on_result,
	.synced = on_synced,
	.notified = on_notified,
};

void listener_open(struct server *server, const char *conninfo)
{
	const struct stmt *count = stmt_get("waiting_count");

	listener.server = server;
	listener.stmt = (struct db_stmt){ .name = count->name, .sql = count->sql };
	listener.db = db_open(server->loop, &(struct db_config){
						    .conninfo = conninfo,
						    .name = "listen",
						    .application_name = "interlockd",
						    .settings = batch_settings,
						    .stmts = &listener.stmt,
						    .nstmts = 1,
						    .listen = "interlock_waiting",
						    .ops = &listener_ops,
					    });
}

/* A look without an answer says nothing, and after a while its connection is given up. */
void listener_poll(void)
{
	int64_t patience = listener.server->conf->patience;

	if (listener.looking) {
		listener.nothing_waits = false;
		if (db_is_up(listener.db) && mono_ms() - listener.queried_at > patience)
			db_reset(listener.db, "no answer from the database");
	}
	look();
}

void listener_close(void (*on_closed)(void *arg), void *arg)
{
	db_close(listener.db, on_closed, arg);
}

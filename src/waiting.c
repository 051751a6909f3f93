/*
 * waiting: knows whether runs wait, and tells workers of them. A connection of its own listens for
 * notifications; each of them, our own intake and a poll make it look, one look at a time.
 * Invariant: that nothing waits is believed only until somebody says otherwise, or a look fails.
 */
#include "waiting.h"

#include <stdlib.h>

/* The connection that listens. One look at a time: what is heard meanwhile makes one more look.
 * nothing_waits: so said the last look, and nobody has said otherwise since; claims need not ask.
 */
static struct {
	struct db *db;
	struct chan_server *server;
	struct db_stmt stmt;
	bool looking, again, nothing_waits;
	int64_t looked_at; /* mono_ms() */
} listener;

static void look(void)
{
	char limit[24];
	int idle = 1;
	struct chan *chan;

	if (listener.looking) {
		listener.again = true;
		return;
	}
	if (!db_is_up(listener.db) || listener.server->draining)
		return;
	TAILQ_FOREACH (chan, &listener.server->queues, queue_entry)
		idle += chan_has_capacity(chan);
	snprintf(limit, sizeof(limit), "%d", idle);
	db_query(listener.db, listener.stmt.name,
		&(struct db_param){ limit, (int)strlen(limit), false }, 1);
	db_sync(listener.db);
	listener.looking = true;
	listener.looked_at = mono_ms();
}

/* Those who were told and have had no answer to a claim since are on their way to as many runs. */
static int on_their_way(void)
{
	const struct chan *chan;
	int n = 0;

	TAILQ_FOREACH (chan, &listener.server->queues, queue_entry)
		n += chan_claims_soon(chan);
	return n;
}

/* Tells as many workers as there are runs, each time beginning with those that were not told the
 * last time. */
static void tell(int runs)
{
	struct chan_server *server = listener.server;
	struct chan *chan = TAILQ_FIRST(&server->queues), *next,
		    *last = TAILQ_LAST(&server->queues, queue_list);

	runs -= on_their_way();
	for (; runs > 0 && chan != NULL; chan = next) {
		next = chan == last ? NULL : TAILQ_NEXT(chan, queue_entry);
		if (!chan_has_capacity(chan))
			continue;
		chan_tell(chan);
		TAILQ_REMOVE(&server->queues, chan, queue_entry);
		TAILQ_INSERT_TAIL(&server->queues, chan, queue_entry);
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
		int waiting = atoi(PQgetvalue(res, 0, 0));

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

bool waiting_none(void)
{
	return listener.nothing_waits;
}

void waiting_heard(void)
{
	listener.nothing_waits = false;
	look();
}

static void on_notified(struct db *db, void *arg, const char *channel)
{
	(void)db;
	(void)arg;
	(void)channel;
	waiting_heard();
}

static const struct db_ops listener_ops = {
	.up = on_up,
	.down = on_down,
	.result = on_result,
	.synced = on_synced,
	.notified = on_notified,
};

void waiting_open(struct chan_server *server, const char *conninfo)
{
	const struct stmt *count = stmt_get("waiting_count");

	listener.server = server;
	listener.stmt = (struct db_stmt){ count->name, count->sql };
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
void waiting_poll(void)
{
	int64_t patience = listener.server->conf->patience;

	if (listener.looking) {
		listener.nothing_waits = false;
		if (db_is_up(listener.db) && mono_ms() - listener.looked_at > patience)
			db_reset(listener.db, "no answer from the database");
	}
	look();
}

void waiting_close(void (*on_closed)(void *arg), void *arg)
{
	db_close(listener.db, on_closed, arg);
}

/*
 * The listener. A connection of its own listens for notifications; each of them, our own intake and
 * a poll make it query, one query at a time. Invariant: that nothing waits is assumed only until a
 * notification says otherwise, or a query fails.
 */
#include "services/listener.h"
#include "sql_columns.h"

#include <stdlib.h>

struct listener {
	const struct context *context;
	const struct listener_ops *ops;
	void *arg;
	struct db *db;
	struct db_stmt stmt;
	bool querying, again; /* again: a notification came meanwhile */
	bool nothing_waits;   /* the result of the last query, with no notification since */
	int64_t queried_at;   /* mono_ms() */
};

/* One more than can be offered tells whether anything is left for others. */
static void query(struct listener *listener)
{
	char limit[24];
	int capacity;

	if (listener->querying) {
		listener->again = true;
		return;
	}
	capacity = listener->ops->capacity(listener->arg);
	if (!db_is_up(listener->db) || capacity < 0)
		return;
	snprintf(limit, sizeof(limit), "%d", capacity + 1);
	db_query(listener->db, listener->stmt.name,
		&(struct db_param){ limit, (int)strlen(limit), false }, 1);
	db_sync(listener->db);
	listener->querying = true;
	listener->queried_at = mono_ms();
}

static void on_up(struct db *db, void *arg)
{
	struct listener *listener = arg;

	(void)db;
	listener->querying = listener->again = false;
	query(listener);
}

static void on_down(struct db *db, void *arg, const char *why)
{
	struct listener *listener = arg;

	(void)db;
	(void)why;
	listener->querying = listener->nothing_waits = false;
}

static void on_result(struct db *db, void *arg, PGresult *res)
{
	struct listener *listener = arg;

	(void)db;
	if (PQresultStatus(res) == PGRES_TUPLES_OK) {
		int waiting = atoi(PQgetvalue(res, 0, WAITING_COUNT_OUT_N));

		/* What was committed after this query is notified after it. */
		listener->nothing_waits = waiting == 0 && !listener->again;
		listener->ops->offer(listener->arg, waiting);
	}
	PQclear(res);
}

static void on_synced(struct db *db, void *arg)
{
	struct listener *listener = arg;

	(void)db;
	listener->querying = false;
	if (listener->again) {
		listener->again = false;
		query(listener);
	}
}

bool listener_nothing_waits(const struct listener *listener)
{
	return listener->nothing_waits;
}

void listener_run_available(void *arg)
{
	struct listener *listener = arg;

	listener->nothing_waits = false;
	query(listener);
}

static void on_notified(struct db *db, void *arg, const char *channel)
{
	(void)db;
	(void)channel;
	listener_run_available(arg);
}

static const struct db_ops db_ops = {
	.up = on_up,
	.down = on_down,
	.result = on_result,
	.synced = on_synced,
	.notified = on_notified,
};

struct listener *listener_open(
	const struct context *context, const struct listener_ops *ops, void *arg)
{
	const struct stmt *count = stmt_get("waiting_count");
	struct listener *listener = xcalloc(1, sizeof(*listener));

	listener->context = context;
	listener->ops = ops;
	listener->arg = arg;
	listener->stmt = (struct db_stmt){ .name = count->name, .sql = count->sql };
	listener->db = db_open(context->loop, &(struct db_config){
						      .conninfo = context->conf->url,
						      .name = "listen",
						      .application_name = "interlockd",
						      .settings = batch_settings,
						      .stmts = &listener->stmt,
						      .nstmts = 1,
						      .listen = "interlock_waiting",
						      .ops = &db_ops,
						      .arg = listener,
					      });
	return listener;
}

/* A query without a result says nothing, and after a while its connection is given up. */
void listener_poll(struct listener *listener)
{
	if (listener->querying) {
		listener->nothing_waits = false;
		if (db_is_up(listener->db) &&
			mono_ms() - listener->queried_at > listener->context->conf->queue_timeout)
			db_reset(listener->db, "no answer from the database");
	}
	query(listener);
}

void listener_close(struct listener *listener, void (*on_closed)(void *arg), void *arg)
{
	db_close(listener->db, on_closed, arg);
}

void listener_free(struct listener *listener)
{
	free(listener);
}

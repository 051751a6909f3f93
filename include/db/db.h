/*
 * db: one connection to PostgreSQL that keeps itself up, in pipeline mode, on the loop. It knows no
 * statement: it is handed a table of them to prepare and calls back with results in the order in
 * which they were sent. Losing the connection is an event, never the return value of a send.
 */
#ifndef DB_H
#define DB_H

#include "lib/base.h"

#include <libpq-fe.h>
#include <uv.h>

struct db;

/* A statement to prepare at each connect. The text is borrowed forever. */
struct db_stmt {
	const char *name;
	const char *sql;
	const char *columns; /* of its result: "name, …"; NULL: not checked */
};

/* One parameter in binary or text format. p == NULL is SQL NULL. Borrowed for the call only. */
struct db_param {
	const char *p;
	int n;
	bool binary;
};

struct db_ops {
	/* Connected, settings made, statements prepared, LISTENing: ready for sends. */
	void (*up)(struct db *db, void *arg);
	/* The connection is gone, with everything sent since the last `synced`; `why` is one line
	 * without secrets. Only after an `up`. It reconnects by itself: at once, then after 100 ms,
	 * doubled up to 2 s. Never called from within a send. May be NULL. */
	void (*down)(struct db *db, void *arg, const char *why);
	/* The result of the next statement sent (PGRES_TUPLES_OK, _COMMAND_OK, _FATAL_ERROR or
	 * _PIPELINE_ABORTED). Takes res (PQclear). */
	void (*result)(struct db *db, void *arg, PGresult *res);
	/* The next db_sync has been passed: what came before it is committed, or was rolled back if
	 * a result was an error. */
	void (*synced)(struct db *db, void *arg);
	/* A notification came. May be NULL. */
	void (*notified)(struct db *db, void *arg, const char *channel);
};

struct db_config {
	const char *conninfo;         /* URL or key=value; several hosts are fine; copied */
	const char *name;             /* for the log and the metrics: "writer 0"; copied */
	const char *application_name; /* copied */
	const char *const *settings;  /* name, value, name, value, NULL: made at each connect;
					 borrowed forever */
	const struct db_stmt *stmts;  /* borrowed forever */
	size_t nstmts;
	const char *listen;       /* a channel to LISTEN on, or NULL */
	const struct db_ops *ops; /* borrowed forever */
	void *arg;
};

/* Starts connecting. Host names are resolved on libuv's pool before libpq sees them. A statement
 * that does not prepare on a healthy connection is our fault: fatal(). A server that is read-only
 * (a standby) is as good as away: the next host is tried. */
struct db *db_open(uv_loop_t *loop, const struct db_config *config);

bool db_is_up(const struct db *db);

/* Is it up, and may something be sent? */
bool db_is_ready(const struct db *db);

/* When the connection was last established, mono_ms(); 0 while it is down. */
int64_t db_up_since(const struct db *db);

/* Queues an execution of a prepared statement; results come as text. If the connection breaks this
 * does nothing visible: `down` comes from the loop. Must not be called while the connection is
 * down. */
void db_query(struct db *db, const char *stmt, const struct db_param *params, int n);

/* Ends the transaction and hands everything queued to the socket. */
void db_sync(struct db *db);

/* The same for what is large: in a thread of the pool calls `send`, which calls db_query and
 * db_sync and touches nothing else of the loop's, and waits there until the socket has taken all of
 * it and the first result has come. Meanwhile nothing else may be sent. A db_reset ends it; a
 * db_close must wait until pool_open() is 0. */
void db_exchange_beside(struct db *db, void (*send)(void *arg), void *arg);

/* Drops the connection and reconnects (`down` follows from the loop), for a backend that does
 * not answer or has become read-only. */
void db_reset(struct db *db, const char *why);

/* Exchanges an idle connection for a new one to the same server, since libpq's buffers only grow.
 * It stays up meanwhile, but nothing may be sent before the next `up`; `down` comes only if the
 * server is gone. */
void db_renew(struct db *db);

/* Closes for good and frees; no callback comes any more except on_closed, from the loop. */
void db_close(struct db *db, void (*on_closed)(void *arg), void *arg);

#endif

/*
 * db_private: what db.c (the states), db_connect.c (from nothing to a connection) and db_answers.c
 * (what is sent and what comes back) share. Private to them.
 */
#ifndef DB_PRIVATE_H
#define DB_PRIVATE_H

#include "db/db.h"
#include "lib/pool.h"
#include "db_hosts.h"
#include "lib/metrics.h"

enum {
	DB_ANSWER = 5000,    /* ms for a server to accept us, and again to prepare everything */
	DB_RETRY_MIN = 100,  /* ms between two rounds over the hosts, doubled … */
	DB_RETRY_MAX = 2000, /* … up to this */
};

enum db_state {
	WAITING,    /* the timer starts the next attempt */
	RESOLVING,  /* on_resolved comes */
	CONNECTING, /* within PQconnectPoll; the timer gives up */
	PREPARING,  /* settings, statements and LISTEN are on their way; the timer gives up */
	UP,
	LENT,   /* to a thread (db_lend.c): the loop does not touch the connection */
	BROKEN, /* lost; the timer buries it */
	CLOSING
};

/* What the server owes an answer for, in db->owed. */
enum db_awaited { STATEMENT = 'q', SYNC = 's' };

struct db {
	struct db_config config; /* conninfo and application_name are in hosts, name is ours */
	struct db_hosts *hosts;
	size_t host;                   /* the one being tried or used */
	struct addrinfo *found, *addr; /* all its addresses, and the one being tried or used */

	uv_loop_t *loop;
	uv_timer_t timer;
	uv_getaddrinfo_t resolver;
	uv_poll_t *poll; /* on the connection's socket, or NULL */
	int watched;     /* the events it waits for */

	enum db_state state;
	PGconn *conn;
	struct buf owed; /* one enum db_awaited for each answer to come … */
	size_t answered; /* … of which so many at its beginning have come */

	bool up;          /* the caller has been notified */
	int64_t up_since; /* mono_ms(), the last time */
	int64_t delay;    /* ms to wait after the next failed round */
	unsigned failures;
	char why[256]; /* the last failure */
	struct series *stat_up, *stat_connects;

	/* While the connection is lent to a thread nothing above is touched in the loop. */
	bool recalled;
	bool lost;  /* by the thread; `why` says why */
	int socket; /* for db_recall */
	struct pool_job job;
	void (*send)(void *arg);
	void *send_arg;

	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* db.c */

/* The only place that changes the state. ms < 0: no timer in this state. */
void db_enter(struct db *db, enum db_state state, int64_t ms);
/* PREPARING or UP: there is a session, as far as we know. */
bool db_is_live(const struct db *db);
/* Marks this attempt, or this connection, as failed. The first line of the text counts, and the
 * first call. */
void db_fail(struct db *db, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Waits for these events on the connection's socket, then calls db_connect_continue or db_read. */
void db_watch(struct db *db, int events);
/* Before anything that may close the socket, whose number may be another's right afterwards. */
void db_unwatch(struct db *db);
/* Hands to the socket what it takes, and waits for it only if it does not take everything. */
void db_flush(struct db *db);
/* PREPARING has succeeded; tells the owner. */
void db_established(struct db *db);
/* The last step of closing, when nothing but the timer is left. */
void db_release(struct db *db);

/* db_lend.c: makes a lent connection come back, broken. */
void db_recall(struct db *db);

/* db_connect.c */

/* Begins to connect: to db->addr, or to db->host after its name has been resolved. */
void db_connect(struct db *db);
/* The socket is ready for the next step of connecting. */
void db_connect_continue(struct db *db);
/* Moves on to the next address, the next host or, also after a connection that was up, the next
 * round; returns how many milliseconds to wait before db_connect. */
int64_t db_connect_next(struct db *db, bool was_up);

/* db_answers.c */

/* Takes the server's notices; for PQsetNoticeReceiver. */
void db_on_notice(void *arg, const PGresult *res);
/* Sends everything that a new session needs, in one pipeline. */
void db_prepare(struct db *db);
/* Notes that what was sent will be answered or, if it could not be, that the connection is lost. */
void db_await(struct db *db, enum db_awaited kind, int sent);
/* Reads what has come and hands answers and notifications on, then writes what waits. */
void db_read(struct db *db);

#endif

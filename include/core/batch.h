/*
 * batch: natural group commit. A batch is what has queued up while the batch before it was being
 * committed: one pipeline and one transaction of lock, one statement for each kind of message,
 * settle, Sync. The submitter of an item is called back exactly once, after the Sync: an `ok` is
 * durable.
 */
#ifndef BATCH_H
#define BATCH_H

#include "core/stmt.h"
#include "db/value.h"

#include <sys/queue.h>

struct batch;

enum lane_kind {
	LANE_WRITE, /* messages that change runs: by hash of the work order over several connections
		     */
	LANE_READ,  /* what only reads */
	LANE_CLAIM, /* claims, behind their advisory lock; never sent twice */
	LANE_BODY,  /* large bodies, one at a time */
	LANES
};

enum batch_status {
	BATCH_DONE,        /* committed; res holds the rows, if the statement returns any */
	BATCH_UNAVAILABLE, /* the database is away and the patience is over: the outcome is unknown
			    */
	BATCH_CONSTRAINT,  /* refused by a constraint, whose name is given */
	BATCH_FAILED,      /* not done, for a reason that is logged: refused by the database, or its
			    * statement did not end in time, alone and again */
};

/* Borrowed for the call. The item's rows are first … first + rows - 1 of res. */
struct batch_result {
	enum batch_status status;
	const PGresult *res;
	int first, rows;
	const char *constraint;
};

/* A message on its way. The submitter owns it and fills in what stands above the line; it must stay
 * where it is until done. Two items of one run are never in the same batch. */
struct batch_item {
	const struct stmt *stmt;
	struct value *values; /* rows × stmt->columns, row by row */
	int rows;
	const char *scalars[4]; /* text; items share a statement only when they are equal */
	struct uuid project_id, work_order_id, run_id;
	bool locks;   /* changes the run or a step: the work order is locked first */
	bool settles; /* may change the run's class: the work order's state is recomputed */
	bool waits;   /* keeps its place in the queue, but is not sent before batch_release */
	void (*done)(struct batch_item *item, const struct batch_result *result);
	/* ---- */
	TAILQ_ENTRY(batch_item) entry;
	int64_t since;
	size_t bytes;
	bool submitted; /* from batch_submit until done is called: for callers that submit
			   repeatedly looks */
	bool alone, resent;
	bool timed_out; /* its statement did not end in time when it was last sent alone */
	int tries;      /* that it was the reason, or may have been, for sending again */
	int64_t due;    /* mono_ms(): not sent before */
};

struct batch_config {
	const char *conninfo;
	const char *coordinator; /* this coordinator's name, for the journal */
	int writers;
	int64_t patience; /* milliseconds */
	/* Every connection is up, or no longer so; with a sentence. May be NULL. */
	void (*up)(void *arg, bool up, const char *why);
	void *arg;
};

/* Opens the connections. Strings are borrowed forever. */
struct batch *batch_new(uv_loop_t *loop, const struct batch_config *config);

/* Queues the item; done is called from the loop, never from here. */
void batch_submit(struct batch *b, enum lane_kind lane, struct batch_item *item);
/* The same for the next part of a message of which a part is done: it goes ahead of what is queued,
 * so that the order of a run's messages is kept. */
void batch_continue(struct batch *b, enum lane_kind lane, struct batch_item *item);
/* What an item waited for is there (its values, perhaps): it may be sent, or is taken out of the
 * queue (and is not done). Until then no later message of its run is sent either. */
void batch_release(struct batch *b, struct batch_item *item);
void batch_withdraw(struct batch *b, enum lane_kind lane, struct batch_item *item);

bool batch_is_up(const struct batch *b); /* all connections are */
bool batch_lane_is_up(const struct batch *b, enum lane_kind lane);
/* Since when all connections have been up, mono_ms(); 0 while one is not. */
int64_t batch_up_since(const struct batch *b);

/* Are messages that were in flight when a connection broke still to be applied? */
bool batch_is_resending(const struct batch *b);

/* Settings for any connection of the daemon's, as db_config wants them: with the NULL at the end.
 */
enum { BATCH_SETTINGS = 25 };
extern const char *const batch_settings[BATCH_SETTINGS];
/* Puts those and the coordinator's name (borrowed), BATCH_SETTINGS + 1 words, into settings, which
 * is zeroed and has room for at least one more. Returns how many they are: further ones may follow.
 */
size_t batch_settings_of(const char *coordinator, const char **settings);

/* Sends nothing any more, and makes threads that send end: before batch_close pool_open() must be
 * 0.
 */
void batch_stop(struct batch *b);

/* Ends whatever is queued or in flight as unavailable, closes the connections, then calls
 * on_closed. */
void batch_close(struct batch *b, void (*on_closed)(void *arg), void *arg);
void batch_free(struct batch *b);

#endif

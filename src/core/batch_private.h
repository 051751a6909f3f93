/*
 * What batch.c (the lanes together), batch_lane.c (one lane, and what became of its batch) and
 * batch_send.c (one batch on its way) share. Private to them.
 */
#ifndef BATCH_PRIVATE_H
#define BATCH_PRIVATE_H

#include "core/batch.h"
#include "lib/metrics.h"

enum {
	/* Messages in a batch. They are of seven kinds at once, so a batch of 64 has ten rows for
	 * each statement, and beginning a statement costs more than its rows; beyond 256 nothing is
	 * won. */
	BATCH_ITEMS = 256,
	BATCH_BYTES = 1024 * 1024, /* of parameters */
	BATCH_BESIDE = 256 * 1024, /* more than these are sent beside the loop */
	BATCH_WAITING = 1024,      /* messages that wait for their bodies, before others wait too */
	/* Times that a message is sent again after a deadlock, a serialization failure, a vanished
	 * reference, or the loss of a connection. */
	BATCH_RETRIES = 5,
	/* A statement of a writer that takes longer than this part of the patience is cancelled by
	 * the server, and never after less than so many milliseconds: what hangs is found out by
	 * sending messages alone, and those that waited for it still have time enough. */
	BATCH_HOLD_PART = 10,
	BATCH_HOLD_MIN = 1000,
	/* Messages for which plans are kept, at first and at most. They are made for the tables'
	 * sizes: one that was made for a nearly empty table reads all of it, however it grows. */
	BATCH_PLANS_MIN = 256,
	BATCH_PLANS_MAX = 65536,
};

TAILQ_HEAD(batch_queue, batch_item);

/* The items that share one statement. */
struct batch_group {
	const struct stmt *stmt;
	struct batch_queue items;
	PGresult *res;
};

/* What went wrong first in a batch. */
struct batch_error {
	bool set;
	char state[6];       /* SQLSTATE */
	char constraint[64]; /* NAMEDATALEN */
	char message[256];
};

/* One connection, its queue and the one batch it has in flight. */
struct lane {
	struct batch *batch;
	enum lane_kind kind;
	char name[24];
	struct db *db;
	const char *settings[BATCH_SETTINGS + 4];
	char timeout[24]; /* of a statement, milliseconds */
	struct batch_queue queue;

	struct batch_group groups[BATCH_ITEMS];
	int ngroups, nitems; /* in flight; 0: none */
	size_t bytes;        /* of parameters in flight */
	int answered;        /* results that have come */
	int first_group;     /* the result that is the first group's: how many are before it */
	int plan_lifetime, plan_messages_left; /* messages for which the plans are kept, of which so
						  many to come */
	struct batch_error error;
	int64_t sent_at; /* mono_ms() */

	struct series *stat_committed, *stat_failed, *stat_one_by_one, *stat_items, *stat_seconds,
		*stat_queued, *stat_wait, *stat_committing;
};

struct batch {
	struct batch_config config;
	struct lane *lanes; /* the writers first, then one of each other kind */
	int nlanes, writers;
	uv_timer_t patience;
	uv_timer_t soon; /* fires once when something was submitted */
	bool told_up, closing;
	int open;
	void (*on_closed)(void *arg);
	void *closed_arg;
	struct series *stat_resent;
};

/* Opens the lane's connection, which stays open. */
void lane_open(struct batch *b, uv_loop_t *loop, int index, enum lane_kind kind);
/* Sends the next batch, if none is in flight. */
void lane_send_next(struct lane *lane);
/* What has been queued, or sent again, for longer than the patience ends here. */
void batch_give_up_old(struct lane *lane);
/* For how long a statement may run on the lane, milliseconds. */
int64_t batch_hold(const struct lane *lane);
/* All that the lane has ends here. */
void lane_fail_all(struct lane *lane);
/* Whether all lanes are up may have changed. */
void batch_notify_state(struct batch *b, const char *why);

/* Takes the next batch off the queue and sends it; nothing to do leaves nitems 0. */
void batch_send(struct lane *lane);

#endif

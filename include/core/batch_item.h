/*
 * batch_item: one message on its way through the database, and what becomes of it. What batches,
 * lanes and those who submit to them have in common.
 */
#ifndef BATCH_ITEM_H
#define BATCH_ITEM_H

#include "core/stmt.h"
#include "db/value.h"

#include <sys/queue.h>

enum lane_kind {
	LANE_WRITE, /* messages that change runs: by hash of the work order over several connections
		     */
	LANE_READ,  /* what only reads */
	LANE_CLAIM, /* claims, behind their advisory lock; never sent twice */
	LANE_BODY,  /* large bodies, one at a time, in either direction */
	LANE_SLOW,  /* messages that took too long for a writer; only batch submits to it */
	LANES
};

enum batch_status {
	BATCH_DONE,        /* committed; res holds the rows, if the statement returns any */
	BATCH_UNAVAILABLE, /* the database is away and the queue_timeout is over: the outcome is
			    * unknown
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
	PGresult **alone; /* res, where it is the item's alone: who takes it (PQclear) sets it to
			     NULL */
};

/* A message on its way. The submitter owns it and fills in what stands above the line; it must stay
 * where it is until done is called. Two items of one run are never in the same batch. */
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
	bool submitted;    /* from batch_submit until done is called: for submitters that submit the
			    * same item again and again */
	int64_t queued_at; /* mono_ms() */
	size_t bytes;      /* of its values */
	bool one_by_one;   /* sent in a batch of its own */
	bool resent;       /* it was in flight when its connection was lost */
	bool timed_out;    /* its statement did not end in time when it was last sent one by one */
	int tries;         /* that it was the reason, or may have been, for sending again */
	int64_t not_before; /* mono_ms(): not sent earlier */
};

TAILQ_HEAD(batch_queue, batch_item);

#endif

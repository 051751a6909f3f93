/*
 * pipeline: one batch of a lane: chosen from its queue, made into array parameters, and sent as one
 * pipeline and transaction. Private to lane.
 */
#ifndef PIPELINE_H
#define PIPELINE_H

#include "core/batch_item.h"
#include "db/db.h"

enum {
	/* Messages in a batch. They are of seven kinds at once, so a batch of 64 has ten rows for
	 * each statement, and beginning a statement costs more than its rows; beyond 256 nothing is
	 * gained. */
	PIPELINE_ITEMS = 256,
	/* Messages for which plans are kept, at first. They are made for the tables' sizes: one
	 * that was made for a nearly empty table reads all of it, however it grows. */
	PIPELINE_PLANS_MIN = 256,
};

/* The items that share one statement. */
struct pipeline_group {
	const struct stmt *stmt;
	struct batch_queue items;
	PGresult *res; /* of the statement, once it is there; owned by the lane */
};

/* What is in flight on one connection. Its first six members are the owner's to set. */
struct pipeline {
	enum lane_kind kind;
	struct db *db;
	int most;               /* messages in the next batch, at most PIPELINE_ITEMS */
	const char *timeout;    /* of its statements, milliseconds; NULL: the connection's own */
	int plan_messages_left; /* messages before the statements are planned again … */
	int plan_lifetime;      /* … and the next time after so many */
	struct pipeline_group groups[PIPELINE_ITEMS];
	int ngroups, nitems;   /* 0: none in flight */
	size_t bytes;          /* of parameters in flight */
	int first_group;       /* the result that is the first group's: how many are before it */
	size_t sent, received; /* bytes of the largest batch, and of the largest result */
};

/* What libpq's buffers of this connection have grown by, bytes. */
size_t pipeline_buffered(const struct pipeline *p);
/* A new connection, whose buffers are small; or a result came. */
void pipeline_connected(struct pipeline *p);
void pipeline_received(struct pipeline *p, const PGresult *res);

/* Moves the next batch from the queue into the pipeline, which is empty. False if no message may be
 * sent. */
bool pipeline_fill(struct pipeline *p, struct batch_queue *queue);
/* Sends it. A large body is sent, or received, in a thread (db_exchange_beside). */
void pipeline_send(struct pipeline *p);

#endif

/*
 * snapshot: what the channels of one workflow's runs have in common: the larger part of the plan,
 * and the secrets of its credentials. Of equal ones there is one, however many channels hold it.
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "keys.h"
#include "scrub.h"

#include <sys/queue.h>
#include <uv.h>

struct snapshot {
	char *plan;          /* members of a JSON object, without braces */
	struct scrub *scrub; /* NULL: there are no secrets */
};

/* Who waits for a snapshot; stays where it is until then. */
struct snapshot_wait {
	void (*ready)(struct snapshot_wait *wait);
	TAILQ_ENTRY(snapshot_wait) entry;
};

/* The one that has this plan and these credentials: an object of sealed bodies in hexadecimal
 * digits by id (null: too large to be handed out), absent where there are none. Borrows both, and
 * refers to the keys. Must be dropped. Its scrub must not be used before snapshot_await says so. */
const struct snapshot *snapshot_hold(uv_loop_t *loop, struct keys *keys, struct slice plan,
	struct slice credentials) __attribute__((warn_unused_result));
/* True if it is ready for use; else wait->ready is called, from the loop, when it is: large
 * credentials are read in a thread. */
bool snapshot_await(const struct snapshot *snapshot, struct snapshot_wait *wait)
	__attribute__((warn_unused_result));
/* How many are not ready. They end soon by themselves; the loop runs until then. */
int snapshot_open_jobs(void);

/* Holds it once more: for a thread that reads it, while its channel may take another one. */
const struct snapshot *snapshot_keep(const struct snapshot *snapshot)
	__attribute__((warn_unused_result));
void snapshot_drop(const struct snapshot *snapshot); /* NULL is fine */

/* Exchanges *held for the snapshot that has this credential's body among its secrets too, if it is
 * not in it already. False, with *held as it was, if the secrets cannot be replaced (scrub_add):
 * then the body must not be handed out. */
bool snapshot_extend(const struct snapshot **held, struct slice body)
	__attribute__((warn_unused_result));

/* Appends the body of a credential, which the database has answered as hexadecimal digits (absent:
 * it is too large), to body; the caller erases it. False, with a sentence appended to why, if it
 * cannot be handed out. */
bool snapshot_open(const struct keys *keys, struct slice id, struct slice hex, struct buf *body,
	struct buf *why) __attribute__((warn_unused_result));

#endif

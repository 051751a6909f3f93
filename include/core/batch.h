/*
 * batch: group commit. A batch is what has queued up while the batch before it was being
 * committed: one pipeline and one transaction of lock, one statement for each kind of message,
 * settle, Sync. The submitter of an item is called back exactly once, after the Sync: an `ok` is
 * durable.
 */
#ifndef BATCH_H
#define BATCH_H

#include "core/batch_item.h"
#include "core/batch_settings.h"

#include <uv.h>

struct batch;

struct batch_config {
	const char *conninfo;
	const char *coordinator; /* this coordinator's name, for the journal */
	int writers;
	int64_t queue_timeout; /* milliseconds */
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
/* An item whose `waits` is set may be sent now, its values being there; or it is taken out of the
 * queue, and done is never called. Until then no later message of its run is sent either. */
void batch_release(struct batch *b, struct batch_item *item);
void batch_withdraw(struct batch *b, enum lane_kind lane, struct batch_item *item);

bool batch_is_up(const struct batch *b); /* all connections are */
bool batch_lane_is_up(const struct batch *b, enum lane_kind lane);
/* Since when all connections have been up, mono_ms(); 0 while one is not. */
int64_t batch_up_since(const struct batch *b);

/* Bytes of the connections' buffers, beyond what they begin with. */
size_t batch_buffered(const struct batch *b);

/* Are messages that were in flight when a connection broke still to be applied? */
bool batch_is_resending(const struct batch *b);

/* Sends nothing any more, and makes threads that send end: before batch_close pool_open() must be
 * 0.
 */
void batch_stop(struct batch *b);

/* Ends whatever is queued or in flight as unavailable, closes the connections, then calls
 * on_closed. */
void batch_close(struct batch *b, void (*on_closed)(void *arg), void *arg);
/* Was it closed? Then nothing may be submitted. */
bool batch_is_closed(const struct batch *b);
void batch_free(struct batch *b);

#endif

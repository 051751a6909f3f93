/*
 * lane: one connection with its queue and the one batch that it has in flight. What has queued up
 * while a batch is committed becomes the next one. Private to batch, which only distributes.
 */
#ifndef LANE_H
#define LANE_H

#include "core/batch_item.h"

#include <uv.h>

struct lane;

struct lane_config {
	enum lane_kind kind;
	int index;               /* of several writers */
	const char *conninfo;    /* borrowed for the call */
	const char *coordinator; /* its name; borrowed until lane_free */
	int64_t queue_timeout;   /* milliseconds */
	/* The connection is up, or no longer so (with a sentence). From the loop. */
	void (*state_changed)(void *arg, const char *why);
	/* Of a writer: the item may be why a batch did not end in time, and is going back to the
	 * queue. Sets its `waits`, and sends it otherwise. From the loop. */
	void (*held_up)(void *arg, struct batch_item *item);
	void *arg;
};

/* Opens its connection. config is copied. */
struct lane *lane_open(uv_loop_t *loop, const struct lane_config *config);

/* Queue the item, behind the others or before them; it is sent by the next lane_send. The lane
 * borrows it until done is called, exactly once. */
void lane_submit(struct lane *lane, struct batch_item *item);
void lane_submit_first(struct lane *lane, struct batch_item *item);
/* The values of an item that was queued are there: it may be sent. */
void lane_release(struct batch_item *item);
/* Takes an item that is not in flight out of the queue. */
void lane_withdraw(struct lane *lane, struct batch_item *item);

/* Sends the next batch, if none is in flight and there is something to send. */
void lane_send(struct lane *lane);
/* To be called several times a second: ends what has waited longer than the queue_timeout, drops a
 * connection that has not answered for as long, and sends what was put off. */
void lane_check_timeouts(struct lane *lane);

/* Since when the connection has been up, mono_ms(); 0 while it is down. */
int64_t lane_up_since(const struct lane *lane);
/* Bytes of its connection's buffers, beyond what they begin with. */
size_t lane_buffered(const struct lane *lane);
/* Are messages that were in flight when the connection was lost still to be applied? */
bool lane_is_resending(const struct lane *lane);

/* Sends nothing any more, and ends a thread that sends. */
void lane_stop(struct lane *lane);
/* Ends whatever is queued or in flight as unavailable. */
void lane_fail_all(struct lane *lane);
/* Closes the connection; on_closed follows from the loop, and then lane_free. */
void lane_close(struct lane *lane, void (*on_closed)(void *arg), void *arg);
void lane_free(struct lane *lane);

#endif

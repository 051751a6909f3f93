/*
 * routes: what a worker can say. Each file of src/protocol contributes a list of routes, and two of
 * them the kinds of channels: worker:queue (queue.c) and run:<id> (run.c).
 */
#ifndef ROUTES_H
#define ROUTES_H

#include "session/session.h"

struct listener;
struct queue;

/* For sessions_config, whose `protocol` is the queue. */
extern const struct route *const protocol_routes[];
extern const struct channel_kind *const protocol_kinds[];

/* The joined worker:queue channels, and the claims that go back. Borrows context. */
struct queue *queue_new(const struct context *context);
/* Frees it, when no channel is left. */
void queue_free(struct queue *queue);
/* What it asks before the first worker joins, borrowed: whether runs wait, and whether the sessions
 * are draining. */
void queue_connect(
	struct queue *queue, const struct listener *listener, const struct sessions *sessions);
/* For the listener: how many workers have capacity (-1: no runs are handed out any more), and that
 * so many runs wait: as many workers are notified. */
int queue_capacity(void *queue);
void queue_offer(void *queue, int runs);
/* Releases the undelivered claims whose time has come. A periodic task: the argument is the queue.
 */
void queue_release_due(void *queue);
/* How many claims are being released, and ends of sockets recorded: a shutdown waits for them. */
int queue_open(const struct queue *queue);

#endif

/*
 * routes: what a worker can say. Each file of src/protocol contributes its routes, and two of them
 * the kinds of channels: worker:queue (queue.c) and run:<id> (run.c). The program puts the routes
 * into one table.
 */
#ifndef ROUTES_H
#define ROUTES_H

#include "session/channel.h"

struct listener;
struct queue;

/* The kinds of channels, for server.kinds: NULL-terminated. */
extern const struct channel_kind *const protocol_kinds[];
extern const struct channel_kind queue_kind, run_kind;

/* The joined worker:queue channels, and the claims that go back; server.protocol is set to it.
 * Borrows server. */
struct queue *queue_new(struct server *server);
/* Frees it, when no channel is left. */
void queue_free(struct queue *queue);
/* What tells whether runs wait, borrowed; before the first worker joins. */
void queue_set_listener(struct queue *queue, const struct listener *listener);
/* For the listener: how many workers have capacity (-1: no runs are handed out any more), and that
 * so many runs wait: as many workers are notified. */
int queue_capacity(void *queue);
void queue_offer(void *queue, int runs);
/* For the registry: the connected workers as a JSON array. */
void queue_print_workers(void *queue, struct buf *out);
/* A worker left a run's channel: a claim that has not started is released. */
void queue_release_left(struct server *server, const struct run_claim *claim);
/* Releases the undelivered claims whose time has come; a periodic task. */
void queue_release_due(struct queue *queue);

extern const struct route queue_routes[], run_routes[], step_routes[], log_routes[], plan_routes[];
extern const int queue_nroutes, run_nroutes, step_nroutes, log_nroutes, plan_nroutes;

#endif

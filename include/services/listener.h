/*
 * listener: do runs wait? Workers are notified of them, and claims need not ask the database while
 * there are none.
 */
#ifndef LISTENER_H
#define LISTENER_H

#include "core/context.h"

struct listener;

/* The workers, as far as they matter here. */
struct listener_ops {
	/* How many have capacity; -1: no runs are handed out any more. */
	int (*capacity)(void *arg);
	/* So many runs wait. */
	void (*offer)(void *arg, int runs);
};

/* Opens the connection that listens for runs becoming available. All is borrowed until
 * listener_free. */
struct listener *listener_open(
	const struct context *context, const struct listener_ops *ops, void *arg);
/* Nothing waits, as far as is known: at most until the next poll that is not true. */
bool listener_nothing_waits(const struct listener *listener);
/* A run has become available; the argument is the listener, for callbacks. */
void listener_run_available(void *listener);
/* Queries, without a notification. */
void listener_poll(struct listener *listener);
/* Closes the connection; on_closed follows from the loop. */
void listener_close(struct listener *listener, void (*on_closed)(void *arg), void *arg);
/* After that, and when no claim can come any more. */
void listener_free(struct listener *listener);

#endif

/*
 * registry: tells the other coordinators and the operator, through the database, that this one is
 * there, by which policy it decides, and which workers are connected to it.
 */
#ifndef REGISTRY_H
#define REGISTRY_H

#include "core/context.h"

enum { REGISTRY_MS = 10 * 1000 }; /* how often it is worth publishing */

struct registry;

/* print_workers(arg, out) appends the connected workers, a JSON array. All is borrowed. */
struct registry *registry_new(const struct context *context,
	void (*print_workers)(void *arg, struct buf *out), void *arg);
/* Publishes it, unless the last publication is still running. */
void registry_publish(struct registry *registry);
/* When the batch is closed: nothing is running then. */
void registry_free(struct registry *registry);

#endif

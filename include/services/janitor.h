/*
 * janitor: takes runs that are overdue, as lost or back into the queue, on a connection of its own.
 * Any number of coordinators may run one on the same database. It never takes an outage for a
 * death: see janitor.c.
 */
#ifndef JANITOR_H
#define JANITOR_H

#include "core/context.h"

struct janitor;

/* Connects. context is borrowed until janitor_close has called back, and its configuration read
 * again in each sweep, which also measures the database's clock for it. */
struct janitor *janitor_open(const struct context *context);

/* Begins a sweep, if the database is there and the last one is over. A periodic task, as is its
 * interval in milliseconds ([janitor] interval): the argument is the janitor. */
void janitor_sweep(void *janitor);
int64_t janitor_interval(void *janitor);

/* Closes the connection and frees the janitor; on_closed follows from the loop. The periodic task
 * must have been stopped by the time that the loop runs again. */
void janitor_close(struct janitor *janitor, void (*on_closed)(void *arg), void *arg);

#endif

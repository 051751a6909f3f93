/*
 * pruner: removes what is older than [retention] says, in small transactions on a connection of its
 * own. Each coordinator has one; they take turns, batch by batch (interlock_prune).
 */
#ifndef PRUNER_H
#define PRUNER_H

#include "core/context.h"

struct pruner;

/* Connects. context is borrowed until pruner_close has called back, and its configuration read
 * again in each round. */
struct pruner *pruner_open(const struct context *context);

/* Takes the next step, if the database is there and the last one is over. A periodic task, as is
 * its interval in milliseconds, which is short while there is something to do: the argument is the
 * pruner. */
void pruner_run(void *pruner);
int64_t pruner_interval(void *pruner);

/* Closes the connection and frees the pruner; on_closed follows from the loop. The periodic task
 * must have been stopped by the time that the loop runs again. */
void pruner_close(struct pruner *pruner, void (*on_closed)(void *arg), void *arg);

#endif

/*
 * periodic: periodic tasks on the loop. A task is a row: what, and how often, which a reload may
 * change.
 */
#ifndef PERIODIC_H
#define PERIODIC_H

#include "lib/base.h"

#include <uv.h>

struct periodic_task {
	void (*run)(void *arg);
	int64_t ms;                  /* from the end of one run to the next */
	int64_t (*every)(void *arg); /* instead of ms, where it may change; called after each run */
	void *arg;                   /* for both; borrowed until periodic_stop */
	uv_timer_t timer;
};

/* Starts n tasks; each first runs when its time has passed. They must stay where they are. */
void periodic_start(uv_loop_t *loop, struct periodic_task *tasks, size_t n);
/* Their times may have changed: a task that would wait longer than that is rescheduled. */
void periodic_reschedule(struct periodic_task *tasks, size_t n);
/* No task runs any more. */
void periodic_stop(struct periodic_task *tasks, size_t n);

#endif

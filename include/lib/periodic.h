/*
 * chore: what is done from time to time. A chore is a row: what, and how often, which a reload may
 * change.
 */
#ifndef PERIODIC_H
#define PERIODIC_H

#include "lib/base.h"

#include <uv.h>

struct periodic_task {
	void (*run)(void);
	int64_t ms;             /* from the end of one run to the next */
	int64_t (*every)(void); /* instead of ms, where it may change; asked after each run */
	uv_timer_t timer;
};

/* Starts n chores; each is first done when its time has passed. They stay where they are. */
void periodic_start(uv_loop_t *loop, struct periodic_task *periodic_tasks, size_t n);
/* Their times may have changed: a task that would wait longer than that is rescheduled. */
void periodic_reschedule(struct periodic_task *periodic_tasks, size_t n);
/* None is done any more. */
void periodic_stop(struct periodic_task *periodic_tasks, size_t n);

#endif

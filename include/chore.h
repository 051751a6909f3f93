/*
 * chore: what is done from time to time. A chore is a row: what, and how often, which a reload may
 * change.
 */
#ifndef CHORE_H
#define CHORE_H

#include "base.h"

#include <uv.h>

struct chore {
	void (*run)(void);
	int64_t ms;             /* from the end of one run to the next */
	int64_t (*every)(void); /* instead of ms, where it may change; asked after each run */
	uv_timer_t timer;
};

/* Starts n chores; each is first done when its time has passed. They stay where they are. */
void chore_start(uv_loop_t *loop, struct chore *chores, size_t n);
/* Their times may have changed: whoever would wait longer than that now waits anew. */
void chore_hurry(struct chore *chores, size_t n);
/* None is done any more. */
void chore_stop(struct chore *chores, size_t n);

#endif

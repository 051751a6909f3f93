/*
 * pool: work on large messages beside the loop, on libuv's pool of threads. Few jobs at a time, so
 * that threads are left for what is short and waited for: names, signatures.
 */
#ifndef POOL_H
#define POOL_H

#include "lib/base.h"

#include <sys/queue.h>
#include <uv.h>

/* One piece of work. Zero-initialise it and fill in what stands above the line; it stays where it
 * is until done. */
struct pool_job {
	void (*work)(struct pool_job *job); /* in a thread: touches nothing of the loop's */
	void (*done)(struct pool_job *job); /* in the loop, never from within pool_start */
	/* ---- */
	uv_work_t request;
	STAILQ_ENTRY(pool_job) entry;
};

/* Does the work, after that of the jobs before it. */
void pool_start(uv_loop_t *loop, struct pool_job *job);

/* As free(3), for what may be large: giving back 100 MiB takes milliseconds, and is then done by a
 * thread. Takes p. */
void pool_free(uv_loop_t *loop, void *p);

/* How many jobs are not done. They end by themselves; the loop runs until then. */
int pool_open(void);

#endif

/*
 * pool: a queue before libuv's own, of which so many jobs at a time are handed on. Invariant:
 * between pool_start and done a job, and whatever it refers to, is used by its thread alone or is
 * constant. The pool of threads is libuv's, one for the process, and so is this queue before it:
 * the statics are no database's.
 */
#include "lib/pool.h"

#include <malloc.h>
#include <stdlib.h>

enum {
	AT_ONCE = 2,             /* of the pool's four threads */
	LARGE = 4 * 1024 * 1024, /* bytes that the loop does not free itself */
};

static STAILQ_HEAD(, pool_job) waiting = STAILQ_HEAD_INITIALIZER(waiting);
static int running, open_jobs;

int pool_open(void)
{
	return open_jobs;
}

static void on_work(uv_work_t *request)
{
	struct pool_job *job = container_of(request, struct pool_job, request);

	job->work(job);
}

static void on_worked(uv_work_t *request, int status);

static void hand_on(uv_loop_t *loop)
{
	struct pool_job *job;

	while (running < AT_ONCE && (job = STAILQ_FIRST(&waiting)) != NULL) {
		int err = uv_queue_work(loop, &job->request, on_work, on_worked);

		if (err != 0)
			fatalx("uv_queue_work: %s", uv_strerror(err));
		STAILQ_REMOVE_HEAD(&waiting, entry);
		running++;
	}
}

/* Jobs are never cancelled, so there is one outcome. */
static void on_worked(uv_work_t *request, int status)
{
	struct pool_job *job = container_of(request, struct pool_job, request);

	(void)status;
	running--;
	open_jobs--;
	hand_on(request->loop);
	job->done(job);
}

void pool_start(uv_loop_t *loop, struct pool_job *job)
{
	open_jobs++;
	STAILQ_INSERT_TAIL(&waiting, job, entry);
	hand_on(loop);
}

struct freed {
	struct pool_job job;
	void *p;
};

static void on_free(struct pool_job *job)
{
	free(container_of(job, struct freed, job)->p);
}

static void on_freed(struct pool_job *job)
{
	free(container_of(job, struct freed, job));
}

void pool_free(uv_loop_t *loop, void *p)
{
	struct freed *freed;

	if (p == NULL || malloc_usable_size(p) < LARGE) {
		free(p);
		return;
	}
	freed = xcalloc(1, sizeof(*freed));
	*freed = (struct freed){ .job = { .work = on_free, .done = on_freed }, .p = p };
	pool_start(loop, &freed->job);
}

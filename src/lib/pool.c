/*
 * pool: a queue before libuv's own, of which so many jobs at a time are handed on. Invariant:
 * between pool_start and done a job, and whatever it refers to, is used by its thread alone or is
 * constant. The pool of threads is libuv's, one for the process, and so is this queue before it:
 * the statics are no database's.
 */
#include "lib/pool.h"

enum { AT_ONCE = 2 }; /* of the pool's four threads */

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

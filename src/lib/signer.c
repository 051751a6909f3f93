/*
 * signer: a job is one piece of work for libuv's pool. Invariant: between signer_start and done a
 * job is its thread's alone, and threads have nothing in common but the key, which they only copy
 * from.
 */
#include "lib/signer.h"

enum { TOKEN_SIZE = 1024 }; /* of a run's; where the bytes are is the loop's heap, not a thread's */

/* Of the process, as the pool of threads is. */
static int open_jobs;

int signer_open_jobs(void)
{
	return open_jobs;
}

static void on_work(uv_work_t *work)
{
	struct signer_job *job = container_of(work, struct signer_job, work);

	for (int i = 0; i < job->n; i++)
		jwt_sign(job->key, job->tokens[i].claims, &job->tokens[i].text);
}

/* Jobs are never cancelled, so there is one outcome. */
static void on_worked(uv_work_t *work, int status)
{
	struct signer_job *job = container_of(work, struct signer_job, work);

	(void)status;
	open_jobs--;
	jwt_key_free(job->key);
	job->done(job);
}

void signer_start(uv_loop_t *loop, struct signer_job *job)
{
	int err;

	for (int i = 0; i < job->n; i++)
		buf_reserve(&job->tokens[i].text, TOKEN_SIZE);
	open_jobs++;
	job->key = jwt_key_ref(job->key);
	err = uv_queue_work(loop, &job->work, on_work, on_worked);
	if (err != 0)
		fatalx("uv_queue_work: %s", uv_strerror(err));
}

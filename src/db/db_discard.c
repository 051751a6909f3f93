/*
 * db_discard: giving back some hundred megabytes takes milliseconds, which the loop does not have
 * (db_discard.h).
 */
#include "db_discard.h"

#include "lib/pool.h"

#include <stdlib.h>

struct discarded {
	struct pool_job job;
	PGconn *conn;
};

static void on_work(struct pool_job *job)
{
	PQfinish(container_of(job, struct discarded, job)->conn);
}

static void on_done(struct pool_job *job)
{
	free(container_of(job, struct discarded, job));
}

void db_discard(uv_loop_t *loop, PGconn *conn)
{
	struct discarded *discarded = xcalloc(1, sizeof(*discarded));

	discarded->conn = conn;
	discarded->job.work = on_work;
	discarded->job.done = on_done;
	pool_start(loop, &discarded->job);
}

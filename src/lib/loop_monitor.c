/*
 * loop_monitor: a turn is from one wait for events to the next, without the wait itself, which
 * libuv measures.
 */
#include "lib/loop_monitor.h"

#include "lib/metrics.h"

static struct {
	uv_prepare_t prepare;
	uint64_t at, idle; /* nanoseconds, at the end of the turn before */
	struct series *stat;
} turn;

static void on_prepare(uv_prepare_t *prepare)
{
	uint64_t at = uv_hrtime(), idle = uv_metrics_idle_time(prepare->loop);

	if (turn.at != 0)
		metrics_observe(turn.stat, (double)(at - turn.at - (idle - turn.idle)) / 1e9);
	turn.at = at;
	turn.idle = idle;
}

void turn_start(uv_loop_t *loop)
{
	turn.stat = metrics_series(METRIC_LOOP_BUSY_SECONDS, NULL);
	uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
	uv_prepare_init(loop, &turn.prepare);
	uv_prepare_start(&turn.prepare, on_prepare);
	uv_unref((uv_handle_t *)&turn.prepare);
}

void turn_stop(void)
{
	uv_close((uv_handle_t *)&turn.prepare, NULL);
}

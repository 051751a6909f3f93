/*
 * The gauges of the runs. A queue's name is arbitrary, and a series lives as long
 * as the process: beyond so many names the others are counted as one.
 */
#include "services/sampler.h"

#include "lib/metrics.h"
#include "sql_columns.h"

#include <stdlib.h>

enum { QUEUES = 50 };

static const char others[] = "(others)";

static struct {
	struct batch_item item;
	struct queue {
		char *name;
		struct series *waiting, *oldest;
	} queues[QUEUES + 1];
	int nqueues;
} sample;

static struct queue *queue_of(const char *name)
{
	struct buf label = { 0 };
	struct queue *q;

	for (int i = 0; i < sample.nqueues; i++)
		if (strcmp(sample.queues[i].name, name) == 0)
			return &sample.queues[i];
	if (sample.nqueues >= QUEUES && strcmp(name, others) != 0)
		return queue_of(others);
	q = &sample.queues[sample.nqueues++];
	q->name = xstrdup(name);
	metrics_label(&label, "queue", name);
	q->waiting = metrics_series(METRIC_WAITING, label.p);
	q->oldest = metrics_series(METRIC_WAITING_SECONDS, label.p);
	buf_free(&label);
	return q;
}

static void set_queue(const char *name, double n, double age)
{
	struct queue *q = queue_of(name);

	metrics_add(q->waiting, n);
	if (age > metrics_value(q->oldest))
		metrics_set(q->oldest, age);
}

static void on_sampled(struct batch_item *item, const struct batch_result *r)
{
	static const char *const states[] = { "claimed", "started" };

	(void)item;
	if (r->status != BATCH_DONE)
		return;
	for (int i = 0; i < sample.nqueues; i++) {
		metrics_set(sample.queues[i].waiting, 0);
		metrics_set(sample.queues[i].oldest, 0);
	}
	for (size_t i = 0; i < countof(states); i++)
		metrics_set(metrics_seriesf(METRIC_RUNS, "state=\"%s\"", states[i]), 0);
	for (int i = r->first; i < r->first + r->rows; i++) {
		const char *name = PQgetvalue(r->res, i, SAMPLE_OUT_NAME);
		double n = atof(PQgetvalue(r->res, i, SAMPLE_OUT_N));

		if (strcmp(PQgetvalue(r->res, i, SAMPLE_OUT_WHAT), "queue") == 0)
			set_queue(name, n, atof(PQgetvalue(r->res, i, SAMPLE_OUT_AGE)));
		else
			metrics_set(metrics_seriesf(METRIC_RUNS, "state=\"%s\"", name), n);
	}
}

void sampler_run(struct batch *batch)
{
	if (sample.item.submitted || !batch_lane_is_up(batch, LANE_READ))
		return;
	sample.item = (struct batch_item){
		.stmt = stmt_get("sample"),
		.rows = 1,
		.done = on_sampled,
	};
	batch_submit(batch, LANE_READ, &sample.item);
}

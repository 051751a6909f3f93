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

struct sampler {
	const struct context *context;
	struct batch_item item;
	struct queue {
		char *name;
		struct series *waiting, *oldest;
	} queues[QUEUES + 1];
	int nqueues;
};

static struct queue *queue_of(struct sampler *sampler, const char *name)
{
	struct buf label = { 0 };
	struct queue *q;

	for (int i = 0; i < sampler->nqueues; i++)
		if (strcmp(sampler->queues[i].name, name) == 0)
			return &sampler->queues[i];
	if (sampler->nqueues >= QUEUES && strcmp(name, others) != 0)
		return queue_of(sampler, others);
	q = &sampler->queues[sampler->nqueues++];
	q->name = xstrdup(name);
	metrics_label(&label, "queue", name);
	q->waiting = metrics_series(METRIC_WAITING, label.p);
	q->oldest = metrics_series(METRIC_WAITING_SECONDS, label.p);
	buf_free(&label);
	return q;
}

static void set_queue(struct sampler *sampler, const char *name, double n, double age)
{
	struct queue *q = queue_of(sampler, name);

	metrics_add(q->waiting, n);
	if (age > metrics_value(q->oldest))
		metrics_set(q->oldest, age);
}

static void on_sampled(struct batch_item *item, const struct batch_result *r)
{
	static const char *const states[] = { "claimed", "started" };
	struct sampler *sampler = container_of(item, struct sampler, item);

	if (r->status != BATCH_DONE)
		return;
	for (int i = 0; i < sampler->nqueues; i++) {
		metrics_set(sampler->queues[i].waiting, 0);
		metrics_set(sampler->queues[i].oldest, 0);
	}
	for (size_t i = 0; i < countof(states); i++)
		metrics_set(metrics_seriesf(METRIC_RUNS, "state=\"%s\"", states[i]), 0);
	for (int i = r->first; i < r->first + r->rows; i++) {
		const char *name = PQgetvalue(r->res, i, SAMPLE_OUT_NAME);
		double n = atof(PQgetvalue(r->res, i, SAMPLE_OUT_N));

		if (strcmp(PQgetvalue(r->res, i, SAMPLE_OUT_WHAT), "queue") == 0)
			set_queue(sampler, name, n, atof(PQgetvalue(r->res, i, SAMPLE_OUT_AGE)));
		else
			metrics_set(metrics_seriesf(METRIC_RUNS, "state=\"%s\"", name), n);
	}
}

void sampler_run(void *arg)
{
	struct sampler *sampler = arg;
	struct batch *batch = sampler->context->batch;

	if (sampler->item.submitted || !batch_lane_is_up(batch, LANE_READ))
		return;
	sampler->item = (struct batch_item){
		.stmt = stmt_get("sample"),
		.rows = 1,
		.done = on_sampled,
	};
	batch_submit(batch, LANE_READ, &sampler->item);
}

struct sampler *sampler_new(const struct context *context)
{
	struct sampler *sampler = xcalloc(1, sizeof(*sampler));

	sampler->context = context;
	return sampler;
}

void sampler_free(struct sampler *sampler)
{
	for (int i = 0; i < sampler->nqueues; i++)
		free(sampler->queues[i].name);
	free(sampler);
}

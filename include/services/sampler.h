/*
 * sampler: the gauges that only the database can tell: which runs wait, and which are in flight.
 */
#ifndef SAMPLER_H
#define SAMPLER_H

#include "core/context.h"

enum { SAMPLER_MS = 10 * 1000 }; /* how often */

struct sampler;

/* context is borrowed until sampler_free, which must come after batch_close. */
struct sampler *sampler_new(const struct context *context);
void sampler_free(struct sampler *sampler);

/* Samples, unless the last sample is still running. While the database is away the gauges stay as
 * they were. A periodic task: the argument is the sampler. */
void sampler_run(void *sampler);

#endif

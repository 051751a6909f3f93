/*
 * sample: the gauges that only the database can tell: what waits, and what is in flight.
 */
#ifndef SAMPLER_H
#define SAMPLER_H

#include "core/batch.h"

enum { SAMPLER_MS = 10 * 1000 }; /* how often */

/* Asks, unless it is being asked. While the database is away the gauges stay as they were. Borrows
 * batch for the time of the question. */
void sampler_run(struct batch *batch);

#endif

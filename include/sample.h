/*
 * sample: the gauges that only the database can tell: what waits, and what is in flight.
 */
#ifndef SAMPLE_H
#define SAMPLE_H

#include "batch.h"

enum { SAMPLE_MS = 10 * 1000 }; /* how often */

/* Asks, unless it is being asked. While the database is away the gauges stay as they were. Borrows
 * batch for the time of the question. */
void sample_take(struct batch *batch);

#endif

/*
 * backpressure: which workers' sockets are read. One that is not makes TCP slow its sender.
 */
#ifndef BACKPRESSURE_H
#define BACKPRESSURE_H

#include "core/memory.h"

struct backpressure;

/* Borrows memory, and is called when it changes. Freed with free(3), when no socket is left. */
struct backpressure *backpressure_new(struct memory *memory);

/* Does a socket wait for memory? */
bool backpressure_memory_is_scarce(const struct backpressure *backpressure);
/* Reads sockets again that were slowed for being refused too often. A periodic task of 100 ms: the
 * argument is the backpressure. */
void backpressure_forgive(void *backpressure);
/* Reads no socket any more. */
void backpressure_stop_reading(struct backpressure *backpressure);

#endif

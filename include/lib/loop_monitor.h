/*
 * loop_monitor: how long the loop is busy at a stretch. Whoever sends something to the coordinator
 * may wait for as long, whatever it is.
 */
#ifndef TURN_H
#define TURN_H

#include <uv.h>

/* Observes each turn of the loop from now on, until turn_stop. */
void turn_start(uv_loop_t *loop);
void turn_stop(void);

#endif

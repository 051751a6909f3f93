/*
 * message: what a worker can say. Each file of layer 4 contributes its routes; main puts them into
 * one table.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "chan.h"

extern const struct route queue_routes[], run_routes[], step_routes[], log_routes[], plan_routes[];
extern const int queue_nroutes, run_nroutes, step_nroutes, log_nroutes, plan_nroutes;

/* Opens the connection that listens for runs becoming available; workers are told by
 * `work-available`. conninfo is borrowed for ever. */
void queue_listen(struct chan_server *server, const char *conninfo);
/* Something has become available: the workers are told. */
void queue_heard(void);
/* Looks whether anything waits, without having been told. */
void queue_poll(void);
void queue_close(void (*on_closed)(void *arg), void *arg);

#endif

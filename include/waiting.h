/*
 * waiting: do runs wait? Workers are told of them by `work-available`, and claims need not ask the
 * database while there are none.
 */
#ifndef WAITING_H
#define WAITING_H

#include "chan.h"

/* Opens the connection that listens for runs becoming available. conninfo is borrowed for ever. */
void waiting_open(struct chan_server *server, const char *conninfo);
/* Nothing waits, as far as is known: at most until the next poll that is not true. */
bool waiting_none(void);
/* Something has become available: the workers are told. */
void waiting_heard(void);
/* Looks, without having been told. */
void waiting_poll(void);
void waiting_close(void (*on_closed)(void *arg), void *arg);

#endif

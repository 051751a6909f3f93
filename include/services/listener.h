/*
 * waiting: do runs wait? Workers are notified of them by `work-available`, and claims need not ask
 * the database while there are none.
 */
#ifndef LISTENER_H
#define LISTENER_H

#include "session/channel.h"

/* Opens the connection that listens for runs becoming available. conninfo is borrowed forever. */
void listener_open(struct server *server, const char *conninfo);
/* Nothing waits, as far as is known: at most until the next poll that is not true. */
bool listener_nothing_waits(void);
/* A run has become available: workers are notified. */
void listener_run_available(void);
/* Queries, without a notification. */
void listener_poll(void);
void listener_close(void (*on_closed)(void *arg), void *arg);

#endif

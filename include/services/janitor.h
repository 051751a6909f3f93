/*
 * janitor: declares silent runs lost, or gives them back, on a connection of its own. Any number of
 * coordinators may run one on the same database. It never takes an outage for a death: see
 * janitor.c.
 */
#ifndef JANITOR_H
#define JANITOR_H

#include "session/channel.h"

/* Connects. server and its configuration are borrowed, and read again at each sweep; the strings
 * are borrowed forever. */
void janitor_open(struct server *server, const char *conninfo, const char *coordinator);

/* Begins a sweep, if the database is there and the last one is over; to be called every so many
 * milliseconds ([janitor] interval). */
void janitor_sweep(void);
int64_t janitor_interval(void);

/* janitor_sweep is not called any more; on_closed follows from the loop. */
void janitor_close(void (*on_closed)(void *arg), void *arg);

#endif

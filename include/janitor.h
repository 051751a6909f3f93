/*
 * janitor: declares silent runs lost, or gives them back, on a connection of its own. Any number of
 * coordinators may run one on the same database. It never takes an outage for a death: see
 * janitor.c.
 */
#ifndef JANITOR_H
#define JANITOR_H

#include "chan.h"

/* Connects. server and its configuration are borrowed, and read anew at each sweep; the strings are
 * borrowed for ever. */
void janitor_open(struct chan_server *server, const char *conninfo, const char *coordinator);

/* Begins a sweep, if the database is there and the last one is over; to be called every so many
 * milliseconds ([janitor] interval). */
void janitor_turn(void);
int64_t janitor_every(void);

/* janitor_turn is not called any more; on_closed follows from the loop. */
void janitor_close(void (*on_closed)(void *arg), void *arg);

#endif

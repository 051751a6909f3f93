/*
 * presence: tells the other coordinators and the operator, through the database, that this one is
 * there, by which policy it decides, and which workers are connected to it.
 */
#ifndef PRESENCE_H
#define PRESENCE_H

#include "chan.h"

enum { PRESENCE_MS = 10 * 1000 }; /* how often it is worth saying */

/* Says so, unless it is still being said. name is borrowed for ever. */
void presence_publish(struct chan_server *server, const char *name);

#endif

/*
 * presence: tells the other coordinators and the operator, through the database, that this one is
 * there, by which policy it decides, and which workers are connected to it.
 */
#ifndef REGISTRY_H
#define REGISTRY_H

#include "session/channel.h"

enum { REGISTRY_MS = 10 * 1000 }; /* how often it is worth saying */

/* Publishes it, unless the last publication is still running. name is borrowed forever. */
void registry_publish(struct server *server, const char *name);

#endif

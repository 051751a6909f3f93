/*
 * lease: renews the leases of runs whose workers are active. A run's lease is extended at most
 * once in a quarter of its length, and many of them in one statement.
 */
#ifndef LEASE_H
#define LEASE_H

#include "session/channel.h"

/* What server.heard wants. Returns at once; a renewal that fails is made good by the next. */
void lease_touch(struct channel *channel);

#endif

/*
 * snapshot: what the channels of one workflow's runs have in common: the larger part of the plan,
 * and the secrets of its credentials. Of equal ones there is one, however many channels hold it.
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "keys.h"
#include "scrub.h"

struct snapshot {
	char *plan;          /* members of a JSON object, without braces */
	struct scrub *scrub; /* NULL: there are no secrets */
};

/* The one that has this plan and these credentials: an object of sealed bodies in hexadecimal
 * digits by id, absent where there are none. Both are borrowed. Must be dropped. */
const struct snapshot *snapshot_hold(const struct keys *keys, struct slice plan,
	struct slice credentials) __attribute__((warn_unused_result));
/* The same once more; it must be dropped as often. */
const struct snapshot *snapshot_again(const struct snapshot *snapshot)
	__attribute__((warn_unused_result));
void snapshot_drop(const struct snapshot *snapshot); /* NULL is fine */

#endif

/*
 * plan_cache: what the channels of one workflow's runs have in common: the larger part of the plan,
 * and the secrets of its credentials. Of equal ones there is one, however many channels hold it.
 */
#ifndef PLAN_CACHE_H
#define PLAN_CACHE_H

#include "core/keyring.h"
#include "core/scrubber.h"

#include <sys/queue.h>
#include <uv.h>

struct cached_plan {
	char *plan;             /* members of a JSON object, without braces */
	struct scrubber *scrub; /* NULL: there are no secrets */
};

/* Who waits for a cached plan; stays where it is until then. */
struct plan_cache_wait {
	void (*ready)(struct plan_cache_wait *wait);
	TAILQ_ENTRY(plan_cache_wait) entry;
};

/* The one that has this plan and these credentials: an object of sealed bodies in hexadecimal
 * digits by id (null: too large to be handed out), absent where there are none. Borrows both, and
 * refers to the keys. Must be dropped. Its scrub must not be used before plan_cache_await says so.
 */
const struct cached_plan *plan_cache_get(uv_loop_t *loop, struct keyring *keys, struct slice plan,
	struct slice credentials) __attribute__((warn_unused_result));
/* True if it is ready for use; else wait->ready is called, from the loop, when it is: large
 * credentials are read in a thread. */
bool plan_cache_await(const struct cached_plan *cached, struct plan_cache_wait *wait)
	__attribute__((warn_unused_result));
/* Bytes of all of them, those that are being made too. */
size_t plan_cache_bytes(void);
/* How many are not ready. They end soon by themselves; the loop runs until then. */
int plan_cache_open_jobs(void);

/* Holds it once more: for a thread that reads it, while its channel may take another one. */
const struct cached_plan *plan_cache_keep(const struct cached_plan *cached)
	__attribute__((warn_unused_result));
void plan_cache_release(const struct cached_plan *cached); /* NULL is fine */

/* Exchanges *held for the cached plan that has this credential's body among its secrets too, if it
 * is not in it already. False, with *held as it was, if the secrets cannot be replaced
 * (scrubber_add): then the body must not be handed out. */
bool plan_cache_extend(const struct cached_plan **held, struct slice body)
	__attribute__((warn_unused_result));

/* Appends the body of a credential, which the database has answered as hexadecimal digits (absent:
 * it is too large), to body; the caller erases it. False, with a sentence appended to why, if it
 * cannot be handed out. */
bool plan_cache_open_credential(const struct keyring *keys, struct slice id, struct slice hex,
	struct buf *body, struct buf *why) __attribute__((warn_unused_result));

#endif

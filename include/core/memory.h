/*
 * memory: what is held in memory for peers, against [limits] memory. Every byte that is buffered
 * counts here: by those who hold it, or in the sockets (ws_buffered).
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "core/conf.h"
#include "ws/ws.h"

#include <sys/queue.h>

struct batch;
struct memory;

/* What it is held for. */
enum memory_use {
	MEMORY_MESSAGES, /* workers' requests, and what they make the daemon do */
	MEMORY_BODIES,   /* webhooks whose bodies have come */
	MEMORY_REPLIES,  /* kept for a reconnect */
	MEMORY_USES
};

/* Borrows conf. Freed with free(3). */
struct memory *memory_new(const struct conf *conf);
/* Counts what the sockets of this server hold, too. Borrowed. */
void memory_watch_sockets(struct memory *memory, const struct ws *ws);
/* Who is to be called after each change. */
void memory_on_change(struct memory *memory, void (*changed)(void *arg), void *arg);

/* The connections whose buffers count, too. Borrowed. */
void memory_watch_batch(struct memory *memory, const struct batch *batch);

/* So many bytes more, or fewer, are held. */
void memory_hold(struct memory *memory, enum memory_use use, ptrdiff_t bytes);
/* What the sockets hold has changed. */
void memory_sockets_changed(struct memory *memory);

/* Full is beyond the limit, and until a quarter of it is free again: or each message would pause
 * all sockets, and the next reply resume them. */
bool memory_is_full(const struct memory *memory);
/* Is there room for a large message of this size, for the body of a webhook, for a reply to be
 * kept? Three quarters of the limit are for large messages, a quarter is for bodies, an eighth for
 * replies. A message that is alone always has room, and so has a body. */
bool memory_has_room(const struct memory *memory, enum memory_use use, size_t size);
/* Do cached plans hold more than a quarter of the limit? Then no more runs are to be claimed. */
bool memory_plans_are_full(const struct memory *memory);

/* Who waits for room for what will be sent to a worker. */
struct memory_wait {
	size_t bytes;
	void (*on_room)(struct memory_wait *wait); /* may be called from within memory_await */
	TAILQ_ENTRY(memory_wait) entry;
};

/* Calls on_room, once, when there is room for so many bytes, as for a large message; in the order
 * in which they came. Borrows wait until then, or until memory_forget. */
void memory_await(struct memory *memory, struct memory_wait *wait);
void memory_forget(struct memory *memory, struct memory_wait *wait);

#endif

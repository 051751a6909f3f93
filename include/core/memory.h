/*
 * memory: what is held in memory for peers, against [limits] memory. Every byte that is buffered
 * counts here: by those who hold it, or in the sockets (ws_buffered).
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "core/conf.h"
#include "ws/ws.h"

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

#endif

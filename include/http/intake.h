/*
 * intake: POST /i/<trigger id>, Lightning's webhook. The body becomes a dataclip with a work order
 * and a run; the answer comes when they are durable, and 503 when that is not known.
 */
#ifndef INTAKE_H
#define INTAKE_H

#include "session/channel.h"
#include "ws/ws.h"

/* Answers at once what can be refused by its head, or has no room for a body of this length. */
void intake_head(
	struct server *server, struct ws_http *http, const struct ws_head *head, size_t length);

/* Answers the request, now or later; takes its body. Keeps server; enqueued(arg) is called
 * when a run has become available, before the answer. */
void intake_request(struct server *server, struct ws_http *http, const struct ws_head *head,
	struct buf *body, void (*enqueued)(void *arg), void *arg);

/* The client went away: user is what intake set. */
void intake_gone(void *user);

#endif

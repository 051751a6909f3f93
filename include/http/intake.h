/*
 * intake: POST /i/<trigger id>, Lightning's webhook. The body becomes a dataclip with a work order
 * and a run; the reply is sent when they are durable, or is 503 if that is not known.
 */
#ifndef INTAKE_H
#define INTAKE_H

#include "core/context.h"
#include "ws/ws.h"
#include "ws/ws.h"

/* Refuses a request by its head, or if there is no memory for a body of this length. */
void intake_head(const struct context *context, struct ws_http *http, const struct ws_head *head,
	size_t length);

/* Replies to the request, now or later; takes its body. Keeps context; enqueued(arg) is called
 * when a run has become available, before the reply. */
void intake_request(const struct context *context, struct ws_http *http, const struct ws_head *head,
	struct buf *body, void (*enqueued)(void *arg), void *arg);

/* The client has disconnected; user is what intake set. */
void intake_gone(void *user);

#endif

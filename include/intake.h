/*
 * intake: POST /i/<trigger id>, Lightning's webhook. The body becomes a dataclip with a work order
 * and a run; the answer comes when they are durable, and 503 when that is not known.
 */
#ifndef INTAKE_H
#define INTAKE_H

#include "batch.h"
#include "ws.h"

/* Answers the request, now or later. Borrows batch for ever; enqueued is called when a run has
 * become available, before the answer. */
void intake_request(struct batch *batch, struct ws_http *http, const struct ws_head *head,
	struct slice body, bool too_large, void (*enqueued)(void));

/* The client went away: user is what intake set. */
void intake_gone(void *user);

#endif

/*
 * health: /healthz, /readyz and /metrics, for monitoring.
 */
#ifndef HEALTH_H
#define HEALTH_H

#include "ws/ws.h"

/* Answers at once. not_ready: why the daemon is not ready, or NULL. */
void health_request(struct ws_http *http, const struct ws_head *head, const char *not_ready);

#endif

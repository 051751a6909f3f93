/*
 * endpoints: opens the listening sockets for workers, webhooks and metrics, on the addresses in
 * their options or on the sockets that systemd passes.
 */
#ifndef ENDPOINTS_H
#define ENDPOINTS_H

#include "core/conf.h"
#include "ws/ws.h"

/* Opens all listening sockets and logs their addresses; exits on an error. name: the coordinator's;
 * "" is replaced by the host name and the port of the first listening socket. */
void endpoints_open(struct ws *ws, const struct conf *conf, char *name, size_t size);

#endif

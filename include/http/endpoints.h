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

/* For ws: how many connections there may be that are no websockets: from this address; from all, if
 * it is NULL. Behind a proxy are many clients, who are known when their heads have come. */
int endpoints_max_connections(const struct conf *conf, const char *address);

#endif

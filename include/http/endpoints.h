/*
 * endpoints: opens the listening sockets for workers, for webhooks, for metrics, each where its
 * option says, or on the sockets that systemd hands over.
 */
#ifndef ENDPOINTS_H
#define ENDPOINTS_H

#include "core/conf.h"
#include "ws/ws.h"

/* Listens everywhere, or dies, and says where. name: the coordinator's, "" if it is to be called by
 * its host and the port of its first listening socket. */
void endpoints_open(struct ws *ws, const struct conf *conf, char *name, size_t size);

#endif

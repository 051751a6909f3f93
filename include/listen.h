/*
 * listen: opens the doors: for workers, for webhooks, for metrics, each where its option says, or
 * on the sockets that systemd hands over.
 */
#ifndef LISTEN_H
#define LISTEN_H

#include "conf.h"
#include "ws.h"

/* Listens everywhere, or dies, and says where. name: the coordinator's, "" if it is to be called by
 * its host and the port of its first door. */
void listen_open(struct ws *ws, const struct conf *conf, char *name, size_t size);

#endif

/*
 * throttle: is one worker's socket read? backpressure.c's side for the sessions. Private to this
 * folder.
 */
#ifndef THROTTLE_H
#define THROTTLE_H

#include "session/backpressure.h"

struct throttle;

/* What becomes of a large message. */
enum admission {
	ADMITTED,
	ADMITTED_LATER, /* the socket is not read any further until there is room */
	NOT_ADMITTED,   /* it has grown, there is no room, and others may wait for what it holds */
};

/* Of a socket, once it is open; until throttle_close. */
struct throttle *throttle_new(struct backpressure *backpressure);
void throttle_open(struct throttle *throttle, struct ws_socket *peer);
/* The socket is gone; nothing but throttle_free follows. */
void throttle_close(struct throttle *throttle);
void throttle_free(struct throttle *throttle);

/* So many of its requests are open; and whether a large message of it is being read beside the
 * loop, which those behind it have to wait for. */
void throttle_set_load(struct throttle *throttle, int open_requests, bool reading);
/* A message of this size is coming, or more of it than was said. */
enum admission throttle_admit(struct throttle *throttle, size_t size);
/* It is there, or given up. */
void throttle_message_came(struct throttle *throttle);
/* Its worker was refused something: too often, and its socket is read no faster than that. */
void throttle_refused(struct throttle *throttle);

#endif

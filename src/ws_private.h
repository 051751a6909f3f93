/*
 * What the files of ws share: ws.c is the server and what is common to its sockets, ws_peer.c the
 * websockets, ws_out.c what waits to be written to one, ws_http.c the plain requests, ws_listen.c
 * the listening sockets. Nobody else includes this.
 *
 * lws closes a socket at once and destroys it a turn of the loop later. All that we keep for a
 * socket is freed then and only then, so `closed` and `request_gone` come from the loop and exactly
 * once, whoever closed it and from wherever. And nothing is ever closed inside one of lws's
 * callbacks: the wish is noted, and the server's timer grants it (ws_nudge).
 */
#ifndef WS_PRIVATE_H
#define WS_PRIVATE_H

#include "stats.h"
#include "ws.h"

#include <libwebsockets.h>
#include <netinet/in.h>
#include <sys/queue.h>

struct listener;

struct ws {
	uv_loop_t *loop;
	struct ws_config config;
	struct lws_context *lws;
	struct lws_vhost *vhost;
	uv_timer_t timer;
	uv_prepare_t turn;              /* runs while a peer is due */
	TAILQ_HEAD(, ws_peer) due;      /* to be written to at the end of the turn */
	TAILQ_HEAD(, ws_peer) peers;    /* accepted handshakes, until they are destroyed */
	TAILQ_HEAD(, ws_http) requests; /* handed on, until they are destroyed */
	LIST_HEAD(, listener) listeners;
	int nconns, npeers;
	struct ws_held held; /* the sums of what its peers hold */
	int spare;           /* a descriptor to give up when there are no others left */
	bool exhausted;      /* the log knows that there are none */
	bool stopping;
	unsigned accepting; /* what the socket that is being adopted is for */
	struct series *stat_in, *stat_out, *stat_choked, *stat_chokes;
};

/* One accepted socket: lws's opaque user data, from its adoption to its destruction. */
struct conn {
	struct ws *ws;
	unsigned serves;
	struct ws_peer *peer; /* once its handshake is accepted */
	struct ws_http *http; /* once it has a request */
};

/* A ws_head with room for what it points to. */
struct head {
	struct ws_head ws;
	char address[INET6_ADDRSTRLEN];
};

/* Has the server's timer run at the next turn of the loop. */
void ws_nudge(struct ws *ws);
/* Has ws_peers_write called before the loop waits again. */
void ws_due(struct ws *ws);
/* False if the request has no method, or several. */
bool ws_head_read(struct head *head, struct lws *wsi) __attribute__((warn_unused_result));

/* ws_peer.c: what lws reports of a websocket. */
int ws_peer_upgrade(struct conn *conn, struct lws *wsi, const char *protocol);
void ws_peer_open(struct ws_peer *peer, struct lws *wsi);
void ws_peer_receive(struct ws_peer *peer, const void *p, size_t n);
void ws_peer_pong(struct ws_peer *peer);
void ws_peer_writable(struct ws_peer *peer);
void ws_peer_leaving(struct ws_peer *peer); /* it sent a close frame */
void ws_peer_closed(struct ws_peer *peer);  /* the socket must not be touched any more */
void ws_peer_free(struct ws_peer *peer);
void ws_peers_tick(struct ws *ws);
void ws_peers_write(struct ws *ws);

/* ws_out.c: the messages that wait to be written to a peer. */
struct ws_out {
	TAILQ_HEAD(, message) queue;
	size_t queued;  /* bytes of them that are not written */
	size_t largest; /* of them, since it was last reset */
};
void ws_out_init(struct ws_out *out);
/* Takes b, which began with ws_begin. */
void ws_out_add(struct ws_out *out, struct buf *b, bool binary);
void ws_out_drop(struct ws_out *out);
/* Writes once, from a queue that is not empty to a socket of which lws holds nothing back. False if
 * that failed. */
bool ws_out_write(struct ws_out *out, struct lws *wsi) __attribute__((warn_unused_result));

/* ws_http.c: what lws reports of a request. */
int ws_http_begin(struct conn *conn, struct lws *wsi);
void ws_http_body(struct ws_http *http, const void *p, size_t n);
void ws_http_complete(struct ws_http *http);
int ws_http_writable(struct ws_http *http);
void ws_http_free(struct ws_http *http);
void ws_http_tick(struct ws *ws);
/* Answers a refused handshake; returns what lws's callback has to. */
int ws_http_refuse(struct lws *wsi, int status, const char *why);

#endif

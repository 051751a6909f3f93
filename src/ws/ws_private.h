/*
 * What the files of ws share: ws.c is the server and what is common to its connections, ws_listen.c
 * the listening sockets, ws_http.c the connections that are accepted until they are answered or a
 * websocket, ws_socket.c the websockets, ws_out.c what waits to be written to one. No other file
 * includes this. They call each other in circles by nature: the server owns the connections and
 * runs their timer, and a connection updates the server's sums and asks for the timer.
 *
 * lws sees a connection only when its handshake was accepted, and only a head of our own making. It
 * closes a socket at once and destroys it a turn of the loop later. All that we keep for a peer is
 * freed then and only then, so `closed` comes from the loop and exactly once, by whatever
 * it was closed. And no peer is ever closed inside one of lws's callbacks: the wish is noted, and
 * the server's timer grants it (ws_run_timer).
 */
#ifndef WS_PRIVATE_H
#define WS_PRIVATE_H

#include "lib/metrics.h"
#include "ws/ws.h"

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
	uv_prepare_t turn;           /* runs while a peer is due */
	uv_timer_t room;             /* runs while no connection is accepted, for want of a place */
	TAILQ_HEAD(, ws_socket) due; /* to be written to at the end of the turn */
	TAILQ_HEAD(, ws_socket) peers;          /* accepted handshakes, until they are destroyed */
	TAILQ_HEAD(, ws_http) http_connections; /* all other connections, the oldest first */
	LIST_HEAD(, listener) listeners;
	int nsockets, nhttp;
	struct ws_buffered buffered; /* the sums of what its connections hold */
	int spare;                   /* a descriptor to give up when there are no others left */
	bool exhausted;              /* the log knows that there are none */
	bool stopping;
	struct ws_socket *adopting; /* whose socket is being handed to lws */
	struct series *stat_in, *stat_out, *stat_output_full, *stat_output_pauses, *stat_http;
};

/* Bytes that a peer moves in config.stall seconds, if it makes progress. */
enum { WS_PROGRESS = 64 * 1024 };

/* Has the server's timer run at the next turn of the loop. */
void ws_run_timer(struct ws *ws);
/* Has ws_sockets_write called before the loop waits again. */
void ws_schedule_write(struct ws *ws);
/* Replaces what a connection holds, *counted, in the server's sums; true if that changes them. */
bool ws_count(struct ws *ws, struct ws_buffered *counted, struct ws_buffered now);
/* Has the owner look at the sums. */
void ws_notify_buffered(struct ws *ws);

/* ws_http.c: connections that are no peers. Takes an accepted descriptor. */
void ws_http_new(struct ws *ws, int fd, unsigned serves);
bool ws_http_full(const struct ws *ws);
/* Closes the oldest that may be closed, of this address (NULL: of any), if it has been silent for
 * so many milliseconds. False if there is none. */
bool ws_http_drop(struct ws *ws, const char *address, uint64_t silent);
void ws_http_tick(struct ws *ws);
void ws_http_close(struct ws *ws);

/* ws_listen.c: accepts again what waits since there was no place for it. */
void ws_listen_again(struct ws *ws);

/* ws_socket.c: what lws reports of a websocket. */
struct ws_socket *ws_peer_new(struct ws *ws, void *user, bool masked);
void ws_socket_open(struct ws_socket *peer, struct lws *wsi);
void ws_socket_receive(struct ws_socket *peer, const void *p, size_t n);
void ws_socket_pong(struct ws_socket *peer);
void ws_socket_writable(struct ws_socket *peer);
void ws_socket_leaving(struct ws_socket *peer, struct slice close); /* it sent a close frame */
void ws_socket_closed(struct ws_socket *peer); /* the socket must not be touched any more */
void ws_socket_free(struct ws_socket *peer);
void ws_sockets_tick(struct ws *ws);
void ws_sockets_write(struct ws *ws);

/* ws_mask.c: watches for the first frame of a socket that is not being read; known is called from
 * the loop. NULL with errno set if there is no descriptor left. Given to ws_mask_forget once, from
 * known too. */
struct ws_mask *ws_mask_watch(
	uv_loop_t *loop, int fd, void (*known)(void *arg, bool masked), void *arg);
void ws_mask_forget(struct ws_mask *mask);

/* ws_out.c: the messages that wait to be written to a peer. */
struct ws_out {
	uv_loop_t *loop;
	TAILQ_HEAD(, message) queue;
	size_t queued;  /* bytes of them that are not written */
	size_t largest; /* of them, since it was last reset */
};
void ws_out_init(struct ws_out *out, uv_loop_t *loop);
/* Takes b, which began with ws_reserve_header. */
void ws_out_add(struct ws_out *out, struct buf *b, bool binary);
void ws_out_drop(struct ws_out *out);
/* Writes once, from a queue that is not empty to a socket of which lws holds nothing back. False if
 * that failed. */
bool ws_out_write(struct ws_out *out, struct lws *wsi) __attribute__((warn_unused_result));

#endif

/*
 * ws: sockets. Listens, accepts and answers plain HTTP itself, and hands what becomes a websocket
 * to libwebsockets, on the loop. Speaks of peers (websockets) and requests (plain HTTP) with
 * callbacks. Knows no frame, no token and no path.
 */
#ifndef WS_H
#define WS_H

#include "lib/base.h"

#include <uv.h>

struct head;

struct ws;        /* the server */
struct ws_socket; /* one open websocket */
struct ws_http;   /* one HTTP request that has not been answered */

/* What a listening socket is for. */
enum ws_serves { WS_WORKERS = 1, WS_INTAKE = 2, WS_METRICS = 4 };

/* How a peer ended: it sent a close frame; we did; it gave no sign of life; its connection ended
 * otherwise. */
enum ws_end { WS_END_BROKEN, WS_END_LEFT, WS_END_CLOSED, WS_END_SILENT };

/* What a handshake or a request brought. Borrowed for the call. */
struct ws_head {
	const char *method;      /* "GET" */
	const char *path;        /* in its normal form (head.h), without the query */
	const char *address;     /* the peer's: "127.0.0.1", "unix" */
	unsigned serves;         /* what the socket that it came in by is for: ws_serves, several */
	const struct head *head; /* for ws_query and ws_header */
};

/* The value of a query parameter, decoded ('+' is a space); NULL if it is not there. Owned by the
 * caller. */
char *ws_query(const struct ws_head *head, const char *name) __attribute__((warn_unused_result));
/* The value of a header ("Idempotency-Key", any case); NULL if it is not there. Owned by the
 * caller. */
char *ws_header(const struct ws_head *head, const char *name) __attribute__((warn_unused_result));

struct ws_ops {
	/* A websocket handshake. 101 accepts it (and *user is the peer's); any other status refuses
	 * it with that status and `why` as its text body, if set (a constant). */
	int (*handshake)(void *arg, const struct ws_head *head, void **user, const char **why);
	/* The accepted handshake became a peer. If it never does, `closed` is called with peer
	 * NULL. */
	void (*open)(void *user, struct ws_socket *peer);
	/* A whole message. Takes data (free(3)). cut: it was larger than max_message; data is its
	 * head (4 KiB, or what there was) and, behind a NUL, its tail (at least 16 KiB, or what
	 * there was); what was between them was read and dropped. data[n] is NUL. */
	void (*message)(void *user, char *data, size_t n, bool binary, bool cut);
	/* A message has begun that will have this size, or more; again when more fragments of it
	 * follow than that. False: the rest of it is not read before ws_resume. May be NULL. */
	bool (*admit)(void *user, size_t size);
	/* Does another peer wait for memory? Then a message that makes no
	 * progress is given up, with its peer. May be NULL: never. */
	bool (*memory_is_scarce)(void *arg);
	/* How many connections there may be that are no peers: from this address; from all, if it
	 * is NULL. May be NULL: as many as max_http_connections says. */
	int (*max_connections)(void *arg, const char *address);
	/* ws_buffered has changed. May be NULL. */
	void (*buffered)(void *arg);
	/* The peer is gone; the last call for this user. code: of the close frame that was received
	 * or sent, 1005 if it had none, 1006 if there was no frame. */
	void (*closed)(void *user, enum ws_end how, int code);
	/* The head of a plain request, whose body will have this many bytes. It may be answered at
	 * once (ws_http_reply): then the body is not kept. */
	void (*head)(void *arg, struct ws_http *http, const struct ws_head *head, size_t length);
	/* The same request with its whole body, unless it has been answered. Answer now or later.
	 * Takes the body if it wants to (and zeroes it). */
	void (*request)(
		void *arg, struct ws_http *http, const struct ws_head *head, struct buf *body);
	/* The client of an unanswered request went away: the handle is dead. user is what
	 * ws_http_set_user set. */
	void (*request_gone)(void *user);
};

struct ws_config {
	size_t max_message; /* bytes of one message */
	size_t soft,
		hard;    /* bytes waiting to be written to a peer: above soft it is not read,
			  * above hard beyond the largest single message it is  closed with 1013 */
	int silence;     /* seconds without a frame or a pong after which a peer is dropped; it is
			    pinged at half of that */
	int stall;       /* seconds in which what has begun must make progress (64 KiB, or its
			  * rest): a request's body, an answer, and a message if memory is scarce */
	int max_sockets; /* handshakes beyond this are answered 503 */
	int max_http_connections; /* connections that are no peers, as far as there are descriptors;
				   * one more takes the place of the oldest that has no whole
				   * request yet */
	const struct ws_ops *ops;
	void *arg;
};

/* As many descriptors as this process may have, and no more than lws can do with. */
int ws_max_descriptors(void);

/* Ready to listen; fatal() if lws does not start. config is copied. */
struct ws *ws_new(uv_loop_t *loop, const struct ws_config *config);

/* Listens on "127.0.0.1:4000", "[::1]:4000" or "unix:/path" (port 0: any; a stale unix socket is
 * replaced). False with errno set. What was bound is appended to bound as text that ws_listen would
 * take. */
bool ws_listen(struct ws *ws, const char *address, unsigned serves, struct buf *bound)
	__attribute__((warn_unused_result));
/* Takes over a listening descriptor (systemd's). */
bool ws_listen_fd(struct ws *ws, int fd, unsigned serves, struct buf *bound)
	__attribute__((warn_unused_result));
/* Closes the listening sockets. */
void ws_stop_listening(struct ws *ws);
/* What a good end waits for: is a request on its way to its answer; how many connections are there
 * that are no peer's, those without a request yet among them. */
bool ws_has_requests(const struct ws *ws);
int ws_other_connections(const struct ws *ws);

/* Room in front of a message for the websocket header: begin every outgoing buffer with
 * ws_reserve_header, append the message, and ws_send it. */
void ws_reserve_header(struct buf *b);
/* Takes b (and zeroes it). Written at once when the socket takes it, queued otherwise. */
void ws_send(struct ws_socket *peer, struct buf *b, bool binary);
/* Bytes held: for all peers, messages that are coming, and what is queued for them; for requests,
 * bodies that are coming, and heads and answers. A frame and a body count whole as soon as they
 * have begun (and may); a frame that comes in a single piece does not count. */
struct ws_buffered {
	size_t incoming, queued, bodies, requests;
};
struct ws_buffered ws_buffered(const struct ws *ws);

/* Stops and resumes reading from a peer; neither nests. A message that has begun (and may, see
 * ws_ops) is read to its end, or what it holds would be held forever. Frames already read by lws
 * may still come after a pause. */
void ws_pause(struct ws_socket *peer);
void ws_resume(struct ws_socket *peer);

/* Milliseconds since anything came from the peer or was written to it; 0 while something does: a
 * message has begun, waits unread in the socket, or is queued. */
int64_t ws_quiet(const struct ws_socket *peer);

/* Closes, and counts it, with this code after what is queued has been written (or after 2 s); no
 * message comes from the peer any more. `closed` follows from the loop. Never 1000. */
void ws_close(struct ws_socket *peer, int code);
/* Drops the connection without a word. `closed` follows from the loop. */
void ws_abort(struct ws_socket *peer);

/* Answers and forgets the request; the connection closes after it (one request each). body is
 * copied. content_type may be NULL for text/plain; extra_header ("Retry-After: 1") may be NULL. */
void ws_http_reply(struct ws_http *http, int status, const char *content_type,
	const char *extra_header, struct slice body);
void ws_http_set_user(struct ws_http *http, void *user);

/* Destroys the server in the two steps that lws wants: the first inside the loop, which closes
 * everything left; ws_free after uv_run has returned. */
void ws_shutdown(struct ws *ws);
void ws_free(struct ws *ws);

#endif

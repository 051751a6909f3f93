/*
 * What chan.c (sockets and channels), chan_read.c (messages), chan_req.c (requests), chan_answer.c
 * (replies) and chan_note.c (the log) share. Private to them.
 */
#ifndef CHAN_PRIVATE_H
#define CHAN_PRIVATE_H

#include "chan.h"

/* src/README.md, Bounds. */
enum { REQS_PAUSE = 64, REQS_RESUME = 32 };

/* Bytes: a larger message waits for room, a larger body goes ahead of its message. */
enum { LARGE = 64 * 1024 };

/* Counted by route; refusals are made as they come, by code. */
struct route_stats {
	struct series *ok, *seconds;
};

/* A request for a message that has not been read; takes data. */
struct req *req_new(struct chan_conn *conn, char *data, size_t size);
/* What says this event about this topic; NULL: nothing. */
const struct route *chan_route_of(
	const struct chan_server *server, struct slice topic, struct slice event);
void req_free(struct req *req);
/* Says in the log what became of the request: an answer (a refusal's code, "ok"), and before that
 * a verdict other than a refusal. */
void req_note(const struct req *req, const char *code);
void req_note_verdict(const struct req *req, const char *verdict);
/* Says that it is answered all the same, but without something. */
void req_note_warning(const struct req *req, const char *field, const char *message);
/* Counts what became of a run's message, by its statement's verdict, when the result arrives:
 * whether or not its worker is there to be answered. */
void req_count(const struct req *req, const struct batch_result *res);
/* Hands the request to its route. */
void req_run(struct req *req, const struct route *route);

/* chan_flow.c: so many bytes more, or fewer, are held by requests. */
void chan_account(struct chan_server *server, ptrdiff_t bytes);
/* Does this socket have to be paused, or resumed? */
void chan_flow(struct chan_conn *conn);
void chan_flow_init(void);
/* The socket's worker was refused something: too often, and it is slowed. */
void chan_flow_refused(struct chan_conn *conn);
/* The message that was coming is there, or given up. */
void chan_flow_arrived(struct chan_conn *conn);
/* The socket is gone. */
void chan_flow_forget(struct chan_conn *conn);
void chan_free(struct chan *chan);
/* chan.c: hands a message that has been read, and is in its connection's list, to its channel. */
void chan_dispatch(struct req *req);
/* chan_read.c: the socket is gone; what has not been read is not heard any more. */
void chan_read_forget(struct chan_conn *conn);
/* Closes the socket with this code, unless it is on its way already. */
void chan_close(struct chan_conn *conn, int code);
/* Joined, and a run's. */
bool chan_is_run(const struct chan *chan);
/* Sends what came while the channel was being joined on its way. */
void chan_unhold(struct chan *chan);

#endif

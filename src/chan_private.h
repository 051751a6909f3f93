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
/* chan_resend.c: this ref came on the connection. */
void chan_note_ref(struct chan_conn *conn, struct slice ref);
/* The replies of a run's channel that may not have arrived. The channel is joined: those that are
 * there go out again. It goes, for good (its worker left it) or not. A request came on it: the
 * worker has those before. A reply is decided: response is raw JSON, or the body of a binary one. A
 * request ends. */
void undelivered_join(struct chan *chan);
void undelivered_part(struct chan *chan, bool left);
void undelivered_asked(const struct req *req);
void undelivered_keep(const struct req *req, bool ok, bool binary, struct slice response);
void undelivered_done(struct req *req);
void chan_resend_init(void);
/* Hands the request to its route. */
void req_run(struct req *req, const struct route *route);

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

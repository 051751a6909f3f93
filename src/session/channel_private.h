/*
 * What channel.c (sockets and channels), reader.c (messages), request.c, reply.c, resend.c,
 * backpressure.c and request_log.c share. Private to them.
 */
#ifndef CHANNEL_PRIVATE_H
#define CHANNEL_PRIVATE_H

#include "session/channel.h"

/* src/README.md, Bounds. */
enum { OPEN_REQUESTS_PAUSE = 64, OPEN_REQUESTS_RESUME = 32 };

/* Bytes: a larger message waits for room, a larger body goes ahead of its message. */
enum { LARGE = 64 * 1024 };

/* Counted by route; refusals are made as they come, by code. */
struct route_stats {
	struct series *ok, *seconds;
};

/* A request for a message that has not been read; takes data. */
struct request *request_new(struct session *session, char *data, size_t size);
/* What says this event about this topic; NULL: nothing. */
const struct route *channel_route_of(
	const struct server *server, struct slice topic, struct slice event);
void request_free(struct request *request);
/* Says in the log what became of the request: an answer (a refusal's code, "ok"), and before that
 * a verdict other than a refusal. */
void request_log_outcome(const struct request *request, const char *code);
void request_log_verdict(const struct request *request, const char *verdict);
/* Says that it is answered all the same, but without something. */
void request_log_warning(const struct request *request, const char *field, const char *message);
/* Counts what became of a run's message, by its statement's verdict, when the result arrives:
 * whether or not its worker is there to be answered. */
void count_message_outcome(const struct request *request, const struct batch_result *res);
/* This ref came on the connection. */
void channel_note_ref(struct session *session, struct slice ref);
/* The replies of a run's channel that may not have arrived. The channel is joined: those that are
 * there go out again. It goes, for good (its worker left it) or not. A request came on it: the
 * worker has those before. A reply is decided: response is raw JSON, or the body of a binary one. A
 * request ends. */
void undelivered_join(struct channel *channel);
void undelivered_part(struct channel *channel, bool left);
void undelivered_asked(const struct request *request);
void undelivered_keep(const struct request *request, bool ok, bool binary, struct slice response);
void undelivered_done(struct request *request);
void channel_resend_init(void);
/* Hands the request to its route. */
void request_dispatch(struct request *request, const struct route *route);

/* Does this socket have to be paused, or resumed? */
void backpressure_update(struct session *session);
void backpressure_init(void);
/* The socket's worker was refused something: too often, and it is slowed. */
void backpressure_refused(struct session *session);
/* The message that was coming is there, or given up. */
void channel_flow_arrived(struct session *session);
/* The request ends, or goes on: it does not wait for room any more. */
void backpressure_answered(struct request *request);
/* The socket is gone. */
void backpressure_forget(struct session *session);
void channel_free(struct channel *channel);
/* Hands a message that has been read, and is in its connection's list, to its channel. */
void channel_dispatch(struct request *request);
/* The socket is gone; what has not been read is dropped. */
void channel_read_forget(struct session *session);
/* Closes the socket with this code, unless it is on its way already. */
void session_close(struct session *session, int code);
/* The claim that a run's channel speaks for. */
const struct run_claim *channel_claim(const struct channel *channel);
/* Joined, and a run's. */
bool channel_is_run(const struct channel *channel);
/* Sends what came while the channel was being joined on its way. */
void channel_dispatch_pending(struct channel *channel);

#endif

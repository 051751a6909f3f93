/*
 * What the other files of this folder need of requests.
 */
#ifndef REQUEST_PRIVATE_H
#define REQUEST_PRIVATE_H

#include "message.h"

#include "session/request.h"

#include <sys/queue.h>

struct reply;
struct session;
struct undelivered;

TAILQ_HEAD(request_list, request);

/* Opens a request of the session for a message, which it takes. It is in session_requests. */
struct request *request_new(struct session *session, struct message *message);
/* Ends it: what answers a request calls this. */
void request_free(struct request *request);

/* Where it is: of its channel, in one of the channel's lists; or without a channel, in its
 * session's list; or without a session, in none. */
void request_enter_channel(
	struct request *request, struct channel *channel, struct request_list *list);
void request_leave_channel(struct request *request);
void request_leave_session(struct request *request);
struct session *request_session(const struct request *request);

const struct route_table *request_routes(const struct request *request);
const struct phx_frame *request_frame(const struct request *request);
struct message *request_message(const struct request *request);
/* NULL: it has not been found. */
const struct route *request_route(const struct request *request);
const char *request_target_state(const struct request *request);
/* Its reply, being made. */
struct reply *request_reply(const struct request *request);
/* Where the reply is kept for a reconnect; NULL: it is not. */
struct undelivered *request_undelivered(const struct request *request);
void request_keep_reply_in(struct request *request, struct undelivered *undelivered);

/* Hands the request to its route. */
void request_dispatch(struct request *request, const struct route *route);
/* Allocates a row of another statement than the route's, which only writes the journal, and whose
 * result goes to `done`. */
struct value *request_alloc_for(struct request *request, const char *stmt,
	void (*done)(struct batch_item *item, const struct batch_result *res));
struct request *request_of_item(struct batch_item *item);
/* Is a reply of no use: neither to its client nor, after a reconnect, to the next one? */
bool request_is_abandoned(const struct request *request);
/* Observes the worker's clock, where the fields bound at v have a time of its own. */
void observe_clock_skew(const struct request *request, const struct value *v);
/* The message without contents and secrets, bounded, as the journal keeps it. */
void bind_journal_message(const struct request *request, struct value *v);

#endif

/*
 * channel: sockets, channels and the way of one message: frame → channel → route → batch → reply.
 * It knows no message: it is handed the table of routes and the kinds of channels. Exactly one
 * reply goes out for each ref.
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include "core/batch.h"
#include "core/conf.h"
#include "core/field.h"
#include "core/keyring.h"
#include "core/payload.h"
#include "ws/phx.h"
#include "lib/pool.h"
#include "core/error_reply.h"
#include "core/run_claim.h"
#include "lib/metrics.h"
#include "ws/ws.h"

struct request;
struct request_body;
struct undelivered;
struct channel;
struct session;

/* One thing that a worker can say. */
struct route {
	const char *topic; /* a topic, or the beginning of one when it ends in ':' */
	const char *event;
	const char *stmt; /* NULL: answered by check, from memory */
	enum lane_kind lane;
	bool locks, settles; /* see batch.h */
	const struct field *fields;
	int nfields;
	/* Called with the payload, a valid JSON object. Fills req->item and submits it
	 * (request_submit), or answers. NULL: bind_common, the fields behind it, submit. */
	void (*check)(struct request *request);
	/* The statement is committed: answer. */
	void (*reply)(struct request *request, const struct batch_result *res);
	/* The statement is committed, and the client is gone: undoes it.
	 * NULL: nothing to do. The request ends by itself afterwards. */
	void (*on_client_gone)(struct request *request, const struct batch_result *res);
	/* The content of a dataclip in the payload, by the member's name: appends to out what is
	 * stored of it, or returns why nothing is (a constant). May be called in a thread. */
	const char *content;
	const char *(*read_content)(struct slice raw, struct buf *out);
	/* The statement is committed, whoever asked is there or not, but it was a part of the
	 * message only: returns true, and goes on with the next part. NULL: it was all. */
	bool (*more)(struct request *request, const struct batch_result *res);
	/* The payload could not be read (`invalid`, `too_large`), or the statement did not come to
	 * an end (`unavailable`, `busy`): answer. NULL: an error reply with this code. */
	void (*failed)(struct request *request, const char *code);
	bool accepts_any_payload; /* check does not look at the payload, and is called whatever it
				     is */
	/* A message that was too large is taken without the member that made it so, if what is left
	 * has the fields that it must have. */
	bool accepts_truncated;
};

/* What all channels share. */
struct server {
	uv_loop_t *loop;
	struct conf *conf;
	struct batch *batch;
	struct ws *ws;
	struct keyring *keys; /* replaced by a reload */
	const struct route *routes;
	int nroutes;
	TAILQ_HEAD(, session) conns;
	TAILQ_HEAD(, session) large;     /* those that wait for room for a large message */
	TAILQ_HEAD(, request) fetching;  /* those that wait for room for a large reply */
	TAILQ_HEAD(, session) slowed;    /* those that are refused too often */
	struct route_stats *route_stats; /* one for each route */
	size_t memory;                   /* bytes that requests hold */
	size_t bodies;                   /* and webhooks, once their bodies are there */
	size_t kept;                     /* bytes of replies that are kept for a reconnect */
	int nsessions, open_requests;
	int64_t db_clock_offset; /* by how many microseconds the database's clock is before ours */
	bool draining, reading_stopped, memory_full; /* nothing is read any more */
	const struct channel_kind *const *kinds;     /* NULL-terminated */
	void *protocol;                              /* what the kinds share; theirs */
};

/* What the channels of one kind of topic have in common. The operations may be NULL. */
struct channel_kind {
	const char *topic; /* a topic, or the beginning of one when it ends in ':' */
	size_t size;       /* of a channel's private data (channel->data), which begins zeroed */
	/* The channel goes: releases what its data holds, but not the data. */
	void (*end)(struct channel *channel);
	/* Joined: a message for it came, or a heartbeat of its socket. */
	void (*on_activity)(struct channel *channel);
	/* Joined: its worker leaves it. */
	void (*on_left)(struct channel *channel);
	/* Joined: the daemon is going to shut down. */
	void (*on_drain)(struct channel *channel);
	/* Joined: will the worker say something soon, although it has every answer? */
	bool (*message_expected)(const struct channel *channel);
	/* Joined: whether its replies are kept for a reconnect (under its claim). */
	bool (*keeps_replies)(const struct channel *channel);
	/* The claim that the channel speaks for. NULL: of none, it is no run's. */
	const struct run_claim *(*claim)(const struct channel *channel);
	/* What is replaced in its texts. */
	const struct scrubber *(*scrubber)(const struct channel *channel);
};

/* A joined topic. Its private data is its kind's and nobody else's. */
struct channel {
	TAILQ_ENTRY(channel) entry; /* of the connection's */
	struct session *session;
	char *topic;
	char *join_ref; /* raw JSON */
	bool joined;
	TAILQ_HEAD(request_list, request) requests; /* open */
	struct request_list pending;                /* came before the join was answered */

	const struct channel_kind *kind;
	void *data;
	struct undelivered *undelivered; /* replies; NULL: none are kept */
};

/* Why a worker's socket is not being read. */
enum pause_reason {
	PAUSE_NOT,
	PAUSE_REQUESTS,
	PAUSE_MEMORY,
	PAUSE_REFUSED,
	PAUSE_DRAINING,
	PAUSES
};

/* A worker's socket. */
struct session {
	TAILQ_ENTRY(session) entry;
	struct server *server;
	struct ws_socket *peer;
	char *worker_id, *address;
	int64_t connected, active_at; /* now_us(): since when, and the last frame */
	TAILQ_HEAD(, channel) channels;
	struct request_list requests; /* open ones without a channel: joins */
	struct request
		*reading; /* a large message, beside the loop; behind it those that came since */
	STAILQ_HEAD(, request) behind;
	int open_requests;
	int64_t first_ref; /* of the client's, on this connection; 0: none yet that is a number */
	enum pause_reason paused;
	TAILQ_ENTRY(session) large_entry;
	double refusals; /* as of refusals_as_of, mono_ms(); see backpressure.c */
	int64_t refusals_as_of;
	TAILQ_ENTRY(session) slowed_entry;
	bool slowed;       /* it is refused too often */
	size_t large_size; /* bytes of the large message that waits for room; 0: none */
	size_t granted;    /* and of the one that has got it and is coming */
	bool closing;
};

/* A request, from its frame to its reply. It owns the frame, whose bytes everything else borrows.
 */
struct request {
	struct batch_item item;
	TAILQ_ENTRY(request) entry; /* of the channel's */
	struct server *server;
	struct session *session; /* NULL: the worker is gone */
	struct channel *channel; /* NULL: the channel was left or replaced */
	const struct route *route;
	struct phx_frame frame; /* its payload is without what payload has taken */
	struct payload payload;
	struct buf content; /* what route->read_content made of it, and what it said */
	const char *content_why;
	bool content_read;
	struct pool_job job;
	enum phx_error error;
	STAILQ_ENTRY(request) behind_entry;
	char *data;
	size_t length;                   /* of the message */
	size_t size;                     /* what it counts against the memory bound */
	int64_t received;                /* now_us() */
	struct request_body *body;       /* a large body that goes before it */
	struct undelivered *undelivered; /* where its reply goes when the channel is gone */
	size_t body_at;                  /* where the body of a binary reply begins */
	const struct route_stats *stats;
	struct buf warnings;               /* members of the reply's "warnings" object, so far */
	struct value *noted;               /* the warnings' column, for the journal */
	struct error_reply why;            /* what reply_error_journaled says */
	const char *target_state;          /* the state it asks for, a constant; NULL: started */
	void *route_data;                  /* the message's own notes */
	void (*own_end)(void *route_data); /* frees them; NULL: free(3) */
	size_t beside;                     /* bytes that it holds besides, part of size */
	/* Bytes of the large reply that waits for room, or 0; and what is called when there is. */
	size_t reply_size;
	void (*on_room)(struct request *request);
	TAILQ_ENTRY(request) fetching_entry;
};

/* Allocates rows × columns of the route's statement in req->item, which is otherwise filled in from
 * the route. What was there before is freed. */
void request_alloc_params(struct request *request, int rows);
/* The same with values that have been made elsewhere, which it takes. */
void request_take_values(struct request *request, struct value *values, int rows);
/* A member of the payload, however large. */
struct slice request_member(const struct request *request, const char *name);
/* Moves what route->read_content made of the payload to v; or returns why there is nothing. */
const char *request_content(struct request *request, struct value *v);
/* The message's own notes, and what frees them. */
void request_own(struct request *request, void *route_data, void (*end)(void *route_data));
/* So many bytes are held for the request besides its frame and its values, or no longer so. */
void request_hold(struct request *request, size_t bytes);
/* Calls on_room, perhaps at once, when there is room for a reply of so many bytes, which are then
 * held for the request. Within the queue_timeout, or the request ends as `unavailable`. */
void request_await_room(
	struct request *request, size_t bytes, void (*on_room)(struct request *request));
/* Columns that several statements begin with, into v; each returns the next one. The claim that the
 * channel speaks for: project, run, epoch, claim. The late policy: its name, its window.
 */
struct value *bind_claim(const struct request *request, struct value *v);
struct value *bind_late_policy(const struct request *request, struct value *v);
/* The first nine columns of a run's message: those of its claim, policy, window, observe, what the
 * journal may keep of it, what it notes (the warnings so far, when the message is submitted).
 * Returns the next column. */
struct value *bind_common(struct request *request);
/* Parses the route's fields into v; answers and returns false if one is refused. */
bool bind_fields(struct request *request, struct value *v) __attribute__((warn_unused_result));
void request_submit(struct request *request);
/* The next part of a message, see batch_continue. */
void request_continue(struct request *request);
/* What the item waited for is there, or will not come: see batch.h. */
void request_release(struct request *request);
void request_withdraw(struct request *request);
/* As request_submit, but a large body (more than 64 KiB) goes ahead of the message on the lane for
 * bodies, under the id in *clip and as the output of *step (NULL: of none); then *body becomes NULL
 * and *stored true. If it cannot be stored, the message goes without it, with a warning that names
 * the field. */
void request_submit_with_body(struct request *request, const struct value *step,
	const struct value *clip, struct value *body, struct value *stored, const char *field);
/* Replaces the run's secrets in a text. */
void request_scrub(struct request *request, struct value *text);

/* The payload with these members (NULL-terminated) replaced by their length and digest, scrubbed
 * and bounded, as the journal may hold it. */
void bind_journal_message(struct request *request, struct value *v);

/* Is the client still connected? Also its channel, where a route has an `on_client_gone`. */
bool request_has_client(const struct request *request);
/* Ends a request whose client is gone: if only the channel is, the socket gets the reply of a
 * failure. */
void request_client_gone(struct request *request);

/* Each answers and frees the request. */
void reply_ok(struct request *request, struct slice response);
void reply_error(struct request *request, const struct error_reply *why);
void reply_error_code(struct request *request, const char *code, const char *state);
/* As reply_error, of a run's message, with a row in the journal; a worker whose claim is superseded
 * is told that instead. Borrows the strings forever. */
void reply_error_journaled(struct request *request, const struct error_reply *why);
/* Refuses by a statement's verdict (columns 1 and 2: verdict, state). True if the verdict is a
 * refusal or too late, and has been answered. */
bool reply_if_refused(struct request *request, const struct batch_result *res)
	__attribute__((warn_unused_result));
/* `ok` with {members…, "warnings": {…}}; members is the inside of an object, or "". */
void reply_ok_with(struct request *request, const char *members);
/* Adds to the warnings: a field and a sentence. */
void reply_add_warning(struct request *request, const char *field, const char *message);
/* A binary reply with this body. */
void reply_binary(struct request *request, struct buf *head_and_body);
/* Begins a binary reply in out; false if that cannot be (then answer otherwise). */
bool reply_binary_begin(struct request *request, struct buf *out)
	__attribute__((warn_unused_result));
/* The worker gets no answer but a closed socket. */
void reply_by_closing(struct request *request, int code);

/* Was anything but the plan asked for by this claim's worker, as far as is remembered (for a minute
 * after its channel went)? Or did it join on this connection before, or is this another client? */
bool channel_is_past_plan(const struct channel *channel);
/* Answers, `ok` and as of this join, the refs below the first one that came on this connection, the
 * newest first, at most 64: the client ignores those that it does not wait for, but what it asked
 * on a lost connection has an answer. `what` names it in the metric. */
void request_answer_below(const struct request *join, struct slice response, const char *what);
/* The join is accepted: the channel is open, and what waited for it goes on. Answers with response.
 */
void reply_joined(struct request *request, struct slice response);
/* The join is refused: the channel goes. */
void reply_join_error(struct request *request, const char *code);

/* Pushes an event to a channel. */
void channel_push(struct channel *channel, const char *event, const char *payload);

/* So many bytes more, or fewer, are held and count in [limits] memory. */
void memory_account(struct server *server, ptrdiff_t bytes);

/* The callbacks that ws is handed. */
int session_handshake(void *arg, const struct ws_head *head, void **user, const char **why);
void session_open(void *user, struct ws_socket *peer);
void session_message(void *user, char *data, size_t n, bool binary, bool cut);
void session_closed(void *user);
bool session_admit(void *user, size_t size);
bool channel_scarce(void *arg);
int channel_callers(void *arg, const char *address);
void memory_changed(void *arg);

/* Reads sockets again that were slowed for being refused too often, and ends what has waited for
 * room for too long; for a chore of 100 ms. */
void backpressure_forgive(struct server *server);
/* Webhooks hold memory too, at most a quarter of it. Is there room for a body of this size? And so
 * many bytes more, or fewer, are held by those whose bodies have come. */
bool channel_body_fits(const struct server *server, size_t size);
void channel_hold_bodies(struct server *server, ptrdiff_t bytes);
/* Do cached plans hold more than their quarter of the memory? Then no more runs are to be claimed.
 */
bool channel_plans_full(const struct server *server);

/* Joined channels of runs. */
int session_run_count(const struct session *session);
/* Its joined channel of this kind; NULL if there is none. */
const struct channel *session_channel(
	const struct session *session, const struct channel_kind *kind);

void channel_init(struct server *server);
/* No more workers, and no more runs for those that are there: their channels are told so
 * (on_drain). */
void session_drain(struct server *server);
/* Closes the sockets (1001) at which nothing is open and for so many milliseconds nothing was heard
 * or said: an event that is on its way when its socket is closed is lost, since workers say nothing
 * twice. Open is a request; a run that was joined and has not begun (its worker is busy between the
 * plan and run:start); a claim that is about to come. */
void session_close_quiet(struct server *server, int64_t ms);
/* Reads no more; the last request has been answered when open_requests is 0. */
void session_stop_reading(struct server *server);
/* Forgets replies that were kept for workers which have not come back; to be called every second.
 */
void channel_resend_expire(void);
/* Closes all sockets with this code. */
void session_close_all(struct server *server, int code);

#endif

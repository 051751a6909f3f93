/*
 * chan: sockets, channels and the way of one message: frame → channel → route → batch → reply. It
 * knows no message: it is handed the table of routes. Exactly one reply goes out for each ref.
 */
#ifndef CHAN_H
#define CHAN_H

#include "batch.h"
#include "conf.h"
#include "field.h"
#include "keys.h"
#include "payload.h"
#include "phx.h"
#include "pool.h"
#include "refuse.h"
#include "snapshot.h"
#include "stats.h"
#include "ws.h"

struct req;
struct req_body;
struct undelivered;
struct chan;
struct chan_conn;

/* One thing that a worker can say. */
struct route {
	const char *topic; /* a topic, or the beginning of one when it ends in ':' */
	const char *event;
	const char *stmt; /* NULL: answered by check, from memory */
	enum lane lane;
	bool locks, settles; /* see batch.h */
	const struct field *fields;
	int nfields;
	/* Called with the payload, a valid JSON object. Fills req->item and submits it
	 * (req_submit), or answers. NULL: req_common, the fields behind it, submit. */
	void (*check)(struct req *req);
	/* The statement is committed: answer. */
	void (*reply)(struct req *req, const struct batch_result *res);
	/* The statement is committed, and whoever asked is gone (req_is_heard): takes it back.
	 * NULL: nothing to do. The request ends by itself afterwards. */
	void (*orphan)(struct req *req, const struct batch_result *res);
	/* The content of a dataclip in the payload, by the member's name: appends to out what is
	 * stored of it, or returns why nothing is (a constant). May be called in a thread. */
	const char *content;
	const char *(*read_content)(struct slice raw, struct buf *out);
	/* The statement is committed, whoever asked is there or not, but it was a part of the
	 * message only: returns true, and goes on with the next part. NULL: it was all. */
	bool (*more)(struct req *req, const struct batch_result *res);
	/* The payload could not be read (`invalid`, `too_large`), or the statement did not come to
	 * an end (`unavailable`, `busy`): answer. NULL: an error reply with this code. */
	void (*failed)(struct req *req, const char *code);
	bool any_payload; /* check does not look at the payload, and is called whatever it is */
	/* A message that was too large is taken without the member that made it so, if what is left
	 * has the fields that it must have. */
	bool takes_cut;
};

/* What all channels share. */
struct chan_server {
	uv_loop_t *loop;
	struct conf *conf;
	struct batch *batch;
	struct ws *ws;
	struct keys *keys; /* replaced by a reload */
	const struct route *routes;
	int nroutes;
	TAILQ_HEAD(queue_list, chan) queues; /* joined worker:queue channels */
	TAILQ_HEAD(, chan_conn) conns;
	TAILQ_HEAD(, chan_conn) large;   /* those that wait for room for a large message */
	TAILQ_HEAD(, chan_conn) slowed;  /* those that are refused too often */
	struct route_stats *route_stats; /* one for each route */
	size_t memory;                   /* bytes that requests hold */
	size_t bodies;                   /* and webhooks, once their bodies are there */
	size_t kept;                     /* bytes of replies that are kept for a reconnect */
	int nconns, open_reqs;
	int64_t db_ahead; /* by how many microseconds the database's clock is before ours */
	bool draining, deaf, full; /* deaf: nothing is read any more */
	/* A run's worker was heard: a message for the run, or a heartbeat of the socket that holds
	 * its channel. */
	void (*heard)(struct chan *chan);
	/* A run's worker left its channel: nobody will work on what has not begun. */
	void (*left)(struct chan *chan);
};

/* A joined topic. The middle part is worker:queue's, the last a run's. */
struct chan {
	TAILQ_ENTRY(chan) entry; /* of the connection's */
	struct chan_conn *conn;
	char *topic;
	char *join_ref; /* raw JSON */
	bool joined;
	TAILQ_HEAD(req_list, req) reqs; /* open */
	struct req_list held;           /* came before the join was answered */

	TAILQ_ENTRY(chan) queue_entry; /* of the server's queues */
	int capacity;
	int64_t told; /* mono_ms(), when it was told of runs; 0: it has had an answer since */

	struct uuid project_id, run_id, work_order_id, claim;
	int epoch;
	int64_t renewed; /* mono_ms(), when its lease was last extended */
	bool stale;      /* the claim is over: an empty plan, and every event superseded */
	bool begun;      /* the run has started or ended, as far as this channel shows */
	bool save_dataclips;
	bool has_dataclip;
	struct uuid dataclip_id, starting_id;
	const struct snapshot *snapshot;
	struct undelivered *undelivered; /* replies; NULL: none are kept */
};

/* Why a worker's socket is not being read. */
enum chan_pause { PAUSE_NOT, PAUSE_REQUESTS, PAUSE_MEMORY, PAUSE_REFUSED, PAUSE_DRAINING, PAUSES };

/* A worker's socket. */
struct chan_conn {
	TAILQ_ENTRY(chan_conn) entry;
	struct chan_server *server;
	struct ws_peer *peer;
	char *worker_id, *address;
	int64_t connected, heard; /* now_us(): since when, and the last frame */
	TAILQ_HEAD(, chan) chans;
	struct req_list reqs; /* open ones without a channel: joins */
	struct req *reading; /* a large message, beside the loop; behind it those that came since */
	STAILQ_HEAD(, req) behind;
	int open_reqs;
	int64_t first_ref; /* of the client's, on this connection; 0: none yet that is a number */
	enum chan_pause paused;
	TAILQ_ENTRY(chan_conn) large_entry;
	double refusals; /* as of forgiven_at, mono_ms(); see chan_flow.c */
	int64_t forgiven_at;
	TAILQ_ENTRY(chan_conn) slowed_entry;
	bool slowed;    /* it is refused too often */
	size_t wanted;  /* bytes of the large message that waits for room; 0: none */
	size_t granted; /* and of the one that has got it and is coming */
	bool closing;
};

/* A request, from its frame to its reply. It owns the frame, whose bytes everything else borrows.
 */
struct req {
	struct batch_item item;
	TAILQ_ENTRY(req) entry; /* of the channel's */
	struct chan_server *server;
	struct chan_conn *conn; /* NULL: the worker is gone */
	struct chan *chan;      /* NULL: the channel was left or replaced */
	const struct route *route;
	struct phx_frame frame; /* its payload is without what payload has taken */
	struct payload payload;
	struct buf content; /* what route->read_content made of it, and what it said */
	const char *content_why;
	bool content_read;
	struct pool_job job;
	enum phx_error error;
	STAILQ_ENTRY(req) behind_entry;
	char *data;
	size_t length;                   /* of the message */
	size_t size;                     /* what it counts against the memory bound */
	int64_t received;                /* now_us() */
	struct req_body *body;           /* a large body that goes before it */
	struct undelivered *undelivered; /* where its reply goes when the channel is gone */
	size_t body_at;                  /* where the body of a binary reply begins */
	const struct route_stats *stats;
	struct buf warnings;        /* members of the reply's "warnings" object, so far */
	struct value *noted;        /* the warnings' column, for the journal */
	struct refusal why;         /* what req_reject says */
	const char *wanted;         /* the state it asks for, a constant; NULL: started */
	void *own;                  /* the message's own notes */
	void (*own_end)(void *own); /* frees them; NULL: free(3) */
	size_t beside;              /* bytes that it holds besides, part of size */
};

/* Allocates rows × columns of the route's statement in req->item, which is otherwise filled in from
 * the route. What was there before is freed. */
void req_values(struct req *req, int rows);
/* The same with values that have been made elsewhere, which it takes. */
void req_take_values(struct req *req, struct value *values, int rows);
/* A member of the payload, however large. */
struct slice req_member(const struct req *req, const char *name);
/* Moves what route->read_content made of the payload to v; or returns why there is nothing. */
const char *req_content(struct req *req, struct value *v);
/* The message's own notes, and what frees them. */
void req_own(struct req *req, void *own, void (*end)(void *own));
/* So many bytes are held for the request besides its frame and its values, or no longer so. */
void req_hold(struct req *req, size_t bytes);
/* Columns that several statements begin with, into v; each returns the next one. The claim that the
 * channel speaks for: project, run, epoch, claim. The policy for late words: its name, its window.
 */
struct value *req_claim(const struct req *req, struct value *v);
struct value *req_policy(const struct req *req, struct value *v);
/* The first nine columns of a run's message: those of its claim, policy, window, observe, what the
 * journal may keep of it, what it notes (the warnings so far, when the message is submitted).
 * Returns the next column. */
struct value *req_common(struct req *req);
/* Parses the route's fields into v; answers and returns false if one is refused. */
bool req_fields(struct req *req, struct value *v) __attribute__((warn_unused_result));
void req_submit(struct req *req);
/* The next part of a message, see batch_continue. */
void req_continue(struct req *req);
/* What the item waited for is there, or will not come: see batch.h. */
void req_release(struct req *req);
void req_withdraw(struct req *req);
/* As req_submit, but a large body (more than 64 KiB) goes ahead of the message on the lane for
 * bodies, under the id in *clip and as the output of *step (NULL: of none); then *body becomes NULL
 * and *stored true. If it cannot be stored, the message goes without it, with a warning that names
 * the field. */
void req_submit_body(struct req *req, const struct value *step, const struct value *clip,
	struct value *body, struct value *stored, const char *field);
/* Replaces the run's secrets in a text. */
void req_scrub(struct req *req, struct value *text);

/* The payload with these members (NULL-terminated) replaced by their length and digest, scrubbed
 * and bounded, as the journal may hold it. */
void req_message(struct req *req, struct value *v);

/* Is whoever asked still there? The worker; and its channel, where a route has an `orphan`. */
bool req_is_heard(const struct req *req);
/* Ends a request whose asker is gone: a socket that is still there gets the answer of a failure. */
void req_unheard(struct req *req);

/* Each answers and frees the request. */
void req_ok(struct req *req, struct slice response);
void req_refuse(struct req *req, const struct refusal *why);
void req_refuse_code(struct req *req, const char *code, const char *state);
/* As req_refuse, of a run's message, with a row in the journal; a worker whose claim is over hears
 * that instead. Borrows the strings for ever. */
void req_reject(struct req *req, const struct refusal *why);
/* Refuses by a statement's verdict (columns 1 and 2: verdict, state). True if the verdict is a
 * refusal or too late, and has been answered. */
bool req_refused(struct req *req, const struct batch_result *res)
	__attribute__((warn_unused_result));
/* `ok` with {members…, "warnings": {…}}; members is the inside of an object, or "". */
void req_ok_with(struct req *req, const char *members);
/* Adds to the warnings: a field and a sentence. */
void req_warn(struct req *req, const char *field, const char *message);
/* A binary reply with this body. */
void req_binary(struct req *req, struct buf *head_and_body);
/* Begins a binary reply in out; false if that cannot be (then answer otherwise). */
bool req_binary_begin(struct req *req, struct buf *out) __attribute__((warn_unused_result));
/* The worker gets no answer but a closed socket. */
void req_close_socket(struct req *req, int code);

/* Was anything but the plan asked for by this claim's worker, as far as is remembered (for a minute
 * after its channel went)? Or did it join on this connection before, or is this another client? */
bool chan_is_past_plan(const struct chan *chan);
/* Answers, `ok` and as of this join, the refs below the first one that came on this connection, the
 * newest first, at most 64: the client ignores those that it does not wait for, but what it asked
 * on a lost connection has an answer. `what` names it in the metric. */
void req_answer_below(const struct req *join, struct slice response, const char *what);
/* The join is accepted: the channel is open, and what waited for it goes on. Answers with response.
 */
void req_joined(struct req *req, struct slice response);
/* The join is refused: the channel goes. */
void req_join_refused(struct req *req, const char *code);

/* Tells a worker:queue channel that runs wait. */
void chan_tell(struct chan *queue);
/* Pushes an event to a channel. */
void chan_push(struct chan *chan, const char *event, const char *payload);

/* So many bytes more, or fewer, are held and count in [limits] memory. */
void chan_account(struct chan_server *server, ptrdiff_t bytes);

/* The callbacks that ws is handed. */
int chan_handshake(void *arg, const struct ws_head *head, void **user, const char **why);
void chan_open(void *user, struct ws_peer *peer);
void chan_message(void *user, char *data, size_t n, bool binary, bool cut);
void chan_closed(void *user);
bool chan_begin(void *user, size_t size);
bool chan_scarce(void *arg);
int chan_callers(void *arg, const char *address);
void chan_held(void *arg);

/* Reads sockets again that were slowed for being refused too often; for a chore of 100 ms. */
void chan_flow_forgive(struct chan_server *server);
/* Webhooks hold memory too, at most a quarter of it. Is there room for a body of this size? And so
 * many bytes more, or fewer, are held by those whose bodies have come. */
bool chan_body_fits(const struct chan_server *server, size_t size);
void chan_hold_bodies(struct chan_server *server, ptrdiff_t bytes);

/* Runs whose channels the socket holds. */
int chan_runs_held(const struct chan_conn *conn);
/* The joined worker:queue channel; NULL if there is none. */
const struct chan *chan_queue_of(const struct chan_conn *conn);

void chan_init(struct chan_server *server);
/* Was this worker:queue channel told of runs a moment ago, with no claim answered since? */
bool chan_claims_soon(const struct chan *queue);
/* Has it fewer runs than it offered to execute? */
bool chan_has_capacity(const struct chan *queue);

/* No more workers, and no more runs for those that are there. Whoever has capacity left is told of
 * runs, so that it claims now and hears that there are none, rather than while its socket is being
 * closed: a claim without an answer costs the worker a slot for an hour. */
void chan_drain(struct chan_server *server);
/* Closes the sockets (1001) at which nothing is open and for so many milliseconds nothing was heard
 * or said: an event that is on its way when its socket is closed is lost, since workers say nothing
 * twice. Open is a request; a run that was joined and has not begun (its worker is busy between the
 * plan and run:start); a claim that is about to come. */
void chan_close_quiet(struct chan_server *server, int64_t ms);
/* Reads no more; the last request has been answered when open_reqs is 0. */
void chan_stop_reading(struct chan_server *server);
/* Forgets replies that were kept for workers which have not come back; to be called every second.
 */
void chan_resend_expire(void);
/* Closes all sockets with this code. */
void chan_close_all(struct chan_server *server, int code);

#endif

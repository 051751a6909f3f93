/*
 * request: a message of a worker, from its frame to its reply. Its route says what is done: the
 * check fills in the parameters of the statement and submits it; when the statement is committed,
 * the reply answers (reply.h), which ends the request. Exactly one answer goes out for each ref.
 * When the worker goes meanwhile, the database finishes undisturbed.
 */
#ifndef REQUEST_H
#define REQUEST_H

#include "core/context.h"
#include "session/route.h"

struct channel;
struct request;

/* ---- what it is about ---- */

/* What the sessions were handed: the context, and what the routes share. */
const struct context *request_context(const struct request *request);
void *request_protocol(const struct request *request);
/* NULL: the channel was left or replaced, or the worker is gone. */
struct channel *request_channel(const struct request *request);
/* The worker's id. Only while its client is there. */
const char *request_worker(const struct request *request);
/* When it came, now_us(). */
int64_t request_received(const struct request *request);
/* Is the client still connected? Also its channel, where a route has an `on_client_gone`. */
bool request_has_client(const struct request *request);

/* ---- its payload ---- */

/* A member, raw JSON, however large; absent if there is none, or the payload is no object. */
struct slice request_member(const struct request *request, const char *name);
/* The same for n names in one walk, into out. */
void request_pick(
	const struct request *request, const char *const *names, int n, struct slice *out);
/* Has the message so many bytes that its parts are read beside the loop? */
bool request_is_large(const struct request *request);
/* Was it too large, and are members missing? */
bool request_is_truncated(const struct request *request);
/* Moves what route.read_content made of the payload to v; or returns why there is nothing. */
const char *request_content(struct request *request, struct value *v);
/* Replaces the run's secrets in a text. */
void request_scrub(const struct request *request, struct value *text);

/* ---- the parameters of its statement ---- */

/* Allocates so many rows of the route's statement, and frees those that were there. The second one
 * takes values that have been made elsewhere; NULL: they are made later. */
void request_alloc_params(struct request *request, int rows);
void request_take_values(struct request *request, struct value *values, int rows);
/* The values, row by row. */
struct value *request_values(const struct request *request);
/* The statement's scalars (batch_item.h), borrowed until the request ends; up to 4. */
void request_set_scalars(struct request *request, const char *const *scalars, int n);

/* Parameters that several statements begin with, into v; each returns the next one. The claim that
 * the channel speaks for: project, run, epoch, claim. The late policy: its name, its window. */
struct value *bind_claim(const struct request *request, struct value *v);
struct value *bind_late_policy(const struct request *request, struct value *v);
/* The nine common parameters of a run's message: those of its claim, policy, window, observe, what
 * the journal keeps of it, its warnings (filled in when it is submitted). Returns the next one. */
struct value *bind_common(struct request *request);
/* The route's fields into v; answers and returns false if one is refused. */
bool bind_fields(struct request *request, struct value *v) __attribute__((warn_unused_result));

/* ---- its way through the database ---- */

/* For the next part of a message, of which a part is done (route.more): it goes ahead of what is
 * queued. */
void request_submit(struct request *request);
/* The same without the values: it keeps its place among the messages of its run, and waits for
 * request_release (its values have been taken) or request_withdraw (it is not sent). */
void request_submit_waiting(struct request *request);
void request_release(struct request *request);
void request_withdraw(struct request *request);
/* Again, after its statement is done (route.more): its result is large, and is fetched alone, on
 * the lane for bodies. */
void request_submit_for_large_result(struct request *request);
/* As request_submit, but a large body (more than 64 KiB) goes ahead of the message on the lane for
 * bodies, under the id in *clip and as the output of *step (NULL: of none); then *body becomes NULL
 * and *stored true. If it cannot be stored, the message goes without it, with a warning that names
 * the field. */
void request_submit_with_body(struct request *request, const struct value *step,
	const struct value *clip, struct value *body, struct value *stored, const char *field);

/* ---- notes ---- */

/* Data of the route's own, which `end` frees with the request (NULL: free(3)). */
void request_set_data(struct request *request, void *data, void (*end)(void *data));
void *request_data(const struct request *request);
/* So many bytes are held for the request besides its frame, or no longer so. */
void request_hold(struct request *request, size_t bytes);
/* The state that it asks for, a constant: for error replies and metrics. */
void request_set_target_state(struct request *request, const char *state);

/* Ends a request whose client is gone: if only the channel is, the socket gets the reply of a
 * failure. */
void request_client_gone(struct request *request);

#endif

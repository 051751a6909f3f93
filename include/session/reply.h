/*
 * reply: the answer to a request. Each function that answers also counts and logs it, keeps it for
 * a reconnect where that is done, and frees the request: what is needed afterwards is copied first.
 */
#ifndef REPLY_H
#define REPLY_H

#include "core/batch_item.h"
#include "core/error_reply.h"

struct request;

/* `ok` with this response, JSON. */
void reply_ok(struct request *request, struct slice response);
/* `ok` with {members…, "warnings": {…}}; members is the inside of an object, or "". */
void reply_ok_with(struct request *request, const char *members);
/* Adds to the warnings: a field and a sentence. Answers nothing. */
void reply_add_warning(struct request *request, const char *field, const char *message);

/* Begins a binary reply in out; false if that cannot be (then answer otherwise). */
bool reply_binary_begin(struct request *request, struct buf *out)
	__attribute__((warn_unused_result));
/* A binary reply: what was begun, with the body behind it. Takes it. */
void reply_binary(struct request *request, struct buf *head_and_body);

/* An error reply. state: the run's, where the sentence has one; may be NULL. */
void reply_error(struct request *request, const struct error_reply *why);
void reply_error_code(struct request *request, const char *code, const char *state);
/* The same for a run's message, with a row in the journal; a worker whose claim is superseded gets
 * the reply that says so instead. Borrows the strings until then. */
void reply_error_journaled(struct request *request, const struct error_reply *why);
/* Refuses by a statement's verdict (reply_columns.sql). True if the verdict is a refusal or too
 * late, and has been answered. */
bool reply_if_refused(struct request *request, const struct batch_result *res)
	__attribute__((warn_unused_result));

/* The worker gets no answer but a closed socket. */
void reply_by_closing(struct request *request, int code);

#endif

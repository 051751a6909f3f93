/*
 * What requests need of their replies.
 */
#ifndef REPLY_PRIVATE_H
#define REPLY_PRIVATE_H

#include "session/reply.h"

struct reply;

struct reply *reply_new(void);
void reply_free(struct reply *reply);
/* The warnings so far as the journal keeps them, {"warnings": {…}}, appended to out: nothing if
 * there are none. */
void reply_describe_warnings(const struct reply *reply, struct buf *out);
/* Counts and logs what became of a run's message, by its statement's verdict, when the result
 * arrives: whether or not its worker is there to be answered. */
void reply_count_verdict(const struct request *request, const struct batch_result *res);

#endif

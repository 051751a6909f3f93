/*
 * resend: what a lost connection left without an answer is answered on the next one.
 */
#ifndef RESEND_H
#define RESEND_H

#include "core/memory.h"

struct channel;
struct request;
struct resend;

/* Borrows memory, against which it counts what it keeps. */
struct resend *resend_new(struct memory *memory);
/* When no request is left. */
void resend_free(struct resend *resend);
/* Forgets replies that were kept for workers which have not come back. A periodic task of a second:
 * the argument is the resend. */
void resend_expire(void *resend);

/* Of a run's channel that is being joined: was anything but the first question
 * (route.is_first) asked by this claim's worker, as far as is remembered (for a minute after its
 * channel went)? Or did it join on this connection before, or is this another client? */
bool resend_has_asked(const struct channel *channel);
/* Answers, `ok` and as of this join, the refs below the first one that came on this connection, the
 * newest first, at most 64: the client ignores those that it does not wait for, but what it asked
 * on a lost connection has an answer. `what` names it in the metric. */
void resend_answer_below(const struct request *join, struct slice response, const char *what);

#endif

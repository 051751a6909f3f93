/*
 * What the other files of this folder need of replies that may not have arrived.
 */
#ifndef RESEND_PRIVATE_H
#define RESEND_PRIVATE_H

#include "session/resend.h"

struct route;
struct undelivered; /* the replies to one claim's worker that it may not have */

/* The number in a ref, raw JSON ("12"); 0 if it is no number. */
int64_t resend_ref_number(struct slice ref);

/* A run's channel has been joined: the replies that its worker may not have go out again. */
void resend_join(struct channel *channel);
/* It goes; for good if its worker left it: then nothing is kept. */
void resend_part(const struct channel *channel, bool left);
/* A request of this route came on it, so that the worker has the replies to those before. Returns
 * where its reply is to be kept, until undelivered_release; NULL: it is not. */
struct undelivered *resend_asked(const struct channel *channel, const struct route *route);

/* The request's reply is decided: response is raw JSON, or the body of a binary one. */
void undelivered_keep(struct undelivered *undelivered, const struct request *request, bool ok,
	bool binary, struct slice response);
/* The request ends. */
void undelivered_release(struct undelivered *undelivered);

#endif

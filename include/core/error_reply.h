/*
 * error_reply: error replies. Lightning has two shapes, {field: [message]} and {"errors": {field:
 * [message]}}, and workers may look for either: every error has both, and a code; except for events
 * whose errors are shown to users, which have only the second.
 */
#ifndef ERROR_REPLY_H
#define ERROR_REPLY_H

#include "lib/base.h"

/* Constants. field NULL: the error concerns no field, and message is the `reason`. state may be
 * NULL. */
struct error_reply {
	const char *field;
	const char *message;
	const char *code;
	const char *state;        /* the run's current state */
	const char *target_state; /* the requested state, if the message has a %s */
};

/* Appends the response of the error reply to that event ("" if unknown), a JSON object. */
void error_reply_render(struct buf *out, const char *event, const struct error_reply *r);

/* The error reply for a code that a statement returned, with the code's field and message for that
 * event; false if the code is unknown. */
bool error_reply_of_code(const char *event, const char *code, struct error_reply *out)
	__attribute__((warn_unused_result));

/* The error reply for a violated constraint, by its name. */
bool error_reply_of_constraint(const char *constraint, struct error_reply *out)
	__attribute__((warn_unused_result));

#endif

/*
 * refuse: error replies. Lightning has two shapes, {field: [message]} and {"errors": {field:
 * [message]}}, and workers may look for either: every error carries both, and a code; but for the
 * events whose errors end up before a user, which carry the second and nothing else.
 */
#ifndef ERROR_REPLY_H
#define ERROR_REPLY_H

#include "lib/base.h"

/* Constants all. field NULL: the error is of no field, and message is the `reason`. state may be
 * NULL. */
struct error_reply {
	const char *field;
	const char *message;
	const char *code;
	const char *state;        /* the run's current state */
	const char *target_state; /* the state that was asked for, where the message has a %s */
};

/* Appends the response of the error reply to that event ("" if it is none), a JSON object. */
void error_reply_render(struct buf *out, const char *event, const struct error_reply *r);

/* The refusal for a code that a statement answered, with the usual field and message of that code.
 * `event` decides where events differ; false if nothing is known of the code. */
bool error_reply_of_code(const char *event, const char *code, struct error_reply *out)
	__attribute__((warn_unused_result));

/* The refusal for a violated constraint, by its name. */
bool error_reply_of_constraint(const char *constraint, struct error_reply *out)
	__attribute__((warn_unused_result));

#endif

/*
 * field: what a message carries, as a table. A payload becomes the statement's parameters, or a
 * refusal that is already the answer.
 */
#ifndef FIELD_H
#define FIELD_H

#include "core/error_reply.h"
#include "core/scrubber.h"
#include "lib/jscan.h"
#include "db/value.h"

enum field_type {
	FIELD_UUID,
	FIELD_TEXT,
	FIELD_TIME, /* microseconds since 1970 as digits in a string or an integer; 13 digits are
		     * milliseconds. Anything else is no time, and the receipt counts. */
	FIELD_RAW,  /* any JSON value, as its text */
};

/* A member of the payload, and of the statement's columns the next one. null counts as missing. */
struct field {
	const char *name;
	enum field_type type;
	bool given;          /* a boolean column follows: was it there? */
	const char *missing; /* refused (code invalid) with this message when missing; NULL: becomes
				NULL */
	const char *bad,
		*code;  /* refused with this when malformed; NULL: becomes NULL, but is `given` */
	bool nobody;    /* a malformed id becomes an unused one: answered like an unknown id */
	const char *as; /* the name that a refusal uses; NULL: name */
	bool scrub;     /* secrets are replaced in the text, before it is cut */
	size_t limit;   /* texts are cut to this many bytes, between characters; 0: 255 */
};

/* Fills values (one or two for each field) from the payload, a valid JSON object. scrub has the
 * secrets (NULL: there are none). received stands for missing times, microseconds. False with *why
 * set if a field is refused. Borrows the payload where it can. */
bool field_parse(const struct field *fields, int n, struct slice payload,
	const struct scrubber *scrub, int64_t received, struct value *values,
	struct error_reply *why) __attribute__((warn_unused_result));

/* Replaces the secrets in a text. */
void field_scrub(const struct scrubber *scrub, struct value *text);

/* The time in a raw JSON value; false if it is none. */
bool field_time(struct slice raw, int64_t *us) __attribute__((warn_unused_result));

/* The text of a raw JSON string into v, borrowed if nothing is escaped in it; false, with v left
 * alone, if it is no string or cannot be stored (NUL, lone surrogates). */
bool field_text(struct slice raw, struct value *v) __attribute__((warn_unused_result));

/* The UUID in a raw JSON string. */
bool field_uuid(struct slice raw, struct uuid *out) __attribute__((warn_unused_result));

#endif

/*
 * field: the fields of a message, as a table. A payload becomes the statement's parameters, or an
 * error reply.
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
		     * milliseconds. Anything else counts as missing: the time of receipt. */
	FIELD_RAW,  /* any JSON value, as its text */
};

/* A member of the payload, for the statement's next column. null counts as missing. */
struct field {
	const char *name;
	enum field_type type;
	bool given;          /* a boolean column follows: was it present? */
	const char *missing; /* refused (code invalid) with this message when missing; NULL: becomes
				NULL */
	const char *bad,
		*code;  /* refused with this when malformed; NULL: becomes NULL, but is `given` */
	bool unknown;   /* a malformed id becomes a new one, and so an unknown id */
	const char *as; /* the name in an error reply; NULL: name */
	bool scrub;     /* secrets are replaced in the text, before it is cut */
	size_t limit;   /* texts are cut to this many bytes, between characters; 0: 255 */
};

/* Fills values (one or two for each field) from the payload, a valid JSON object. scrub has the
 * secrets (NULL: no secrets). received (microseconds) is used for missing times. False with *why
 * set if a field is refused. Borrows the payload where it can. */
bool field_parse(const struct field *fields, int n, struct slice payload,
	const struct scrubber *scrub, int64_t received, struct value *values,
	struct error_reply *why) __attribute__((warn_unused_result));

/* Replaces the secrets in a text. */
void field_scrub(const struct scrubber *scrub, struct value *text);

/* The time in a raw JSON value; false if it is not a time. */
bool field_time(struct slice raw, int64_t *us) __attribute__((warn_unused_result));

/* The text of a raw JSON string into v, borrowed if nothing is escaped in it; false, with v
 * unchanged, if it is not a string or cannot be stored (NUL, lone surrogates). */
bool field_text(struct slice raw, struct value *v) __attribute__((warn_unused_result));

/* The UUID in a raw JSON string. */
bool field_uuid(struct slice raw, struct uuid *out) __attribute__((warn_unused_result));

#endif

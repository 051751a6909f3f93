/*
 * jscan: JSON by byte ranges. Looks at a document once, validates it strictly (RFC 8259, UTF-8,
 * escapes, depth) and hands out ranges of the caller's bytes; nothing is built, nothing is copied.
 * Whoever has a range that jscan_value accepted may walk it without further checks.
 */
#ifndef JSCAN_H
#define JSCAN_H

#include "lib/base.h"

/* Nesting beyond this is refused. The same as jansson's JSON_PARSER_MAX_DEPTH (2048). */
#define JSCAN_MAX_DEPTH 2048

enum jscan_type {
	JSCAN_ABSENT,
	JSCAN_NULL,
	JSCAN_FALSE,
	JSCAN_TRUE,
	JSCAN_NUMBER,
	JSCAN_STRING,
	JSCAN_ARRAY,
	JSCAN_OBJECT
};

enum jscan_error { JSCAN_OK, JSCAN_BAD_SYNTAX, JSCAN_BAD_UTF8, JSCAN_TOO_DEEP };

/* Skips white space, validates one value at *p (not beyond end), sets *out to its bytes and *p
 * behind it. On an error *p and *out are left alone. Never recurses. */
enum jscan_error jscan_value(const char **p, const char *end, struct slice *out)
	__attribute__((warn_unused_result));

/* As jscan_value for a whole document: one value and nothing but white space around it. */
enum jscan_error jscan_document(struct slice text, struct slice *out)
	__attribute__((warn_unused_result));

/* The first position at or behind p that holds no JSON white space; end if there is none. */
const char *jscan_skip_space(const char *p, const char *end);

/* The type, by the first byte of a valid value; JSCAN_ABSENT for an absent one. */
enum jscan_type jscan_type(struct slice value);

/* Walks a valid object or array. Start with *cursor = the whole value; true while there is a
 * member (any other value has none). key is the raw JSON string with its quotes (absent for
 * arrays). */
bool jscan_next(struct slice *cursor, struct slice *key, struct slice *value);

/* Walks a valid value and everything in it in one pass, however deep it is. Start with *rest = the
 * whole value; true while there is a token: a scalar, or one bracket, in the order of the bytes.
 * Keys are passed over. */
bool jscan_step(struct slice *rest, struct slice *token);

/* Member `name` of a valid object: the last one if the key repeats (as JSON.parse does), however
 * the key is escaped; absent if there is none. */
struct slice jscan_member(struct slice object, const char *name);

/* The same for n names in one walk, into out. */
void slice_pick(struct slice object, const char *const *names, int n, struct slice *out);

/* Does the raw JSON string (with quotes) spell `name`, escapes considered? */
bool jscan_equals(struct slice string, const char *name);

/* Decodes a valid JSON string (with quotes) and appends its text to b. False, with *b as it was,
 * when the text cannot be UTF-8 without NUL: it holds \u0000 or a lone surrogate. */
bool jscan_decode(struct slice string, struct buf *b) __attribute__((warn_unused_result));

/* The same, but no more is read once the text has at least so many bytes. */
bool slice_decode_some(struct slice string, size_t enough, struct buf *b)
	__attribute__((warn_unused_result));

/* An integer value that fits, false otherwise (also for 1.0 and 1e3). */
bool jscan_int(struct slice value, int64_t *out) __attribute__((warn_unused_result));

/* Are these bytes well-formed UTF-8 (no surrogates, no overlong forms)? NUL counts as well-formed.
 */
bool utf8_valid(const char *p, size_t n);

#endif

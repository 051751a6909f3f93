/*
 * slice: JSON by byte ranges. Looks at a document once, validates it strictly (RFC 8259, UTF-8,
 * escapes, depth) and hands out ranges of the caller's bytes; nothing is built, nothing is copied.
 * Whoever has a range that slice_value accepted may walk it without further checks.
 */
#ifndef SLICE_H
#define SLICE_H

#include "base.h"

/* Nesting beyond this is refused. The same as jansson's JSON_PARSER_MAX_DEPTH (2048). */
#define SLICE_MAX_DEPTH 2048

enum slice_type {
	SLICE_BAD,
	SLICE_NULL,
	SLICE_FALSE,
	SLICE_TRUE,
	SLICE_NUMBER,
	SLICE_STRING,
	SLICE_ARRAY,
	SLICE_OBJECT
};

enum slice_error { SLICE_OK, SLICE_SYNTAX, SLICE_UTF8, SLICE_DEPTH };

/* Skips white space, validates one value at *p (not beyond end), sets *out to its bytes and *p
 * behind it. On an error *p and *out are left alone. Never recurses. */
enum slice_error slice_value(const char **p, const char *end, struct slice *out)
	__attribute__((warn_unused_result));

/* As slice_value for a whole document: one value and nothing but white space around it. */
enum slice_error slice_document(struct slice text, struct slice *out)
	__attribute__((warn_unused_result));

/* The first position at or behind p that holds no JSON white space; end if there is none. */
const char *slice_space(const char *p, const char *end);

/* The type, by the first byte of a valid value; SLICE_BAD for an absent one. */
enum slice_type slice_type(struct slice value);

/* Walks a valid object or array. Start with *cursor = the whole value; true while there is a
 * member (any other value has none). key is the raw JSON string with its quotes (absent for
 * arrays). */
bool slice_next(struct slice *cursor, struct slice *key, struct slice *value);

/* Walks a valid value and everything in it in one pass, however deep it is. Start with *rest = the
 * whole value; true while there is a token: a scalar, or one bracket, in the order of the bytes.
 * Keys are passed over. */
bool slice_step(struct slice *rest, struct slice *token);

/* Member `name` of a valid object: the last one if the key repeats (as JSON.parse does), however
 * the key is escaped; absent if there is none. */
struct slice slice_get(struct slice object, const char *name);

/* The same for n names in one walk, into out. */
void slice_pick(struct slice object, const char *const *names, int n, struct slice *out);

/* Does the raw JSON string (with quotes) spell `name`, escapes considered? */
bool slice_spells(struct slice string, const char *name);

/* Decodes a valid JSON string (with quotes) and appends its text to b. False, with *b as it was,
 * when the text cannot be UTF-8 without NUL: it holds \u0000 or a lone surrogate. */
bool slice_decode(struct slice string, struct buf *b) __attribute__((warn_unused_result));

/* The same, but no more is read once the text has at least so many bytes. */
bool slice_decode_some(struct slice string, size_t enough, struct buf *b)
	__attribute__((warn_unused_result));

/* An integer value that fits, false otherwise (also for 1.0 and 1e3). */
bool slice_int(struct slice value, int64_t *out) __attribute__((warn_unused_result));

/* Are these bytes well-formed UTF-8 (no surrogates, no overlong forms)? NUL counts as well-formed.
 */
bool utf8_valid(const char *p, size_t n);

#endif

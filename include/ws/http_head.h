/*
 * http_head: the head of an HTTP/1.1 request, and of the answer. One strict parser for every
 * connection: a request has one meaning, or it is refused.
 */
#ifndef HEAD_H
#define HEAD_H

#include "lib/base.h"

enum { HEAD_MAX = 16384, HEAD_FIELDS = 100 }; /* bytes of a head, its header fields */

/* A head that was taken apart. Its strings are in the text that head_parse was given, which must
 * stay where it is for as long. */
struct head {
	const char *method; /* a token; whether it is known is for others to say */
	const char *path;   /* in its normal form: see head_parse */
	const char *query;  /* as it came, without the "?"; "" if there is none */
	bool http_1_0;      /* else it is HTTP/1.1 */
	int64_t length;     /* of the body that follows; -1 if that is not said */
	bool chunked;       /* there is a Transfer-Encoding */
	bool expects;       /* the client waits for a 100 Continue before it sends the body */
	int nfields;
	struct head_field {
		const char *name, *value;
	} fields[HEAD_FIELDS];
};

/* How many of the n bytes are the head, with the blank line that ends it; 0 if they do not hold a
 * whole one yet. The first `seen` bytes are known to hold none. */
size_t head_size(const char *p, size_t n, size_t seen);

/* Takes a whole head apart, in place; text[n - 1] is its last byte. 0, or the status with which the
 * request is refused, and why (a constant). Accepted is only: a path of unreserved characters,
 * sub-delims, ":", "@" and "/", without empty, "." or ".." segments, so without escapes (RFC 3986);
 * HTTP/1.1 or 1.0; one Host; no field twice that may come only once; lines that end with CRLF. */
int head_parse(char *text, size_t n, struct head *head, const char **why)
	__attribute__((warn_unused_result));

/* The value of a header field, by its name in any case; of several with that name, joined by ", ".
 * NULL if there is none. Owned by the caller. */
char *head_field(const struct head *head, const char *name) __attribute__((warn_unused_result));
bool head_has(const struct head *head, const char *name);
/* Is the word in the header field's comma-separated list, in any case? */
bool head_lists(const struct head *head, const char *name, const char *word);
/* The value of the first query parameter with this name, decoded ('+' is a space); NULL if it is
 * not there. Owned by the caller. */
char *head_parameter(const struct head *head, const char *name) __attribute__((warn_unused_result));

/* Appends the head of an answer, after which the connection closes. content_type: NULL for
 * text/plain; extra_header ("Retry-After: 1"): NULL for none; length: of the body, in bytes. */
void head_answer(struct buf *b, int status, const char *content_type, const char *extra_header,
	size_t length);

#endif

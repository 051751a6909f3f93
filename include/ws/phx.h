/*
 * phx: Phoenix's serializer 2.0.0, text and binary. Takes frames apart and puts replies together.
 * Knows no channel and no event.
 */
#ifndef PHX_H
#define PHX_H

#include "lib/base.h"

/* The binary form has one byte for each size; the same bound is kept for text. */
#define PHX_MAX_FIELD 255

struct phx_frame {
	struct slice join_ref; /* raw JSON: "12" with its quotes, or null */
	struct slice ref;      /* likewise */
	struct slice topic;    /* decoded text */
	struct slice event;    /* decoded text */
	struct slice payload;  /* raw JSON, valid; for a binary push the data as it came */
	bool binary;           /* came as a binary push: payload is not JSON */
	bool cut;              /* the frame was too large: payload is what is left, or absent */
	bool deep;             /* payload nests beyond JSCAN_MAX_DEPTH: payload is absent */
};

enum phx_error {
	PHX_OK,
	PHX_NOT_JSON,  /* not JSON, or not UTF-8: close 1007 */
	PHX_NOT_FRAME, /* JSON, but not five elements of the right types and sizes, or garbage:
			  close 1002 */
};

/* Takes one whole text message apart. Borrows data for as long as the frame is used, and may
 * rewrite it in place where topic or event hold escapes. */
enum phx_error phx_parse_text(char *data, size_t n, struct phx_frame *out)
	__attribute__((warn_unused_result));

/* The same for a text message that was too large to keep, of which the two ends are there with a
 * NUL between them (or the head alone). Sets cut; the payload is an object of those members that
 * are whole at its beginning, and of those at its end, back to one that is a list or an object.
 * What is wrong is PHX_NOT_FRAME: a part is never JSON. */
enum phx_error phx_parse_truncated(char *data, size_t n, struct phx_frame *out)
	__attribute__((warn_unused_result));

/* Takes a binary push (kind 0) apart. join_ref and ref come out as raw JSON strings (an
 * empty one as null): they are written to scratch, which must outlive the frame. */
enum phx_error phx_parse_binary(const char *data, size_t n,
	char scratch[2 * (6 * PHX_MAX_FIELD + 2)], struct phx_frame *out)
	__attribute__((warn_unused_result));

/* Appends a whole text frame [join_ref, ref, topic, "phx_reply", {"status": …, "response": …}].
 * join_ref and ref are raw JSON, topic is text, response raw JSON. */
void phx_reply(struct buf *b, struct slice join_ref, struct slice ref, struct slice topic, bool ok,
	struct slice response);

/* Appends a push: [join_ref, ref, topic, event, payload]; ref may be absent (null). */
void phx_push(struct buf *b, struct slice join_ref, struct slice ref, struct slice topic,
	const char *event, struct slice payload);

/* Appends the head of a binary reply (kind 1, status "ok"): the body is whatever the caller appends
 * behind it. False, with nothing appended, if a field does not fit in PHX_MAX_FIELD bytes. */
bool phx_binary_head(struct buf *b, struct slice join_ref, struct slice ref, struct slice topic)
	__attribute__((warn_unused_result));

#endif

/*
 * payload: the payload of a large message, taken apart: a small object that everybody may walk, and
 * beside it the members that are large.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "lib/jscan.h"

enum { PAYLOAD_NAMES = 5 };

/* Zero-initialise it; payload_free releases what it owns. */
struct payload {
	struct slice small;                /* borrows text */
	struct slice taken[PAYLOAD_NAMES]; /* by name (payload.c); borrows the message */
	struct buf text;                   /* absent: not taken apart */
};

/* Takes the members that may be large out of a valid JSON object: contents of dataclips and log
 * lines, which leave their length behind (and contents their digest). Of the other members a string
 * beyond 64 KiB is cut, and another value is left out. False if there is still too much. Linear,
 * and a pure function of raw: may be called in a thread. */
bool payload_split(struct slice raw, struct payload *out) __attribute__((warn_unused_result));

/* The member that was taken out under this name; absent if there is none. */
struct slice payload_taken(const struct payload *payload, const char *name);

/* Appends what the journal has in the place of a dataclip's content. */
void payload_describe(struct slice content, struct buf *out);
/* Is that what is under this key (a raw JSON string)? */
bool payload_is_content(struct slice key);

void payload_free(struct payload *payload);

#endif

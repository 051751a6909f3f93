/*
 * scrub: replaces secrets by ***. A set is made from the credentials of a run and applied to every
 * log line before it is stored.
 */
#ifndef SCRUB_H
#define SCRUB_H

#include "base.h"

struct scrub;

struct scrub *scrub_new(void);
void scrub_free(struct scrub *s); /* NULL is fine */

/* Adds the values of a credential's body (valid JSON): every string of 4 or more bytes at any depth
 * and every number of 6 or more digits, each plain, JSON-escaped, and base64-encoded at each of the
 * three alignments; and the base64 of every pair "a:b" of strings of one object (basic auth). Keys
 * are not secrets. Copies. Beyond some thousands of patterns only plain forms are added, which is
 * logged. */
void scrub_add(struct scrub *s, struct slice json);

/* Appends text to out with every occurrence of a secret replaced by ***, longest first where
 * several begin at the same place; what overlaps becomes one ***. True if anything was replaced. s
 * may be NULL (nothing is secret). */
bool scrub_apply(const struct scrub *s, struct slice text, struct buf *out);

#endif

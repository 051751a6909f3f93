/*
 * scrubber: replaces secrets by ***. A set is made from the credentials of a run and applied to
 * every text of its worker before it is stored.
 */
#ifndef SCRUBBER_H
#define SCRUBBER_H

#include "lib/base.h"

/* The maximum bytes of all bodies of a set, as they are in the database: encrypted. */
#define SCRUB_MAX (4 * 1024 * 1024)

struct scrubber;

/* A new set with the secrets of another one, empty if that is NULL. */
struct scrubber *scrubber_new(const struct scrubber *of) __attribute__((warn_unused_result));
void scrubber_free(struct scrubber *s); /* NULL is fine */

/* Adds the secrets in a credential's body, a JSON text: every string of 4 or more bytes at any
 * depth and every number of 6 or more digits. Each is found as it is, without the white space
 * around it, with other line ends, line by line (lines of 16 or more bytes), in a JSON string and
 * in a JSON string within one, and base64-encoded at each of the three alignments; and the base64
 * of every pair "a:b" of strings of one object (basic auth). Keys are not secrets. Copies. Beyond
 * some thousands of patterns, or 1 MiB of derived forms, only the secrets as they are and trimmed
 * are added (scrubber_is_full). A body that is in the set is not added again. False, with the set
 * as it was, if the body is not JSON or would be too much for the set. scrubber_build must follow.
 */
bool scrubber_add(struct scrubber *s, struct slice body) __attribute__((warn_unused_result));
/* Is a body of the very same bytes in the set? */
bool scrubber_has(const struct scrubber *s, struct slice body) __attribute__((warn_unused_result));
/* Makes the set ready for use, in time and memory that are linear in its bytes. */
void scrubber_build(struct scrubber *s);

/* Were forms omitted because there are too many? */
bool scrubber_is_full(const struct scrubber *s);

/* Bytes that the set takes. */
size_t scrubber_bytes(const struct scrubber *s);

/* Appends text to out with every occurrence of a secret replaced by ***; what overlaps becomes one
 * ***. Takes time that is linear in the text, whatever the secrets are. True if anything was
 * replaced; the result is never longer than the text. s may be NULL (no secrets). Changes
 * nothing but out: several threads may use a set at once. */
bool scrubber_apply(const struct scrubber *s, struct slice text, struct buf *out);

#endif

/*
 * What the parts of the scrubber share: the set, to which the forms of secrets are added, and the
 * automaton that is built from it.
 */
#ifndef SCRUB_PRIVATE_H
#define SCRUB_PRIVATE_H

#include "core/scrubber.h"

#define SECRET_MIN 4 /* bytes of a string */

/* Copies. A form without which a secret would not be found at all is always added, one that is
 * derived from it only while there is room. */
void scrubber_add_plain(struct scrubber *s, struct slice form);
void scrubber_add_derived(struct scrubber *s, struct slice form);
/* Is there room for a derived form of so many bytes? */
bool scrubber_has_room(struct scrubber *s, size_t n) __attribute__((warn_unused_result));

/* Adds all forms of all secrets in a valid JSON value. */
void scrubber_add_forms(struct scrubber *s, struct slice value);

/* Finds every occurrence of some patterns, in time that is linear in the text, whatever they are.
 */
struct automaton;

/* From patterns that are sorted as memcmp sorts, the shorter first; all differ, none is empty.
 * Borrows them during the call only. Linear in their bytes. */
struct automaton *automaton_new(const struct slice *patterns, size_t n)
	__attribute__((warn_unused_result));
void automaton_free(struct automaton *a); /* NULL is fine */
size_t automaton_size(const struct automaton *a);

/* Goes on from *at, in *state (both begin as 0), to the next place where an occurrence ends: *at is
 * then behind it, and the length of the longest one is returned; 0 when there are no more. */
size_t automaton_next(const struct automaton *a, struct slice text, size_t *at, uint32_t *state);

#endif

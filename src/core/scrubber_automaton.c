/*
 * scrubber automaton: Aho-Corasick, in 13 bytes per state. The states are the prefixes of the
 * patterns, numbered breadth first; since the patterns are sorted, the children of a state have
 * consecutive numbers, and the bytes that lead to them are adjacent. Invariants: a state's
 * `fail` is its longest proper suffix that is a state, and has a smaller number; each byte of a
 * text leads at most one level down, and each failure at least one level up, so that a text of n
 * bytes takes at most 2n steps.
 */
#include "scrubber_private.h"

#include <stdlib.h>

struct automaton {
	uint32_t n;        /* states; 0 is the root */
	uint32_t *first;   /* the children of s are first[s] … first[s + 1] - 1 */
	uint32_t *fail;    /* the next state when no child matches */
	uint32_t *longest; /* bytes of the longest pattern that ends here, or 0 */
	uint8_t *label;    /* the byte that leads here */
	uint32_t root[256];
};

/* The patterns that begin with a state's bytes, while its children are being made. */
struct range {
	uint32_t from, to;
};

static uint32_t child(const struct automaton *a, uint32_t s, uint8_t byte)
{
	uint32_t from = a->first[s], n = a->first[s + 1] - from;
	const uint8_t *at = n > 0 ? memchr(a->label + from, byte, n) : NULL;

	return at != NULL ? (uint32_t)(at - a->label) : 0;
}

static uint32_t step(const struct automaton *a, uint32_t s, uint8_t byte)
{
	uint32_t next;

	for (; s != 0; s = a->fail[s])
		if ((next = child(a, s, byte)) != 0)
			return next;
	return a->root[byte];
}

static size_t common(struct slice a, struct slice b)
{
	size_t n = 0;

	while (n < a.n && n < b.n && a.p[n] == b.p[n])
		n++;
	return n;
}

static uint32_t count_states(const struct slice *patterns, size_t n)
{
	size_t count = 1;

	for (size_t i = 0; i < n; i++)
		count += patterns[i].n - (i > 0 ? common(patterns[i - 1], patterns[i]) : 0);
	if (count >= UINT32_MAX)
		fatalx("patterns of %zu bytes are too many", count);
	return (uint32_t)count;
}

static uint32_t add_child(struct automaton *a, uint32_t s, uint8_t byte)
{
	uint32_t t = a->n++;

	a->label[t] = byte;
	if (s == 0)
		a->root[byte] = t;
	else
		a->fail[t] = step(a, a->fail[s], byte);
	return t;
}

/* Makes the children of s, whose patterns are *range and have `depth` bytes in common. */
static void expand(struct automaton *a, uint32_t s, size_t depth, const struct slice *patterns,
	struct range *ranges)
{
	uint32_t i = ranges[s].from, to = ranges[s].to;

	a->first[s] = a->n;
	a->longest[s] = a->longest[a->fail[s]];
	if (i < to && patterns[i].n == depth) {
		a->longest[s] = (uint32_t)depth;
		i++;
	}
	while (i < to) {
		struct range r = { .from = i };
		char byte = patterns[i].p[depth];

		while (i < to && patterns[i].p[depth] == byte)
			i++;
		r.to = i;
		ranges[add_child(a, s, (uint8_t)byte)] = r;
	}
}

struct automaton *automaton_new(const struct slice *patterns, size_t n)
{
	struct automaton *a = xcalloc(1, sizeof(*a));
	uint32_t states = count_states(patterns, n), level = 1; /* where the next level begins */
	struct range *ranges = xmalloc(states * sizeof(*ranges));
	size_t depth = 0;

	a->first = xmalloc((states + 1) * sizeof(*a->first));
	a->fail = xcalloc(states, sizeof(*a->fail));
	a->longest = xcalloc(states, sizeof(*a->longest));
	a->label = xcalloc(states, sizeof(*a->label));
	a->n = 1;
	ranges[0] = (struct range){ 0, (uint32_t)n };
	for (uint32_t s = 0; s < a->n; s++) {
		if (s == level) {
			level = a->n;
			depth++;
		}
		expand(a, s, depth, patterns, ranges);
	}
	a->first[a->n] = a->n;
	free(ranges);
	return a;
}

void automaton_free(struct automaton *a)
{
	if (a == NULL)
		return;
	free(a->first);
	free(a->fail);
	free(a->longest);
	free(a->label);
	free(a);
}

size_t automaton_size(const struct automaton *a)
{
	return sizeof(*a) + a->n * (3 * sizeof(uint32_t) + sizeof(uint8_t));
}

size_t automaton_next(const struct automaton *a, struct slice text, size_t *at, uint32_t *state)
{
	uint32_t s = *state;

	for (size_t i = *at; i < text.n; i++) {
		s = step(a, s, (uint8_t)text.p[i]);
		if (a->longest[s] > 0) {
			*at = i + 1;
			*state = s;
			return a->longest[s];
		}
	}
	return 0;
}

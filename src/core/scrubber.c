/*
 * scrubber: a set of byte patterns and one pass over a text. Invariants: no byte of an occurrence
 * survives, also where occurrences overlap; and the plain form of every secret is in the set,
 * however many there are: the bounds on patterns drop only forms derived from it. A body that
 * does not fit is refused as a whole, so that its credential is not delivered.
 */
#include "scrubber_private.h"

#include <stdlib.h>

#include "lib/crypto.h"
#include "lib/jscan.h"

#define PATTERNS_MAX 4096         /* beyond this, only plain forms … */
#define DERIVED_MAX (1024 * 1024) /* … also beyond this many bytes of derived forms */

struct digest {
	char hex[65];
};

struct scrubber {
	struct slice *patterns; /* each owned; sorted by scrubber_build */
	size_t n, cap;
	struct digest *bodies; /* of what was added */
	size_t nbodies;
	size_t body_bytes, pattern_bytes, derived_bytes;
	bool full; /* a form was dropped */
	struct automaton *automaton;
};

struct scrubber *scrubber_new(const struct scrubber *of)
{
	struct scrubber *s = xcalloc(1, sizeof(*s));

	if (of == NULL)
		return s;
	*s = *of;
	s->automaton = NULL;
	s->bodies = xmemdup(of->bodies, of->nbodies * sizeof(*of->bodies));
	s->cap = of->n;
	s->patterns = xcalloc(of->n, sizeof(*of->patterns));
	for (size_t i = 0; i < of->n; i++)
		s->patterns[i] = (struct slice){ xmemdup(of->patterns[i].p, of->patterns[i].n),
			of->patterns[i].n };
	return s;
}

void scrubber_free(struct scrubber *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n; i++)
		free((char *)s->patterns[i].p);
	free(s->patterns);
	free(s->bodies);
	automaton_free(s->automaton);
	free(s);
}

size_t scrubber_bytes(const struct scrubber *s)
{
	return sizeof(*s) + s->cap * sizeof(*s->patterns) + s->pattern_bytes +
	       s->nbodies * sizeof(*s->bodies) +
	       (s->automaton != NULL ? automaton_size(s->automaton) : 0);
}

/* ---- adding ---- */

void scrubber_add_plain(struct scrubber *s, struct slice form)
{
	if (s->n == s->cap) {
		s->cap = s->cap > 0 ? 2 * s->cap : 16;
		s->patterns = xrealloc(s->patterns, s->cap * sizeof(*s->patterns));
	}
	s->patterns[s->n++] = (struct slice){ xmemdup(form.p, form.n), form.n };
	s->pattern_bytes += form.n;
}

bool scrubber_has_room(struct scrubber *s, size_t n)
{
	bool room = s->n < PATTERNS_MAX && n <= DERIVED_MAX - s->derived_bytes;

	s->full = s->full || !room;
	return room;
}

bool scrubber_is_full(const struct scrubber *s)
{
	return s->full;
}

void scrubber_add_derived(struct scrubber *s, struct slice form)
{
	if (form.n < SECRET_MIN || !scrubber_has_room(s, form.n))
		return;
	s->derived_bytes += form.n;
	scrubber_add_plain(s, form);
}

static struct digest digest_of(struct slice body)
{
	struct digest d;

	crypto_sha256_hex(body.p, body.n, d.hex);
	return d; /* cppcheck-suppress uninitvar ; d is d.hex */
}

static bool has(const struct scrubber *s, const struct digest *d)
{
	for (size_t i = 0; i < s->nbodies; i++)
		if (memcmp(&s->bodies[i], d, sizeof(*d)) == 0)
			return true;
	return false;
}

bool scrubber_has(const struct scrubber *s, struct slice body)
{
	struct digest d = digest_of(body);

	return has(s, &d);
}

bool scrubber_add(struct scrubber *s, struct slice body)
{
	struct digest d = digest_of(body);
	struct slice value;

	if (has(s, &d))
		return true;
	if (body.n + CRYPTO_OVERHEAD > SCRUB_MAX - s->body_bytes ||
		jscan_document(body, &value) != JSCAN_OK)
		return false;
	s->body_bytes += body.n + CRYPTO_OVERHEAD;
	s->bodies = xrealloc(s->bodies, (s->nbodies + 1) * sizeof(*s->bodies));
	s->bodies[s->nbodies++] = d;
	scrubber_add_forms(s, value);
	return true;
}

static int by_bytes(const void *left, const void *right)
{
	const struct slice *a = left, *b = right;
	int order = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);

	return order != 0 ? order : (a->n > b->n) - (a->n < b->n);
}

static void drop_duplicates(struct scrubber *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (kept > 0 && slice_eq(s->patterns[kept - 1], s->patterns[i])) {
			s->pattern_bytes -= s->patterns[i].n;
			free((char *)s->patterns[i].p);
		} else {
			s->patterns[kept++] = s->patterns[i];
		}
	}
	s->n = kept;
}

void scrubber_build(struct scrubber *s)
{
	if (s->n > 0)
		qsort(s->patterns, s->n, sizeof(*s->patterns), by_bytes);
	drop_duplicates(s);
	automaton_free(s->automaton);
	s->automaton = automaton_new(s->patterns, s->n);
}

/* ---- replacing ---- */

struct span {
	size_t from, to;
};

/* Covers a span that ends behind all others. Those that it overlaps become one with it; so they
 * never overlap each other, and are in order. */
static void cover(struct buf *spans, struct span span)
{
	while (spans->n > 0) {
		struct span last = ((struct span *)spans->p)[spans->n / sizeof(last) - 1];

		if (last.to <= span.from)
			break;
		if (last.from < span.from)
			span.from = last.from;
		spans->n -= sizeof(last);
	}
	buf_add(spans, &span, sizeof(span));
}

bool scrubber_apply(const struct scrubber *s, struct slice text, struct buf *out)
{
	struct buf spans = { 0 };
	size_t at = 0, done = 0, n;
	uint32_t state = 0;

	while (s != NULL && (n = automaton_next(s->automaton, text, &at, &state)) > 0)
		cover(&spans, (struct span){ at - n, at });
	for (size_t i = 0; i < spans.n / sizeof(struct span); i++) {
		struct span span = ((struct span *)spans.p)[i];

		buf_add(out, text.p + done, span.from - done);
		buf_adds(out, "***");
		done = span.to;
	}
	if (text.n > done)
		buf_add(out, text.p + done, text.n - done);
	buf_free(&spans);
	return done > 0;
}

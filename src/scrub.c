/*
 * scrub: a set of byte patterns and one pass over a text. Invariants: no byte of an occurrence
 * survives, also where occurrences overlap; and the plain form of every secret is in the set,
 * however many there are: the bound on the number of patterns drops only forms derived from it.
 */
#include "scrub.h"

#include <stdlib.h>

#include "crypt.h"
#include "slice.h"

#define SECRET_MIN 4      /* bytes of a string */
#define DIGITS_MIN 6      /* of a number */
#define CORE_MIN 8        /* base64 digits that stand on their own; fewer are found by chance */
#define PAIR_STRINGS 32   /* of one object; what has more is no login */
#define PAIR_MAX 1024     /* bytes of user name and password together */
#define HEAD_BITS 16      /* of the hash of a pattern's first four bytes */
#define PATTERNS_MAX 4096 /* beyond this, plain forms only */

struct pattern {
	uint32_t head; /* its first bytes: none has fewer than SECRET_MIN */
	size_t n;
	char *p;
};

/* The patterns are sorted by head, then longest first. A text in which nothing matches costs a look
 * at one bit of `heads` per byte; few heads that are not there have theirs set by another. */
struct scrub {
	struct pattern *patterns;
	size_t n, cap;
	uint8_t heads[1 << (HEAD_BITS - 3)];
	bool full; /* something was dropped, and said so */
};

static uint32_t head_at(const char *p)
{
	uint32_t head;

	memcpy(&head, p, sizeof(head));
	return head;
}

/* The place of a head's bit: the upper bits of a product depend on all of the head's. */
static size_t bit_of(uint32_t head)
{
	return head * 2654435761U >> (32 - HEAD_BITS);
}

struct scrub *scrub_new(void)
{
	struct scrub *s = xcalloc(1, sizeof(*s));

	s->cap = 16;
	s->patterns = xcalloc(s->cap, sizeof(*s->patterns));
	return s;
}

void scrub_free(struct scrub *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n; i++)
		free(s->patterns[i].p);
	free(s->patterns);
	free(s);
}

/* The forms of a secret. */

static void add(struct scrub *s, struct slice form)
{
	if (s->n == s->cap) {
		s->cap *= 2;
		s->patterns = xrealloc(s->patterns, s->cap * sizeof(*s->patterns));
	}
	s->patterns[s->n++] = (struct pattern){
		.head = head_at(form.p),
		.n = form.n,
		.p = xmemdup(form.p, form.n),
	};
}

static void add_derived(struct scrub *s, struct slice form)
{
	if (s->n < PATTERNS_MAX) {
		add(s, form);
	} else if (!s->full) {
		s->full = true;
		log_warnx("a run has too many secrets: encoded forms of some are not replaced");
	}
}

/* As JSON.stringify writes it, without the quotes. */
static void escape(struct slice text, bool slashes, struct buf *out)
{
	static const char plain[] = "\"\\\b\f\n\r\t/", letters[] = "\"\\bfnrt/";

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		const char *at = memchr(plain, c, sizeof(plain) - (slashes ? 1 : 2));

		if (at)
			buf_addf(out, "\\%c", letters[at - plain]);
		else if ((unsigned char)c < 0x20)
			buf_addf(out, "\\u%04x", (unsigned)c);
		else
			buf_addc(out, c);
	}
}

static void add_escaped(struct scrub *s, struct slice text)
{
	for (int slashes = 0; slashes <= 1; slashes++) {
		struct buf form = { 0 };

		escape(text, slashes, &form);
		if (form.n != text.n)
			add_derived(s, (struct slice){ form.p, form.n });
		buf_free(&form);
	}
}

/* The base64 of text, in both alphabets and without padding, as it stands behind `before` bytes:
 * whole if the encoded bytes end with it, else only the digits that no neighbour has a bit in. */
static void add_base64(struct scrub *s, struct slice text, size_t before, bool whole)
{
	struct buf bytes = { 0 }, digits = { 0 };

	buf_add(&bytes, "\0", before);
	buf_add(&bytes, text.p, text.n);
	crypt_base64(bytes.p, bytes.n, &digits);

	size_t from = (8 * before + 5) / 6;
	size_t to = whole ? (8 * bytes.n + 5) / 6 : 8 * bytes.n / 6;
	struct slice form = { digits.p + from, to - from };
	bool differs = false;

	if (whole || form.n >= CORE_MIN) {
		add_derived(s, form);
		for (char *c = digits.p; c < digits.p + to; c++) {
			if (*c == '+' || *c == '/') {
				*c = *c == '+' ? '-' : '_';
				differs = true;
			}
		}
		if (differs)
			add_derived(s, form);
	}
	buf_free(&bytes);
	buf_free(&digits);
}

/* What in a credential is a secret. */

static size_t digits_in(struct slice number)
{
	size_t n = 0;

	for (size_t i = 0; i < number.n; i++)
		n += number.p[i] >= '0' && number.p[i] <= '9';
	return n;
}

/* The text of a string or number that counts; false for anything else. */
static bool secret_in(struct slice value, struct buf *text)
{
	switch (slice_type(value)) {
	case SLICE_STRING:
		/* What cannot be text is looked for as it was written. */
		if (!slice_decode(value, text))
			buf_add(text, value.p + 1, value.n - 2);
		return text->n >= SECRET_MIN;
	case SLICE_NUMBER: buf_add(text, value.p, value.n); return digits_in(value) >= DIGITS_MIN;
	default: return false;
	}
}

static void add_secret(struct scrub *s, struct slice value)
{
	struct buf text = { 0 };

	if (secret_in(value, &text)) {
		struct slice secret = { text.p, text.n };

		add(s, secret);
		add_escaped(s, secret);
		add_base64(s, secret, 0, true);
		for (size_t before = 0; before < 3; before++)
			add_base64(s, secret, before, false);
	}
	buf_free(&text);
}

static void add_pair(struct scrub *s, const struct buf *user, const struct buf *password)
{
	struct buf pair = { 0 };

	if (user->n < SECRET_MIN && password->n < SECRET_MIN)
		return;
	if (user->n + password->n > PAIR_MAX)
		return;
	buf_add(&pair, user->p, user->n);
	buf_addc(&pair, ':');
	buf_add(&pair, password->p, password->n);
	add_base64(s, (struct slice){ pair.p, pair.n }, 0, true);
	buf_free(&pair);
}

/* Which string is the user and which the password cannot be known: every pair, both ways. */
static void add_pairs(struct scrub *s, struct slice value)
{
	struct buf texts[PAIR_STRINGS] = { 0 };
	struct slice key, member;
	size_t n = 0;

	if (slice_type(value) != SLICE_OBJECT)
		return;
	while (n < PAIR_STRINGS && slice_next(&value, &key, &member))
		if (slice_type(member) == SLICE_STRING && slice_decode(member, &texts[n]))
			n++;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			if (i != j)
				add_pair(s, &texts[i], &texts[j]);
	for (size_t i = 0; i < countof(texts); i++)
		buf_free(&texts[i]);
}

/* Recursion is bounded by SLICE_MAX_DEPTH. */
static void walk(
	struct scrub *s, struct slice value, void visit(struct scrub *s, struct slice value))
{
	struct slice key, member;
	enum slice_type type = slice_type(value);

	visit(s, value);
	if (type == SLICE_OBJECT || type == SLICE_ARRAY)
		while (slice_next(&value, &key, &member))
			walk(s, member, visit);
}

/* The set. */

static int by_head_and_length(const void *left, const void *right)
{
	const struct pattern *a = left, *b = right;

	if (a->head != b->head)
		return a->head < b->head ? -1 : 1;
	if (a->n != b->n)
		return a->n > b->n ? -1 : 1;
	return memcmp(a->p, b->p, a->n);
}

static void drop_duplicates(struct scrub *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (kept > 0 && by_head_and_length(&s->patterns[kept - 1], &s->patterns[i]) == 0)
			free(s->patterns[i].p);
		else
			s->patterns[kept++] = s->patterns[i];
	}
	s->n = kept;
}

void scrub_add(struct scrub *s, struct slice json)
{
	struct slice value;

	if (slice_document(json, &value) != SLICE_OK) {
		log_warnx("a credential is not valid JSON: its values are not replaced in logs");
		return;
	}
	walk(s, value, add_secret);
	walk(s, value, add_pairs); /* last: they are many, and the least likely */

	qsort(s->patterns, s->n, sizeof(*s->patterns), by_head_and_length);
	drop_duplicates(s);
	for (size_t i = 0; i < s->n; i++) {
		size_t bit = bit_of(s->patterns[i].head);
		s->heads[bit / 8] |= (uint8_t)(1 << bit % 8);
	}
}

/* The first pattern whose head is not below this one. */
static const struct pattern *search(const struct scrub *s, uint32_t head)
{
	const struct pattern *t = s->patterns;
	size_t n = s->n;

	while (n > 0) {
		size_t half = n / 2;
		if (t[half].head < head) {
			t += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return t;
}

/* The length of the longest secret that begins at p, 0 if none does. */
static size_t match(const struct scrub *s, const char *p, size_t left)
{
	uint32_t head = head_at(p);
	size_t bit = bit_of(head);

	if ((s->heads[bit / 8] & 1 << bit % 8) == 0)
		return 0;
	const struct pattern *t = search(s, head), *end = s->patterns + s->n;
	for (; t < end && t->head == head; t++)
		if (t->n <= left && memcmp(t->p, p, t->n) == 0)
			return t->n;
	return 0;
}

bool scrub_apply(const struct scrub *s, struct slice text, struct buf *out)
{
	size_t done = 0; /* up to here the text is copied or replaced */

	if (text.n == 0)
		return false;
	for (size_t i = 0; s && i + SECRET_MIN <= text.n; i++) {
		size_t n = match(s, text.p + i, text.n - i);

		if (n == 0)
			continue;
		if (i >= done) {
			buf_add(out, text.p + done, i - done);
			buf_adds(out, "***");
		}
		if (i + n > done)
			done = i + n;
	}
	buf_add(out, text.p + done, text.n - done);
	return done > 0;
}

/*
 * scrubber forms: the secrets in a credential, and the forms in which they may appear in a text.
 * Invariant: each pass over a credential is linear in its bytes, except for the pairs, which are
 * made only while there is room. The likelier forms of all secrets come first, because room is
 * limited.
 */
#include "scrubber_private.h"

#include "lib/crypto.h"
#include "lib/jscan.h"

#define DIGITS_MIN 6    /* of a number */
#define LINE_MIN 16     /* bytes of a line that is a secret of its own */
#define CORE_MIN 8      /* base64 digits of a form; fewer would match by chance */
#define PAIR_STRINGS 32 /* of one object; an object with more is not a login */
#define PAIR_MAX 1024   /* bytes of user name and password together */

static struct slice text_of(const struct buf *b)
{
	return (struct slice){ b->p, b->n };
}

static struct slice trim(struct slice text)
{
	const char *end = text.p + text.n, *p = jscan_skip_space(text.p, end);

	while (end > p && jscan_skip_space(end - 1, end) == end)
		end--;
	return (struct slice){ p, (size_t)(end - p) };
}

/* ---- the forms of one secret ---- */

static void add_plain(struct scrubber *s, struct slice secret)
{
	struct slice trimmed = trim(secret);

	scrubber_add_plain(s, secret);
	if (trimmed.n < secret.n && trimmed.n >= SECRET_MIN)
		scrubber_add_plain(s, trimmed);
}

/* As JSON.stringify writes it, without the quotes; with slashes, as some others do. */
static void escape(struct slice text, bool slashes, struct buf *out)
{
	static const char plain[] = "\"\\\b\f\n\r\t/", letters[] = "\"\\bfnrt/";

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		const char *at = memchr(plain, c, sizeof(plain) - (slashes ? 1 : 2));

		if (at) {
			buf_addc(out, '\\');
			buf_addc(out, letters[at - plain]);
		} else if ((unsigned char)c < 0x20) {
			buf_addf(out, "\\u%04x", (unsigned)c);
		} else {
			buf_addc(out, c);
		}
	}
}

/* In a JSON string, and in a JSON string within one. */
static void add_escaped(struct scrubber *s, struct slice text)
{
	/* A secret is not empty: text.p is not NULL. */
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
	int ways = memchr(text.p, '/', text.n) != NULL ? 2 : 1;

	for (int way = 0; way < ways; way++) {
		bool slashes = way == 1;
		struct buf once = { 0 }, twice = { 0 };

		escape(text, slashes, &once);
		if (once.n != text.n) {
			scrubber_add_derived(s, text_of(&once));
			escape(text_of(&once), slashes, &twice);
			scrubber_add_derived(s, text_of(&twice));
		}
		buf_free(&once);
		buf_free(&twice);
	}
}

/* Where the line that begins at p ends. */
static const char *line_end(const char *p, const char *end)
{
	while (p < end && *p != '\n' && *p != '\r')
		p++;
	return p;
}

static const char *next_line(const char *p, const char *end)
{
	return p + (end - p >= 2 && p[0] == '\r' && p[1] == '\n' ? 2 : p < end ? 1 : 0);
}

static void add_with_ends(struct scrubber *s, struct slice text, const char *mark)
{
	const char *end = text.p + text.n, *stop;
	struct buf form = { 0 };

	for (const char *p = text.p; p < end; p = next_line(stop, end)) {
		stop = line_end(p, end);
		buf_add(&form, p, (size_t)(stop - p));
		if (stop < end)
			buf_adds(&form, mark);
	}
	if (!slice_eq(text_of(&form), text)) {
		scrubber_add_derived(s, text_of(&form));
		add_escaped(s, text_of(&form));
	}
	buf_free(&form);
}

/* Each longer line, and the whole with other line ends: a private key, say. */
static void add_lines(struct scrubber *s, struct slice secret)
{
	static const char *const marks[] = { "\n", "\r\n", "\r", " ", "" };
	struct slice text = trim(secret);
	const char *end = text.p + text.n, *stop;

	if (line_end(text.p, end) == end)
		return;
	for (const char *p = text.p; p < end; p = next_line(stop, end)) {
		stop = line_end(p, end);
		struct slice line = trim((struct slice){ p, (size_t)(stop - p) });
		if (line.n >= LINE_MIN) {
			scrubber_add_derived(s, line);
			add_escaped(s, line);
		}
	}
	for (size_t i = 0; i < countof(marks); i++)
		add_with_ends(s, text, marks[i]);
}

/* The base64 of text, in both alphabets and without padding, as it stands behind `before` bytes:
 * whole if the encoded bytes end with it, else only the digits that no neighbour has a bit in. */
static void add_base64(struct scrubber *s, struct slice text, size_t before, bool whole)
{
	struct buf bytes = { 0 }, digits = { 0 };

	buf_add(&bytes, "\0", before);
	buf_add(&bytes, text.p, text.n);
	crypto_base64(bytes.p, bytes.n, &digits);

	size_t from = (8 * before + 5) / 6;
	size_t to = whole ? (8 * bytes.n + 5) / 6 : 8 * bytes.n / 6;
	struct slice form = { digits.p + from, to - from };
	bool differs = false;

	if (whole || form.n >= CORE_MIN) {
		scrubber_add_derived(s, form);
		for (char *c = digits.p; c < digits.p + to; c++) {
			if (*c == '+' || *c == '/') {
				*c = *c == '+' ? '-' : '_';
				differs = true;
			}
		}
		if (differs)
			scrubber_add_derived(s, form);
	}
	buf_free(&bytes);
	buf_free(&digits);
}

static void add_encoded(struct scrubber *s, struct slice secret)
{
	struct slice trimmed = trim(secret);

	if (trimmed.n < SECRET_MIN)
		trimmed = secret;
	add_escaped(s, secret);
	add_base64(s, secret, 0, true);
	if (trimmed.n < secret.n) {
		add_escaped(s, trimmed);
		add_base64(s, trimmed, 0, true);
	}
	for (size_t before = 0; before < 3; before++)
		add_base64(s, trimmed, before, false);
}

/* ---- what in a credential is a secret ---- */

static size_t digits_in(struct slice number)
{
	size_t n = 0;

	for (size_t i = 0; i < number.n; i++)
		n += number.p[i] >= '0' && number.p[i] <= '9';
	return n;
}

/* The text of a string or number that counts; false for anything else. */
static bool secret_in(struct slice token, struct buf *text)
{
	if (*token.p == '"') {
		/* What cannot be decoded is searched for as it was written. */
		if (!jscan_decode(token, text))
			buf_add(text, token.p + 1, token.n - 2);
		return text->n >= SECRET_MIN;
	}
	buf_add(text, token.p, token.n);
	return digits_in(token) >= DIGITS_MIN;
}

static void for_each_secret(
	struct scrubber *s, struct slice value, void add(struct scrubber *s, struct slice secret))
{
	struct buf text = { 0 };
	struct slice token;

	while (jscan_step(&value, &token)) {
		text.n = 0;
		if (secret_in(token, &text))
			add(s, text_of(&text));
	}
	if (text.p != NULL)
		explicit_bzero(text.p, text.cap);
	buf_free(&text);
}

/* ---- pairs ---- */

static void add_pair(struct scrubber *s, const struct buf *user, const struct buf *password)
{
	struct buf pair = { 0 };

	if (user->n < SECRET_MIN && password->n < SECRET_MIN)
		return;
	if (user->n + password->n > PAIR_MAX || !scrubber_has_room(s, user->n + password->n))
		return;
	buf_add(&pair, user->p, user->n);
	buf_addc(&pair, ':');
	buf_add(&pair, password->p, password->n);
	add_base64(s, text_of(&pair), 0, true);
	buf_free(&pair);
}

/* It is unknown which string is the user and which the password: every pair, both ways. */
static void add_pairs(struct scrubber *s, const struct slice *strings, size_t count)
{
	struct buf texts[PAIR_STRINGS] = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < count && n < PAIR_STRINGS; i++)
		n += jscan_decode(strings[i], &texts[n]);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			if (i != j)
				add_pair(s, &texts[i], &texts[j]);
	for (size_t i = 0; i < countof(texts); i++)
		buf_free(&texts[i]);
}

/* A stack of open brackets, each followed by the strings that are directly in it. */
static void add_all_pairs(struct scrubber *s, struct slice value)
{
	struct buf open = { 0 };
	struct slice token;

	while (jscan_step(&value, &token) && scrubber_has_room(s, 0)) {
		struct slice *all = (struct slice *)open.p;
		size_t n = open.n / sizeof(*all), from = n;

		if (strchr("\"{[", *token.p) != NULL)
			buf_add(&open, &token, sizeof(token));
		if (strchr("}]", *token.p) == NULL)
			continue;
		/* The value is valid: the bracket was opened. */
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
		while (*all[from - 1].p == '"')
			from--;
		if (*token.p == '}')
			add_pairs(s, all + from, n - from);
		open.n = (from - 1) * sizeof(*all);
	}
	buf_free(&open);
}

void scrubber_add_forms(struct scrubber *s, struct slice value)
{
	for_each_secret(s, value, add_plain);
	for_each_secret(s, value, add_lines);
	for_each_secret(s, value, add_encoded);
	add_all_pairs(s, value); /* last: they are many, and the least likely */
}

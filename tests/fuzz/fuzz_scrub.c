/*
 * The scrubber: the first line of the input is the text, the others are secrets. The automaton must
 * find what looking at every place for every pattern finds; and of a set of these secrets, or of
 * the whole input as a credential, no secret may survive in the text.
 */
#include "../../src/core/scrubber_private.h"

#include <stdlib.h>

#include "lib/jscan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { SECRET_MAX = 64 };

static void require(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

static int by_bytes(const void *left, const void *right)
{
	const struct slice *a = left, *b = right;
	int order = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);

	return order != 0 ? order : (a->n > b->n) - (a->n < b->n);
}

static size_t split(struct slice rest, struct slice secrets[SECRET_MAX])
{
	size_t n = 0, kept = 0;

	while (rest.n > 0 && n < SECRET_MAX) {
		const char *end = memchr(rest.p, '\n', rest.n);
		struct slice line = { rest.p, end != NULL ? (size_t)(end - rest.p) : rest.n };

		if (line.n > 0)
			secrets[n++] = line;
		rest.p += line.n + (end != NULL);
		rest.n -= line.n + (end != NULL);
	}
	qsort(secrets, n, sizeof(*secrets), by_bytes);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || !slice_eq(secrets[kept - 1], secrets[i]))
			secrets[kept++] = secrets[i];
	return kept;
}

/* The longest pattern that ends at this place, by the definition. */
static size_t longest(struct slice text, size_t end, const struct slice *patterns, size_t n)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		if (patterns[i].n <= end && patterns[i].n > found &&
			memcmp(text.p + end - patterns[i].n, patterns[i].p, patterns[i].n) == 0)
			found = patterns[i].n;
	return found;
}

static void compare(struct slice text, const struct slice *patterns, size_t n)
{
	struct automaton *a = automaton_new(patterns, n);
	uint32_t state = 0;
	size_t at = 0, found = automaton_next(a, text, &at, &state);

	for (size_t end = 1; end <= text.n; end++) {
		size_t want = longest(text, end, patterns, n);

		require((found > 0 && at == end ? found : 0) == want, "another occurrence");
		if (want > 0)
			found = automaton_next(a, text, &at, &state);
	}
	require(found == 0, "an occurrence behind the end");
	automaton_free(a);
}

static void replace(struct slice text, const struct slice *secrets, size_t n)
{
	struct buf json = { 0 }, result = { 0 };
	struct scrubber *s = scrubber_new(NULL);
	bool any = false, replaced;

	buf_addc(&json, '[');
	for (size_t i = 0; i < n; i++) {
		if (secrets[i].n < SECRET_MIN || !utf8_valid(secrets[i].p, secrets[i].n) ||
			memchr(secrets[i].p, '\0', secrets[i].n) != NULL)
			continue;
		buf_adds(&json, json.n > 1 ? "," : "");
		buf_add_json(&json, secrets[i]);
		any = any || memmem(text.p, text.n, secrets[i].p, secrets[i].n) != NULL;
	}
	buf_addc(&json, ']');
	require(scrubber_add(s, (struct slice){ json.p, json.n }), "refused");
	scrubber_build(s);
	replaced = scrubber_apply(s, text, &result);
	require(replaced || !any, "nothing was replaced");
	require(result.n <= text.n, "longer than the text");
	require(replaced || result.n == text.n, "shorter than the text");
	buf_free(&json);
	buf_free(&result);
	scrubber_free(s);
}

/* A credential of any shape. */
static void add(struct slice body)
{
	struct scrubber *s = scrubber_new(NULL);
	struct buf result = { 0 };

	if (scrubber_add(s, body)) {
		scrubber_build(s);
		scrubber_apply(s, body, &result);
		require(result.n <= body.n, "longer than the credential");
	}
	buf_free(&result);
	scrubber_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct slice text = { (const char *)data, n }, secrets[SECRET_MAX];
	const char *end = n > 0 ? memchr(data, '\n', n) : NULL;
	size_t count = 0;

	if (end != NULL) {
		text.n = (size_t)(end - text.p);
		count = split((struct slice){ end + 1, n - text.n - 1 }, secrets);
	}
	compare(text, secrets, count);
	replace(text, secrets, count);
	add((struct slice){ (const char *)data, n });
	return 0;
}

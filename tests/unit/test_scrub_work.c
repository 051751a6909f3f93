/* scrub: compared with its definition, and how its work and memory grow. */
#include "core/scrubber.h"

#include <setjmp.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* The set of one credential. */
static struct scrubber *set_of(struct slice body)
{
	struct scrubber *s = scrubber_new(NULL);

	assert_true(scrubber_add(s, body));
	scrubber_build(s);
	return s;
}

/* ---- against the definition ---- */

/* Marks what every occurrence of every pattern covers, and where two of its bytes belong together;
 * what is not marked stays. */
static void apply_by_definition(
	const struct slice *patterns, size_t n, struct slice text, struct buf *out)
{
	bool *covered = xcalloc(text.n + 1, 1), *joined = xcalloc(text.n + 1, 1);

	for (size_t at = 0; at < text.n; at++)
		for (size_t i = 0; i < n; i++) {
			struct slice p = patterns[i];

			if (p.n > text.n - at || memcmp(text.p + at, p.p, p.n) != 0)
				continue;
			memset(covered + at, true, p.n);
			memset(joined + at + 1, true, p.n - 1);
		}
	for (size_t at = 0; at < text.n; at++)
		if (!covered[at])
			buf_addc(out, text.p[at]);
		else if (!joined[at])
			buf_adds(out, "***");
	free(covered);
	free(joined);
}

/* Short words of few letters, so that they overlap, contain and repeat one another. */
static void random_word(struct buf *out, int min, int max)
{
	for (int n = min + rand() % (max - min + 1); n > 0; n--)
		buf_addc(out, "abc"[rand() % 3]);
}

static void as_defined(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 2000; round++) {
		struct buf json = { 0 }, text = { 0 }, got = { 0 }, want = { 0 };
		struct buf words[8] = { 0 };
		struct slice patterns[8];
		size_t n = 1 + (size_t)rand() % countof(words);

		for (size_t i = 0; i < n; i++) {
			random_word(&words[i], 4, 12);
			patterns[i] = (struct slice){ words[i].p, words[i].n };
			buf_addf(&json, "%s\"%s\"", i > 0 ? "," : "[", words[i].p);
		}
		buf_addc(&json, ']');
		random_word(&text, 1, 200);
		struct scrubber *s = set_of((struct slice){ json.p, json.n });
		scrubber_apply(s, (struct slice){ text.p, text.n }, &got);
		apply_by_definition(patterns, n, (struct slice){ text.p, text.n }, &want);
		if (!slice_eq((struct slice){ got.p, got.n }, (struct slice){ want.p, want.n }))
			fail_msg("%s in %s became %s, not %s", json.p, text.p, got.p, want.p);
		for (size_t i = 0; i < n; i++)
			buf_free(&words[i]);
		buf_free(&json);
		buf_free(&text);
		buf_free(&got);
		buf_free(&want);
		scrubber_free(s);
	}
}

/* ---- how the work grows ---- */

static double processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double smaller(double a, double b)
{
	return a < b ? a : b;
}

/* The least time of three that the text takes; and the set, in *build. */
static double time_of(struct slice body, struct slice text, double *build)
{
	double least = 1e9;

	*build = 1e9;
	for (int i = 0; i < 3; i++) {
		struct buf out = { 0 };
		double begun = processor_time(), built;
		struct scrubber *s = set_of(body);

		built = processor_time();
		scrubber_apply(s, text, &out);
		least = smaller(least, processor_time() - built);
		*build = smaller(*build, built - begun);
		buf_free(&out);
		scrubber_free(s);
	}
	return least;
}

/* A secret of n letters a and one b, that many times: each place of a text of a is nearly one. */
static struct buf near_misses(size_t n, size_t count)
{
	struct buf json = { 0 };

	for (size_t i = 0; i < count; i++) {
		buf_adds(&json, i > 0 ? ",\"" : "[\"");
		for (size_t j = 0; j < n - i; j++)
			buf_addc(&json, 'a');
		buf_adds(&json, "b\"");
	}
	buf_addc(&json, ']');
	return json;
}

/* What grows faster than the text would take a hundred times as long; the bound is a tenth. */
static void linear(void **state)
{
	struct buf text = { 0 }, small = near_misses(100, 1), large = near_misses(100000, 1);
	struct buf many = near_misses(1000, 100);
	double build, first, built;

	(void)state;
	while (text.n < 300000)
		buf_adds(&text, "aaaaaaaaaa");
	struct slice all = { text.p, text.n };
	first = time_of((struct slice){ small.p, small.n }, all, &build);
	assert_true(time_of((struct slice){ large.p, large.n }, all, &built) < 10 * first + 0.01);
	assert_true(time_of((struct slice){ many.p, many.n }, all, &build) < 10 * first + 0.01);
	/* Two sets of the same size, one large secret or many small ones. */
	assert_true(built < 10 * build + 0.01 && build < 10 * built + 0.01);
	buf_free(&text);
	buf_free(&small);
	buf_free(&large);
	buf_free(&many);
}

/* 60 KB in one level, and in 2,000. */
static void linear_in_depth(void **state)
{
	struct buf flat = { 0 }, nested = { 0 };
	double once, deep_one;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		buf_addf(&flat, "%s\"plain words, %010d\"", i > 0 ? "," : "[", i);
		buf_addf(&nested, "{\"a\":\"plain words, %010d\",\"b\":", i);
	}
	buf_adds(&flat, "]");
	buf_adds(&nested, "{}");
	for (int i = 0; i < 2000; i++)
		buf_adds(&nested, "}");
	time_of((struct slice){ flat.p, flat.n }, slice_of("-"), &once);
	time_of((struct slice){ nested.p, nested.n }, slice_of("-"), &deep_one);
	assert_true(deep_one < 20 * once + 0.01);
	buf_free(&flat);
	buf_free(&nested);
}

/* The bytes of n times a text, as a JSON string of an array. */
static struct buf repeated(const char *text, size_t n)
{
	struct buf json = { 0 };

	buf_adds(&json, "[\"");
	while (n-- > 0)
		buf_adds(&json, text);
	buf_adds(&json, "\"]");
	return json;
}

/* However large and odd a credential is, its set has a bound: 14 bytes for each of its own, and for
 * each of the 1 MiB of derived forms. */
static void bounded_memory(void **state)
{
	struct buf shapes[] = { repeated("\\u0001", 170000), repeated("\\r", 500000),
		repeated("sixteen letters \\n", 50000), repeated("ab", 500000),
		repeated("x\",\"aaaaa", 100000), repeated("\\\"", 500000), { 0 } };
	struct buf *pairs = &shapes[countof(shapes) - 1];

	(void)state;
	buf_adds(pairs, "[{}");
	for (int i = 0; pairs->n < 1000000; i++) {
		buf_adds(pairs, ",{\"\":\"user\"");
		for (int j = 0; j < 40; j++)
			buf_addf(pairs, ",\"\":\"%d\"", i * 40 + j);
		buf_adds(pairs, "}");
	}
	buf_adds(pairs, "]");
	for (size_t i = 0; i < countof(shapes); i++) {
		struct scrubber *s = set_of((struct slice){ shapes[i].p, shapes[i].n });

		assert_in_range(scrubber_bytes(s), 1, 30 * (shapes[i].n + 1024 * 1024));
		scrubber_free(s);
		buf_free(&shapes[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_defined),
		cmocka_unit_test(linear),
		cmocka_unit_test(linear_in_depth),
		cmocka_unit_test(bounded_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

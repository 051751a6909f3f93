/* What is large in a payload is taken out, and what is left is small. */
#include "core/payload.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

static struct slice text_of(const struct buf *b)
{
	return (struct slice){ b->p, b->n };
}

static void assert_small(const struct payload *p, const char *expected)
{
	assert_true(slice_is(p->small, expected));
}

static void test_small(void **state)
{
	struct payload p = { 0 };

	(void)state;
	assert_true(payload_split(slice_of("{\"a\": [1], \"b\":null,\"a\":2}"), &p));
	assert_small(&p, "{\"a\":[1],\"b\":null,\"a\":2}");
	assert_null(payload_taken(&p, "logs").p);
	payload_free(&p);
}

static void test_taken(void **state)
{
	struct payload p = { 0 };

	(void)state;
	assert_true(payload_split(slice_of("{\"logs\":[1],\"l\\u006fgs\":[2,3],\"message\":\"x\","
					   "\"final_state\":{}}"),
		&p));
	assert_small(&p, "{\"logs\":{\"length\":3},\"l\\u006fgs\":{\"length\":5},\"message\":{"
			 "\"length\":3},\"final_state\":{\"length\":2,\"sha256\":\"44136fa355b3678a"
			 "1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\"}}");
	assert_true(slice_is(payload_taken(&p, "logs"), "[2,3]"));
	assert_true(slice_is(payload_taken(&p, "message"), "\"x\""));
	assert_true(slice_is(payload_taken(&p, "final_state"), "{}"));
	assert_null(payload_taken(&p, "output_dataclip").p);
	payload_free(&p);
}

/* {"NAME":"xxx…", with so many times the piece. */
static struct buf long_string(const char *name, const char *piece, size_t n)
{
	struct buf b = { 0 };

	buf_addf(&b, "{\"%s\":\"", name);
	while (n-- > 0)
		buf_adds(&b, piece);
	buf_adds(&b, "\"}");
	return b;
}

static void test_cut(void **state)
{
	const size_t limit = 64 * 1024;
	const char *pieces[] = { "x", "\xc3\xa4", "\\u00e4", "\xe2\x82\xac" };
	struct slice reason, whole;

	(void)state;
	for (size_t i = 0; i < countof(pieces); i++) {
		struct buf b = long_string("reason", pieces[i], 2 * limit), text = { 0 };
		struct payload p = { 0 };

		assert_true(payload_split(text_of(&b), &p));
		assert_int_equal(jscan_document(p.small, &whole), JSCAN_OK);
		reason = jscan_member(p.small, "reason");
		assert_true(jscan_decode(reason, &text));
		assert_in_range(text.n, limit - 3, limit);
		assert_true(utf8_valid(text.p, text.n));
		buf_free(&text);
		buf_free(&b);
		payload_free(&p);
	}
}

/* Neither a text nor known: left out; and what cannot be stored as a text. */
static void test_left_out(void **state)
{
	struct buf b = { 0 };
	struct payload p = { 0 };

	(void)state;
	buf_adds(&b, "{\"a\":[");
	for (int i = 0; i < 64 * 1024; i++)
		buf_adds(&b, "1,");
	buf_adds(&b, "1],\"b\":1}");
	assert_true(payload_split(text_of(&b), &p));
	assert_small(&p, "{\"b\":1}");
	payload_free(&p);
	buf_free(&b);
	b = long_string("a", "\\u0000", 64 * 1024);
	assert_true(payload_split(text_of(&b), &p));
	assert_small(&p, "{}");
	payload_free(&p);
	buf_free(&b);
}

static void test_too_much(void **state)
{
	struct buf b = { 0 };
	struct payload p = { 0 };

	(void)state;
	buf_adds(&b, "{\"a\":1");
	for (int i = 0; i < 100000; i++)
		buf_adds(&b, ",\"a\":1");
	buf_adds(&b, "}");
	assert_false(payload_split(text_of(&b), &p));
	payload_free(&p);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_left_out),
		cmocka_unit_test(test_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

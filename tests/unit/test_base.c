/*
 * base: buffers stay terminated, UUIDs keep their order.
 */
#include "lib/base.h"

#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static void copies(void **state)
{
	char *s = xstrndup("abcdef", 3), *t = xasprintf("%s-%d", s, 7), *u = xmemdup("a\0b", 3);

	(void)state;
	assert_string_equal(s, "abc");
	assert_string_equal(t, "abc-7");
	assert_memory_equal(u, "a\0b", 3);
	free(s);
	free(t);
	free(u);
	s = xstrndup("ab", 9);
	assert_string_equal(s, "ab");
	free(s);
	s = xmemdup(NULL, 0);
	assert_non_null(s);
	free(s);
}

static void absent_is_not_empty(void **state)
{
	const struct slice absent = { 0 }, empty = { "", 0 };

	(void)state;
	assert_false(slice_is(absent, ""));
	assert_true(slice_is(empty, ""));
	assert_false(slice_eq(absent, empty));
	assert_true(slice_eq(absent, slice_of(NULL)));
	assert_true(slice_eq(slice_of("abc"), (struct slice){ "abcd", 3 }));
	assert_false(slice_is(slice_of("abc"), "abd"));
	assert_false(slice_is(slice_of("abc"), "ab"));
}

static void a_buffer_grows_and_stays_terminated(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_add(&b, NULL, 0);
	assert_null(b.p);
	for (int i = 0; i < 1000; i++) {
		buf_addc(&b, (char)('a' + i % 26));
		assert_int_equal(b.p[b.n], '\0');
	}
	buf_adds(&b, "end");
	buf_addf(&b, "%05d", 42);
	assert_int_equal(b.n, 1008);
	assert_string_equal(b.p + 1000, "end00042");
	buf_reserve(&b, 100000);
	assert_true(b.cap > b.n + 100000);
	buf_free(&b);
	assert_null(b.p);
	assert_int_equal(b.n + b.cap, 0);
}

static void digits_become_bytes(void **state)
{
	static const struct {
		const char *digits, *bytes;
	} examples[] = {
		{ "", "" },
		{ "48656c6C6F", "Hello" },
		{ "4", "" },
		{ "414", "A" },
		{ "41 42", "A" },
		{ "41g2", "A" },
		{ "410x", "A" },
		{ "41/:@G`g", "A" },
	};
	struct buf b = { 0 }, large = { 0 };

	(void)state;
	for (size_t i = 0; i < countof(examples); i++) {
		b.n = 0;
		buf_add_hex(&b, slice_of(examples[i].digits));
		assert_true(slice_is((struct slice){ b.n > 0 ? b.p : "", b.n }, examples[i].bytes));
	}
	/* Quadratic work would take minutes. */
	for (int i = 0; i < 4000000; i++)
		buf_adds(&large, "6a");
	b.n = 0;
	buf_add_hex(&b, (struct slice){ large.p, large.n });
	assert_int_equal(b.n, 4000000);
	buf_free(&b);
	buf_free(&large);
}

static void text_becomes_a_json_string(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_add_json(&b, (struct slice){ "a\"b\\c\nd\0\x1f\xc3\xa9/", 12 });
	assert_string_equal(b.p, "\"a\\\"b\\\\c\\nd\\u0000\\u001f\xc3\xa9/\"");
	b.n = 0;
	buf_add_json(&b, (struct slice){ 0 });
	assert_string_equal(b.p, "\"\"");
	buf_free(&b);
}

static void uuids_are_read_and_written(void **state)
{
	const char *text = "0189d3f5-7a6b-7c8d-9eaf-0123456789ab";
	static const char *const bad[] = {
		"",
		"0189d3f5-7a6b-7c8d-9eaf-0123456789a",
		"0189d3f5-7a6b-7c8d-9eaf-0123456789abc",
		"0189d3f57-a6b-7c8d-9eaf-0123456789ab",
		"0189d3f5-7a6b-7c8d-9eaf-0123456789ag",
		"0189d3f5-7a6b-7c8d-9eaf+0123456789ab",
		"{189d3f5-7a6b-7c8d-9eaf-0123456789a}",
		"0189d3f5-7a6b-7c8d-9eaf-0123456789\x01\x02",
	};
	struct uuid u, v;
	char out[UUID_TEXT];

	(void)state;
	assert_true(uuid_parse(slice_of(text), &u));
	assert_string_equal(uuid_format(&u, out), text);
	assert_true(uuid_parse(slice_of("0189D3F5-7A6B-7C8D-9EAF-0123456789AB"), &v));
	assert_true(uuid_eq(&u, &v));
	for (size_t i = 0; i < countof(bad); i++)
		assert_false(uuid_parse(slice_of(bad[i]), &v));
	assert_false(uuid_parse((struct slice){ 0 }, &v));
	assert_true(uuid_eq(&u, &v));
}

static void new_uuids_are_ordered(void **state)
{
	struct uuid last = uuid_new();
	uint64_t ms = 0;

	(void)state;
	for (size_t i = 0; i < 6; i++)
		ms = ms << 8 | last.b[i];
	assert_true(llabs((long long)ms - now_us() / 1000) < 10000);
	for (int i = 0; i < 10000; i++) {
		struct uuid u = uuid_new();

		assert_true(memcmp(last.b, u.b, sizeof(u.b)) < 0);
		assert_int_equal(u.b[6] >> 4, 7);
		assert_int_equal(u.b[8] >> 6, 2);
		last = u;
	}
}

static void clocks_go(void **state)
{
	int64_t wall = now_us(), mono = mono_ms();

	(void)state;
	usleep(5000);
	assert_in_range(now_us() - wall, 4000, 10000000);
	assert_in_range(mono_ms() - mono, 4, 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies),
		cmocka_unit_test(absent_is_not_empty),
		cmocka_unit_test(a_buffer_grows_and_stays_terminated),
		cmocka_unit_test(digits_become_bytes),
		cmocka_unit_test(text_becomes_a_json_string),
		cmocka_unit_test(uuids_are_read_and_written),
		cmocka_unit_test(new_uuids_are_ordered),
		cmocka_unit_test(clocks_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

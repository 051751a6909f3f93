/*
 * slice: what is JSON and what is not, walking, looking up, decoding.
 */
#include "lib/jscan.h"

#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* Validates a copy of exactly n bytes, so that the sanitizers see any byte read beyond. */
static enum jscan_error check(const char *text, size_t n)
{
	char *copy = xmemdup(text, n);
	struct slice value;
	enum jscan_error error = jscan_document((struct slice){ copy, n }, &value);

	free(copy);
	return error;
}

static struct slice parsed(const char *text)
{
	struct slice value = { 0 };

	assert_int_equal(jscan_document(slice_of(text), &value), JSCAN_OK);
	return value;
}

static void good_documents(void **state)
{
	static const char *const good[] = {
		"null",
		"true",
		"false",
		"0",
		"-0",
		"-12.5e+3",
		"1E9",
		"0.001",
		"\"\"",
		"[]",
		"{}",
		" \t\r\n[ ] ",
		"[1,2,[3,{}]]",
		"{\"a\":1,\"a\":{\"b\":[]}}",
		"{ \"a\" : [ 1 , 2 ] }",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD834\\udd1e\"",
		"\"\\u0000\"",
		"\"\\ud800\"",
		"\"\x7f\xc3\xa9\xe2\x82\xac\xed\x9f\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
		"123456789012345678901234567890",
		"1e999",
		"[{},[],\"\"]",
	};

	(void)state;
	for (size_t i = 0; i < countof(good); i++)
		if (check(good[i], strlen(good[i])) != JSCAN_OK)
			fail_msg("refused: %s", good[i]);
}

static void bad_documents(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"nul",
		"nulll",
		"True",
		"01",
		"-",
		"+1",
		".5",
		"1.",
		"1e",
		"1e+",
		"0x10",
		"NaN",
		"Infinity",
		"'a'",
		"\"",
		"\"a",
		"\"\\",
		"\"\\\"",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\u12g4\"",
		"\"\\u123",
		"\"\t\"",
		"\"\n\"",
		"[",
		"]",
		"[1",
		"[1,",
		"[1,]",
		"[,1]",
		"[1 2]",
		"[1}",
		"{]",
		"{",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":1",
		"{\"a\":1,",
		"{\"a\":1,}",
		"{\"a\" 1}",
		"{a:1}",
		"{1:1}",
		"{\"a\":1 \"b\":2}",
		"{:1}",
		"{,}",
		"{\"a\",1}",
		"1 2",
		"[] []",
		"{}x",
		"[1]]",
		"\xef\xbb\xbf[]",
		"\xc3\xa9",
		"[1,\v2]",
		"/**/1",
		"[\"a\":1]",
	};

	(void)state;
	for (size_t i = 0; i < countof(bad); i++)
		if (check(bad[i], strlen(bad[i])) != JSCAN_BAD_SYNTAX)
			fail_msg("not a syntax error: %s", bad[i]);
	assert_int_equal(check("\"a\0b\"", 5), JSCAN_BAD_SYNTAX);
	assert_int_equal(check("1\0", 2), JSCAN_BAD_SYNTAX);
	assert_int_equal(
		jscan_document((struct slice){ 0 }, &(struct slice){ 0 }), JSCAN_BAD_SYNTAX);
}

static void bad_utf8(void **state)
{
	static const char *const bad[] = {
		"\x80",
		"\xbf",
		"\xc0\xaf",
		"\xc1\xbf",
		"\xc3",
		"\xc3z",
		"\xe0\x9f\xbf",
		"\xe2\x82",
		"\xe2z\xac",
		"\xed\xa0\x80",
		"\xed\xbf\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xf0\x90\x80",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xff",
		"\xfe",
	};

	(void)state;
	for (size_t i = 0; i < countof(bad); i++) {
		char *text = xasprintf("[\"a\",\"%s\"]", bad[i]);

		if (check(text, strlen(text)) != JSCAN_BAD_UTF8 ||
			utf8_valid(bad[i], strlen(bad[i])))
			fail_msg("case %zu passed", i);
		free(text);
	}
	assert_true(utf8_valid("a\0\xc3\xa9\xf0\x9f\x98\x80", 8));
	assert_false(utf8_valid("\xf0\x9f\x98\x80", 3));
	assert_true(utf8_valid(NULL, 0));
}

static void nesting_is_bounded(void **state)
{
	const size_t most = JSCAN_MAX_DEPTH, size = 2 * most + 3;
	char *text = xmalloc(size);

	(void)state;
	memset(text, '[', most);
	memset(text + most, ']', most);
	assert_int_equal(check(text, 2 * most), JSCAN_OK);
	memset(text, '[', most + 1);
	memset(text + most + 1, ']', most + 1);
	assert_int_equal(check(text, 2 * most + 2), JSCAN_TOO_DEEP);
	text[most] = '1';
	assert_int_equal(check(text, 2 * most + 1), JSCAN_OK);
	free(text);
}

static void a_value_ends_where_it_ends(void **state)
{
	const char *text = " {\"a\":[1]} , 2", *p = text;
	struct slice value = { 0 };

	(void)state;
	assert_int_equal(jscan_value(&p, text + strlen(text), &value), JSCAN_OK);
	assert_true(slice_is(value, "{\"a\":[1]}"));
	assert_string_equal(p, " , 2");
	assert_int_equal(jscan_value(&p, text + strlen(text), &value), JSCAN_BAD_SYNTAX);
	assert_string_equal(p, " , 2");
	assert_true(slice_is(value, "{\"a\":[1]}"));
}

static void types(void **state)
{
	(void)state;
	assert_int_equal(jscan_type(slice_of("null")), JSCAN_NULL);
	assert_int_equal(jscan_type(slice_of("false")), JSCAN_FALSE);
	assert_int_equal(jscan_type(slice_of("true")), JSCAN_TRUE);
	assert_int_equal(jscan_type(slice_of("-1")), JSCAN_NUMBER);
	assert_int_equal(jscan_type(slice_of("\"\"")), JSCAN_STRING);
	assert_int_equal(jscan_type(slice_of("[]")), JSCAN_ARRAY);
	assert_int_equal(jscan_type(slice_of("{}")), JSCAN_OBJECT);
	assert_int_equal(jscan_type((struct slice){ 0 }), JSCAN_ABSENT);
}

/* Writes what jscan_next finds as "key=value;". */
static char *walk(struct slice container)
{
	struct buf b = { 0 };
	struct slice key, value;

	buf_adds(&b, ":");
	while (jscan_next(&container, &key, &value))
		buf_addf(&b, "%.*s=%.*s;", (int)key.n, key.p, (int)value.n, value.p);
	return b.p;
}

static void walking(void **state)
{
	static const char *const cases[][2] = {
		{ "[]", ":" },
		{ "{ }", ":" },
		{ "[ 1 ]", ":=1;" },
		{ "[1,[2,3],{\"a\":[]},\"]\"]", ":=1;=[2,3];={\"a\":[]};=\"]\";" },
		{ "{\"a\":1}", ":\"a\"=1;" },
		{ " { \"a\" : {} , \"b}\" : \"\\\"\" } ", ":\"a\"={};\"b}\"=\"\\\"\";" },
		{ "12", ":" },
		{ "\"a\"", ":" },
	};

	(void)state;
	for (size_t i = 0; i < countof(cases); i++) {
		char *found = walk(parsed(cases[i][0]));

		assert_string_equal(found, cases[i][1]);
		free(found);
	}
}

static void members_are_found(void **state)
{
	struct slice o = parsed("{\"a\":1,\"b\":{\"c\":\"x\"},\"\\u0061\":2,\"\":3,\"a\\u0000\":4,"
				"\"\\ud83d\\ude00\":5,\"aa\":6}");

	(void)state;
	assert_true(slice_is(jscan_member(o, "a"), "2"));
	assert_true(slice_is(jscan_member(jscan_member(o, "b"), "c"), "\"x\""));
	assert_true(slice_is(jscan_member(o, ""), "3"));
	assert_true(slice_is(jscan_member(o, "\xf0\x9f\x98\x80"), "5"));
	assert_null(jscan_member(o, "A").p);
	assert_null(jscan_member(jscan_member(o, "none"), "c").p);
	assert_null(jscan_member(parsed("[\"a\",1]"), "a").p);
	assert_false(jscan_equals(slice_of("\"\\u0061\\u0061\\u0061\""), "a"));
}

static void strings_are_decoded(void **state)
{
	static const char *const bad[] = {
		"\"a\\u0000\"",
		"\"\\ud800\"",
		"\"\\udc00\\ud800\"",
		"\"\\ud800\\u0041\"",
		"\"\\ud800\\n0000\"",
		"\"\\ud800\\ud800\\udc00\"",
		"\"\\udbff\\ue000x\"",
		"\"\\ud83d\xf0\x9f\x98\x80\"",
	};
	struct buf b = { 0 };

	(void)state;
	assert_true(jscan_decode(slice_of("\"\""), &b));
	assert_int_equal(b.n, 0);
	buf_adds(&b, "<");
	assert_true(jscan_decode(slice_of("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\""), &b));
	assert_string_equal(b.p, "<a\"\\/\b\f\n\r\tz");
	b.n = 1;
	assert_true(jscan_decode(slice_of("\"\\u0001\\u007f\\u0080\\u07FF\\u0800\\uffff\\uD800\\uDC"
					  "00\\udbff\\udfff\""),
		&b));
	assert_string_equal(b.p, "<\x01\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"
				 "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
	assert_true(utf8_valid(b.p, b.n));
	b.n = 1;
	for (size_t i = 0; i < countof(bad); i++) {
		assert_int_equal(check(bad[i], strlen(bad[i])), JSCAN_OK);
		assert_false(jscan_decode(slice_of(bad[i]), &b));
		assert_string_equal(b.p, "<");
		assert_int_equal(b.n, 1);
	}
	buf_free(&b);
}

static void decoding_undoes_encoding(void **state)
{
	struct buf text = { 0 }, json = { 0 }, back = { 0 };

	(void)state;
	for (int c = 1; c < 0x80; c++)
		buf_addc(&text, (char)c);
	buf_adds(&text, "\xc3\xa9\xf0\x9f\x98\x80");
	buf_add_json(&json, (struct slice){ text.p, text.n });
	assert_int_equal(check(json.p, json.n), JSCAN_OK);
	assert_true(jscan_decode((struct slice){ json.p, json.n }, &back));
	assert_string_equal(back.p, text.p);
	buf_free(&text);
	buf_free(&json);
	buf_free(&back);
}

static void integers(void **state)
{
	static const char *const bad[] = {
		"9223372036854775808",
		"-9223372036854775809",
		"99999999999999999999",
		"1.0",
		"1e3",
		"\"1\"",
		"null",
		"[1]",
	};
	int64_t n = 77;

	(void)state;
	for (size_t i = 0; i < countof(bad); i++)
		assert_false(jscan_int(slice_of(bad[i]), &n));
	assert_false(jscan_int((struct slice){ 0 }, &n));
	assert_int_equal(n, 77);
	assert_true(jscan_int(slice_of("-0"), &n) && n == 0);
	assert_true(jscan_int(slice_of("120"), &n) && n == 120);
	assert_true(jscan_int(slice_of("9223372036854775807"), &n) && n == INT64_MAX);
	assert_true(jscan_int(slice_of("-9223372036854775808"), &n) && n == INT64_MIN);
}

/* All brackets and scalars, in one walk. */
static void one_walk(void **state)
{
	static const struct {
		const char *json, *tokens;
	} examples[] = {
		{ "7", "7 " },
		{ "\"a\"", "\"a\" " },
		{ " [ ] ", "[ ] " },
		{ "{\"a\" :\n\"b:\" , \"c\":{\"d\":[1,-2.5e1,true]},\"\":null}",
			"{ \"b:\" { [ 1 -2.5e1 true ] } null } " },
		{ "[\"\\\":\",\"x\" ]", "[ \"\\\":\" \"x\" ] " },
	};

	(void)state;
	for (size_t i = 0; i < countof(examples); i++) {
		struct slice rest, token;
		struct buf all = { 0 };

		assert_int_equal(jscan_document(slice_of(examples[i].json), &rest), JSCAN_OK);
		while (jscan_step(&rest, &token)) {
			buf_add(&all, token.p, token.n);
			buf_addc(&all, ' ');
		}
		assert_string_equal(all.p, examples[i].tokens);
		buf_free(&all);
	}
	assert_false(jscan_step(&(struct slice){ 0 }, &(struct slice){ 0 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_documents),
		cmocka_unit_test(bad_documents),
		cmocka_unit_test(bad_utf8),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(a_value_ends_where_it_ends),
		cmocka_unit_test(types),
		cmocka_unit_test(walking),
		cmocka_unit_test(members_are_found),
		cmocka_unit_test(strings_are_decoded),
		cmocka_unit_test(decoding_undoes_encoding),
		cmocka_unit_test(integers),
		cmocka_unit_test(one_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

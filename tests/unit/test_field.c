/*
 * field: payloads become values, or a refusal that is already the answer.
 */
#include "core/field.h"

#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

enum { RECEIVED = 1700000000 };

static struct value values[8];
static struct error_reply why;
static const struct scrubber *secrets;

static bool parse(const struct field *fields, int n, const char *payload)
{
	struct slice document;

	for (size_t i = 0; i < countof(values); i++)
		value_clear(&values[i]);
	why = (struct error_reply){ 0 };
	assert_int_equal(jscan_document(slice_of(payload), &document), JSCAN_OK);
	return field_parse(fields, n, document, secrets, RECEIVED, values, &why);
}

static void expect_text(const struct value *v, const char *text)
{
	assert_true(slice_is((struct slice){ v->p, (size_t)v->n }, text));
}

static void expect_refused(const char *field, const char *message, const char *code)
{
	assert_string_equal(why.field, field);
	assert_string_equal(why.message, message);
	assert_string_equal(why.code, code);
}

static void a_time(void **state)
{
	static const struct {
		const char *raw;
		int64_t us; /* 0: it is none */
	} cases[] = {
		{ "\"1795485247440566\"", 1795485247440566 },
		{ "1795485247440566", 1795485247440566 },
		{ "\"1795485247440\"", 1795485247440000 },
		{ "99999999999999", 99999999999999000 },
		{ "100000000000000", 100000000000000 },
		{ "253402300799000000", 253402300799000000 },
		{ "253402300799000001", 0 },
		{ "0", 0 },
		{ "-1", 0 },
		{ "1.5", 0 },
		{ "1e15", 0 },
		{ "\"\"", 0 },
		{ "\"x\"", 0 },
		{ "\"1795485247440566 \"", 0 },
		{ "\"99999999999999999999\"", 0 },
		{ "null", 0 },
		{ "true", 0 },
		{ "[1795485247440566]", 0 },
	};

	(void)state;
	for (size_t i = 0; i < countof(cases); i++) {
		int64_t us = 0;
		bool is = field_time(slice_of(cases[i].raw), &us);

		if (is != (cases[i].us != 0) || us != cases[i].us)
			fail_msg("%s is %lld", cases[i].raw, (long long)us);
	}
}

static void a_uuid(void **state)
{
	struct uuid u;

	(void)state;
	assert_true(field_uuid(slice_of("\"01a20c4a-a703-7377-bc65-4d503956abe0\""), &u));
	assert_false(field_uuid(slice_of("\"01a20c4a-a703-7377-bc65-4d503956abe\""), &u));
	assert_false(field_uuid(slice_of("\"01a20c4aa7037377bc654d503956abe0\""), &u));
	assert_false(field_uuid(slice_of("7"), &u));
	assert_false(field_uuid((struct slice){ 0 }, &u));
}

static void a_text(void **state)
{
	struct value v = { 0 };

	(void)state;
	assert_true(field_text(slice_of("\"plain\""), &v));
	expect_text(&v, "plain");
	assert_null(v.owned);
	assert_true(field_text(slice_of("\"a\\u00e9\\n\""), &v));
	expect_text(&v, "a\xc3\xa9\n");
	assert_false(field_text(slice_of("\"\\u0000\""), &v));
	assert_false(field_text(slice_of("\"\\ud800\""), &v));
	assert_false(field_text(slice_of("7"), &v));
	expect_text(&v, "a\xc3\xa9\n"); /* left alone */
	value_clear(&v);
}

static const struct field fields[] = {
	{ "id", FIELD_UUID, .given = true },
	{ "name", FIELD_TEXT, .missing = "blank", .bad = "bad", .code = "invalid", .as = "label" },
	{ "at", FIELD_TIME, .given = true },
	{ "raw", FIELD_RAW, .limit = 8 },
};
enum { ID, ID_GIVEN, NAME, AT, AT_GIVEN, RAW };

static void what_is_there_and_what_is_not(void **state)
{
	struct value received = { 0 };

	(void)state;
	value_time(&received, RECEIVED);
	assert_true(parse(fields, countof(fields), "{\"name\":\"n\"}"));
	assert_null(values[ID].p);
	assert_int_equal(values[ID_GIVEN].p[0], 0);
	expect_text(&values[NAME], "n");
	assert_memory_equal(values[AT].p, received.p, 8);
	assert_int_equal(values[AT_GIVEN].p[0], 0);
	assert_null(values[RAW].p);

	assert_true(parse(fields, countof(fields),
		"{\"id\":\"01a20c4a-a703-7377-bc65-4d503956abe0\",\"name\":\"n\",\"at\":"
		"1795485247440,"
		"\"raw\":[1, 2],\"more\":{}}"));
	assert_int_equal(values[ID].n, 16);
	assert_int_equal(values[ID_GIVEN].p[0], 1);
	assert_memory_not_equal(values[AT].p, received.p, 8);
	assert_int_equal(values[AT_GIVEN].p[0], 1);
	expect_text(&values[RAW], "[1, 2]");
}

static void what_is_malformed(void **state)
{
	(void)state;
	/* Given, but nothing that could be stored. */
	assert_true(parse(fields, countof(fields), "{\"id\":7,\"name\":\"n\",\"at\":\"soon\"}"));
	assert_null(values[ID].p);
	assert_int_equal(values[ID_GIVEN].p[0], 1);
	assert_int_equal(values[AT_GIVEN].p[0], 0);
	/* Too long to be kept as it is. */
	assert_true(parse(fields, countof(fields), "{\"name\":\"n\",\"raw\":\"123456789\"}"));
	assert_null(values[RAW].p);
	/* null is missing; of keys that repeat the last one counts, however it is escaped. */
	assert_true(
		parse(fields, countof(fields), "{\"id\":null,\"name\":7,\"n\\u0061me\":\"n\"}"));
	assert_int_equal(values[ID_GIVEN].p[0], 0);
	expect_text(&values[NAME], "n");
}

static void refusals(void **state)
{
	(void)state;
	assert_false(parse(fields, countof(fields), "{}"));
	expect_refused("label", "blank", "invalid");
	assert_false(parse(fields, countof(fields), "{\"name\":null}"));
	expect_refused("label", "blank", "invalid");
	assert_false(parse(fields, countof(fields), "{\"name\":\"\"}"));
	expect_refused("label", "blank", "invalid");
	assert_false(parse(fields, countof(fields), "{\"name\":7}"));
	expect_refused("label", "bad", "invalid");
	assert_false(parse(fields, countof(fields), "{\"name\":\"\\u0000\"}"));
	expect_refused("label", "bad", "invalid");
}

static void an_id_that_nobody_has(void **state)
{
	static const struct field field = { "id", FIELD_UUID, .missing = "blank", .unknown = true };

	(void)state;
	assert_true(parse(&field, 1, "{\"id\":\"job1\"}"));
	assert_int_equal(values[0].n, 16);
	assert_false(parse(&field, 1, "{\"id\":null}"));
	expect_refused("id", "blank", "invalid");
}

static void long_texts_are_cut_between_characters(void **state)
{
	static const struct field field = { "t", FIELD_TEXT, .limit = 4 };
	char payload[600];

	(void)state;
	assert_true(parse(&field, 1, "{\"t\":\"abcd\"}"));
	expect_text(&values[0], "abcd");
	assert_true(parse(&field, 1, "{\"t\":\"abc\xc3\xa9\"}"));
	expect_text(&values[0], "abc");
	assert_true(parse(&field, 1, "{\"t\":\"\\n\xf0\x9f\x98\x80\"}"));
	expect_text(&values[0], "\n");
	snprintf(payload, sizeof(payload), "{\"t\":\"%0500d\"}", 0);
	assert_true(parse(&(struct field){ "t", FIELD_TEXT }, 1, payload));
	assert_int_equal(values[0].n, 255);
}

static int clear(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(values); i++)
		value_clear(&values[i]);
	return 0;
}

/* A secret that the cut would go through must not leave its beginning. */
static void secrets_are_replaced_before_the_cut(void **state)
{
	static const struct field texts[] = {
		{ "message", FIELD_TEXT, .limit = 16, .scrub = true },
		{ "name", FIELD_TEXT },
	};
	struct scrubber *set = scrubber_new(NULL);

	(void)state;
	assert_true(scrubber_add(set, slice_of("[\"hunter22\"]")));
	scrubber_build(set);
	secrets = set;
	assert_true(parse(texts, 2, "{\"message\":\"it is hunter22\",\"name\":\"hunter22\"}"));
	expect_text(&values[0], "it is ***");
	expect_text(&values[1], "hunter22");
	assert_true(parse(texts, 2, "{\"message\":\"the word: hunter22\"}"));
	expect_text(&values[0], "the word: ***");
	secrets = NULL;
	scrubber_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_time),
		cmocka_unit_test(a_uuid),
		cmocka_unit_test(a_text),
		cmocka_unit_test(what_is_there_and_what_is_not),
		cmocka_unit_test(what_is_malformed),
		cmocka_unit_test(refusals),
		cmocka_unit_test(an_id_that_nobody_has),
		cmocka_unit_test(long_texts_are_cut_between_characters),
		cmocka_unit_test(secrets_are_replaced_before_the_cut),
	};

	return cmocka_run_group_tests_name("field", tests, NULL, clear);
}

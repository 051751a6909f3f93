/*
 * phx: frames taken apart and put together, the recorded ones among them (TEST_DATA names the
 * folder of the recordings).
 */
#include "ws/phx.h"

#include "lib/jscan.h"

#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* Parses a copy of the text, which the caller frees; exactly n bytes, for the sanitizers. */
static char *parse_n(const char *text, size_t n, struct phx_frame *f, enum phx_error expected)
{
	char *copy = xmemdup(text, n);

	if (phx_parse_text(copy, n, f) != expected)
		fail_msg("not %d: %s", expected, text);
	return copy;
}

static char *parse(const char *text, struct phx_frame *f, enum phx_error expected)
{
	return parse_n(text, strlen(text), f, expected);
}

static void a_frame(void **state)
{
	struct phx_frame f;
	char *copy = parse(
		" [ \"3\" ,null,\"run:\\u0031\" , \"a\\/b\",\n{\"x\": [1, \"]\"]} ]\n", &f, PHX_OK);

	(void)state;
	assert_true(slice_is(f.join_ref, "\"3\""));
	assert_true(slice_is(f.ref, "null"));
	assert_true(slice_is(f.topic, "run:1"));
	assert_true(slice_is(f.event, "a/b"));
	assert_true(slice_is(f.payload, "{\"x\": [1, \"]\"]}"));
	assert_false(f.binary || f.cut || f.deep);
	free(copy);
}

static void not_json(void **state)
{
	static const char *const bad[] = {
		"",
		"hello",
		"[\"1\",\"2\",\"t\",\"e\",{}",
		"[\"1\",\"2\",\"t\",\"e\",{}]]",
		"[\"1\",\"2\",\"t\",\"e\",{},]",
		"[1,2,",
		"[\"1\",\"2\",\"t\",\"e\",{\"a\"}]",
		"[\"1\",\"2\",\"\xff\",\"e\",{}]",
		"[\"1\",\"2\",\"t\",\"e\",\"\xed\xa0\x80\"]",
		"[1,2,3,4,\"\xc3\"]",
		"[\"1\" \"2\",\"t\",\"e\",{}]",
	};
	static const char nul_behind[] = "[\"1\",\"2\",\"t\",\"e\",{}]";
	struct phx_frame f;

	(void)state;
	for (size_t i = 0; i < countof(bad); i++)
		free(parse(bad[i], &f, PHX_NOT_JSON));
	free(parse_n(nul_behind, sizeof(nul_behind), &f, PHX_NOT_JSON));
}

static void not_a_frame(void **state)
{
	static const char *const bad[] = {
		"{}",
		"1",
		"[]",
		"[null,\"1\",\"t\",\"e\"]",
		"[null,\"1\",\"t\",\"e\",{},1]",
		"[1,\"1\",\"t\",\"e\",{}]",
		"[null,2,\"t\",\"e\",{}]",
		"[null,[],\"t\",\"e\",{}]",
		"[null,\"1\",null,\"e\",{}]",
		"[null,\"1\",\"t\",4,{}]",
		"[null,\"1\",{},\"e\",{}]",
		"[null,\"1\",\"a\\u0000\",\"e\",{}]",
		"[null,\"1\",\"t\",\"\\udead\",{}]",
		"[true,\"1\",\"t\",\"e\",{}]",
	};
	struct phx_frame f;

	(void)state;
	for (size_t i = 0; i < countof(bad); i++)
		free(parse(bad[i], &f, PHX_NOT_FRAME));
}

/* The same frame with one field of n times the unit. */
static char *frame_with(size_t field, const char *unit, size_t n)
{
	struct buf b = { 0 };

	for (size_t i = 0; i < 4; i++) {
		buf_adds(&b, i == 0 ? "[\"" : "\",\"");
		for (size_t j = 0; i == field && j < n; j++)
			buf_adds(&b, unit);
	}
	buf_adds(&b, "\",{}]");
	return b.p;
}

static void fields_are_bounded(void **state)
{
	static const char *const units[] = { "x", "\\u0041", "\\n" };
	struct phx_frame f;

	(void)state;
	for (size_t field = 0; field < 4; field++) {
		for (size_t i = 0; i < countof(units); i++) {
			char *fits = frame_with(field, units[i], PHX_MAX_FIELD);
			char *long_one = frame_with(field, units[i], PHX_MAX_FIELD + 1);

			free(parse(fits, &f, PHX_OK));
			free(parse(long_one, &f, PHX_NOT_FRAME));
			free(fits);
			free(long_one);
		}
	}
}

static void a_deep_payload_is_left_out(void **state)
{
	struct buf b = { 0 };
	struct phx_frame f;
	char *copy;

	(void)state;
	buf_adds(&b, "[\"1\",\"2\",\"t\",\"e\",");
	for (int i = 0; i <= JSCAN_MAX_DEPTH; i++)
		buf_addc(&b, '[');
	for (int i = 0; i <= JSCAN_MAX_DEPTH; i++)
		buf_addc(&b, ']');
	buf_adds(&b, "]");
	copy = parse(b.p, &f, PHX_OK);
	assert_true(f.deep);
	assert_null(f.payload.p);
	assert_true(slice_is(f.ref, "\"2\""));
	assert_true(slice_is(f.event, "e"));
	free(copy);
	b.p[1] = b.p[2] = b.p[3] = '1';
	free(parse(b.p, &f, PHX_NOT_FRAME));
	buf_free(&b);
}

static void the_head_of_a_cut_frame(void **state)
{
	char text[] = "[\"1\",\"2\",\"t\",\"run\\u003acomplete\",{\"final_state\":\"\xc3";
	struct phx_frame f;

	(void)state;
	assert_int_equal(phx_parse_truncated(text, strlen(text), &f), PHX_OK);
	assert_true(f.cut);
	assert_true(slice_is(f.payload, "{}"));
	assert_true(slice_is(f.join_ref, "\"1\""));
	assert_true(slice_is(f.event, "run:complete"));
	for (size_t n = 0; n < 12; n++)
		assert_int_equal(phx_parse_truncated(text, n, &f), PHX_NOT_FRAME);
}

/* What is left of a payload of which these are the ends; a '#' stands for the gap. */
static void the_ends_of_a_payload(void **state)
{
	static const struct {
		const char *ends, *payload;
	} cases[] = {
		{ "{\"a\":1,\"b\":[2],\"c\":\"x#y\",\"d\":\"4\"}]",
			"{\"a\":1,\"b\":[2],\"d\":\"4\"}" },
		{ " { \"a\" : 1 , \"c\":\"x#y\" , \"d\" : null } ] ",
			"{ \"a\" : 1 ,\"d\" : null }" },
		{ "{\"c\":{\"x#y\":\"z\"},\"d\":\"4\",\"e\":-1.5E+3}]",
			"{\"d\":\"4\",\"e\":-1.5E+3}" },
		/* Never across the gap, and never what is not whole. */
		{ "{\"a\":12#34,\"b\":5}]", "{\"b\":5}" },
		{ "{\"a\":12#34}]", "{}" },
		{ "{\"a\":\"1\"#2\"}]", "{}" },
		{ "{\"a\":\"x#\",\"b\":\"y\"}]", "{\"b\":\"y\"}" },
		{ "{\"a\":\"x#b\":\"y\"}]", "{}" },
		{ "{\"a\":\"x#\\\",\\\"b\\\":\\\"y\"}]", "{}" },
		{ "{\"a\":\"x#\\\\\",\"b\":\"\\\"y\\\\\"}]", "{\"b\":\"\\\"y\\\\\"}" },
		{ "{\"a\":1,\"b\":\"x#y\",\"c\":[1],\"d\":{\"e\":1}}]", "{\"a\":1}" },
		{ "{\"a\":1,\"b\":\"x#", "{\"a\":1}" },
		{ "{\"a\":1,\"b\":\"x#]", "{\"a\":1}" },
		{ "{\"a\":1,\"b\":\"x#y\",\"c\":nul,\"d\":1}]", NULL },
		{ "{\"a\":1,\"b\":\"x#y\",\"c\":\"\1\"}]", NULL },
		{ "[1,\"x#y\",{\"a\":1}]", NULL },
		{ "#", NULL },
	};

	(void)state;
	for (size_t i = 0; i < countof(cases); i++) {
		char *text = xasprintf("[\"1\",\"2\",\"t\",\"e\",%s", cases[i].ends);
		size_t n = strlen(text);
		struct phx_frame f;

		*strchr(text, '#') = '\0';
		assert_int_equal(phx_parse_truncated(text, n, &f), PHX_OK);
		assert_true(f.cut);
		if (cases[i].payload == NULL)
			assert_null(f.payload.p);
		else if (!slice_is(f.payload, cases[i].payload))
			fail_msg("%s: %.*s", cases[i].ends, (int)f.payload.n, f.payload.p);
		free(text);
	}
}

static void recorded_frames(void **state)
{
	const char *folder = getenv("TEST_DATA");
	char *path =
		xasprintf("%s/worker-frames.jsonl", folder != NULL ? folder : "tests/client/data");
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t cap = 0, frames = 0;
	ssize_t n;

	(void)state;
	if (file == NULL)
		fail_msg("cannot open %s", path);
	while ((n = getline(&line, &cap, file)) > 0) {
		struct buf b = { 0 };
		struct phx_frame f;
		char *event;
		char *copy = parse_n(line, (size_t)n, &f, PHX_OK);

		assert_int_equal(jscan_type(f.payload), JSCAN_OBJECT);
		event = xstrndup(f.event.p, f.event.n);
		phx_push(&b, f.join_ref, f.ref, f.topic, event, f.payload);
		buf_addc(&b, '\n');
		assert_string_equal(b.p, line);
		buf_free(&b);
		free(event);
		free(copy);
		frames++;
	}
	assert_int_equal(frames, 45);
	free(line);
	free(path);
	fclose(file);
}

static void replies_and_pushes(void **state)
{
	const struct slice absent = { 0 }, two = slice_of("\"2\"");
	struct buf b = { 0 };

	(void)state;
	phx_reply(&b, slice_of("\"1\""), two, slice_of("a\"\n"), true, slice_of("{\"x\":[]}"));
	assert_string_equal(b.p, "[\"1\",\"2\",\"a\\\"\\n\",\"phx_reply\","
				 "{\"status\":\"ok\",\"response\":{\"x\":[]}}]");
	b.n = 0;
	phx_reply(&b, slice_of("null"), two, slice_of("phoenix"), false, slice_of("{}"));
	assert_string_equal(b.p,
		"[null,\"2\",\"phoenix\",\"phx_reply\",{\"status\":\"error\",\"response\":{}}]");
	b.n = 0;
	phx_push(&b, two, absent, slice_of("worker:queue"), "work-available", slice_of("{}"));
	assert_string_equal(b.p, "[\"2\",null,\"worker:queue\",\"work-available\",{}]");
	buf_free(&b);
}

static void binary_pushes(void **state)
{
	static const char push[] = "\0\1\2\3\4"
				   "1"
				   "2\n"
				   "t\xc3\xa9"
				   "save"
				   "\0\xff{}";
	char scratch[2 * (6 * PHX_MAX_FIELD + 2)];
	const size_t n = sizeof(push) - 1, names = 5 + 1 + 2 + 3 + 4;
	struct phx_frame f;

	(void)state;
	assert_int_equal(phx_parse_binary(push, n, scratch, &f), PHX_OK);
	assert_true(slice_is(f.join_ref, "\"1\""));
	assert_true(slice_is(f.ref, "\"2\\n\""));
	assert_true(slice_is(f.topic, "t\xc3\xa9"));
	assert_true(slice_is(f.event, "save"));
	assert_true(slice_eq(f.payload, (struct slice){ push + names, 4 }));
	assert_true(f.binary && !f.cut && !f.deep);
	for (size_t i = 0; i < n; i++) {
		char *part = xmemdup(push, i);

		assert_int_equal(
			phx_parse_binary(part, i, scratch, &f), i < names ? PHX_NOT_FRAME : PHX_OK);
		free(part);
	}
	assert_int_equal(phx_parse_binary("\0\0\0\0\0", 5, scratch, &f), PHX_OK);
	assert_true(slice_is(f.join_ref, "null") && slice_is(f.ref, "null"));
	assert_true(f.topic.n == 0 && f.payload.n == 0);
	assert_int_equal(phx_parse_binary("\1\0\0\0\0", 5, scratch, &f), PHX_NOT_FRAME);
	assert_int_equal(phx_parse_binary("\0\0\1\0\0\xff", 6, scratch, &f), PHX_NOT_JSON);
	assert_int_equal(phx_parse_binary("\0\0\0\1\0\0", 6, scratch, &f), PHX_NOT_FRAME);
}

static void the_longest_binary_refs_fit_in_scratch(void **state)
{
	char *scratch = xmalloc(2 * (6 * PHX_MAX_FIELD + 2)), push[5 + 2 * PHX_MAX_FIELD] = { 0 };
	struct phx_frame f;

	(void)state;
	memset(push + 1, PHX_MAX_FIELD, 2);
	memset(push + 5, '\1', 2 * PHX_MAX_FIELD);
	assert_int_equal(phx_parse_binary(push, sizeof(push), scratch, &f), PHX_OK);
	assert_int_equal(f.join_ref.n, 6 * PHX_MAX_FIELD + 2);
	assert_int_equal(f.ref.n, 6 * PHX_MAX_FIELD + 2);
	free(scratch);
}

static void binary_replies(void **state)
{
	char topic[PHX_MAX_FIELD + 1] = { 0 };
	struct buf b = { 0 };

	(void)state;
	assert_true(phx_binary_head(
		&b, slice_of("null"), slice_of("\"\\u0031\\n\""), slice_of("run:1")));
	assert_int_equal(b.n, 14);
	assert_memory_equal(b.p,
		"\1\0\2\5\2"
		"1\n"
		"run:1"
		"ok",
		14);
	assert_false(phx_binary_head(
		&b, slice_of("null"), slice_of("null"), (struct slice){ topic, sizeof(topic) }));
	assert_false(phx_binary_head(&b, slice_of("null"), slice_of("\"\\u0000\""), slice_of("t")));
	assert_int_equal(b.n, 14);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame),
		cmocka_unit_test(not_json),
		cmocka_unit_test(not_a_frame),
		cmocka_unit_test(fields_are_bounded),
		cmocka_unit_test(a_deep_payload_is_left_out),
		cmocka_unit_test(the_head_of_a_cut_frame),
		cmocka_unit_test(the_ends_of_a_payload),
		cmocka_unit_test(recorded_frames),
		cmocka_unit_test(replies_and_pushes),
		cmocka_unit_test(binary_pushes),
		cmocka_unit_test(the_longest_binary_refs_fit_in_scratch),
		cmocka_unit_test(binary_replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

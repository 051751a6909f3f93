/* scrub: what becomes *** and, as much, what does not. */
#include "core/scrubber.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

struct example {
	const char *credential, *text, *want; /* want NULL: the text as it is */
};

/* The set of one credential. */
static struct scrubber *set_of(struct slice body)
{
	struct scrubber *s = scrubber_new(NULL);

	assert_true(scrubber_add(s, body));
	scrubber_build(s);
	return s;
}

static void check(const struct example *e)
{
	struct scrubber *s = set_of(slice_of(e->credential));
	struct buf out = { 0 };
	const char *want = e->want ? e->want : e->text;

	buf_adds(&out, ">");
	bool replaced = scrubber_apply(s, slice_of(e->text), &out);
	if (strcmp(out.p + 1, want) != 0)
		fail_msg("%s in %s became %s", e->text, e->credential, out.p + 1);
	assert_int_equal(replaced, e->want != NULL);
	buf_free(&out);
	scrubber_free(s);
}

static void plain_values(void **state)
{
	static const struct example examples[] = {
		{ "{\"k\":\"hunter22\"}", "the password is hunter22.", "the password is ***." },
		{ "{\"k\":\"hunter22\"}", "hunter22hunter22", "******" },
		{ "{\"k\":\"hunter22\"}", "hunter2", NULL },
		{ "{\"secretkey\":\"x\"}", "secretkey", NULL },
		{ "{\"k\":\"abc\"}", "abc", NULL },
		{ "{\"k\":\"abcd\"}", "abcd", "***" },
		{ " {\"a\":[{\"b\":[\"deep-down\"]}]}\n", "so deep-down it is", "so *** it is" },
		{ "\"top-level\"", "a top-level one", "a *** one" },
		{ "{\"k\":123456}", "pin=123456", "pin=***" },
		{ "{\"k\":12345}", "pin=12345", NULL },
		{ "{\"k\":-1234.56e1}", "it is -1234.56e1", "it is ***" },
		{ "{\"k\":true,\"l\":null,\"m\":false}", "true null false", NULL },
		{ "{\"k\":\"p\\u00e4ss\\/word\"}", "p\xc3\xa4ss/word", "***" },
		{ "{\"k\":\"\xf0\x9f\x94\x91\"}", "a \xf0\x9f\x94\x91", "a ***" },
		{ "{\"k\":\"half \\ud800 pair\"}", "\"half \\ud800 pair\"", "\"***\"" },
		{ "{}", "nothing", NULL },
		{ "{\"k\":\"hunter22\"}", "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < countof(examples); i++)
		check(&examples[i]);
}

static void longest_and_overlapping(void **state)
{
	static const struct example examples[] = {
		{ "[\"hunt\",\"hunter22\"]", "hunter22 hunts", "*** ***s" },
		{ "[\"abcdX\",\"Xlongsecret\"]", "_abcdXlongsecret_", "_***_" },
		{ "[\"abcdefgh\",\"cdef\"]", "abcdefgh", "***" },
		{ "[\"abab\"]", "_abababab_", "_***_" },
	};

	(void)state;
	for (size_t i = 0; i < countof(examples); i++)
		check(&examples[i]);
}

static void escaped_values(void **state)
{
	static const struct example examples[] = {
		{ "[\"say \\\"hi\\\"\"]", "{\"p\":\"say \\\"hi\\\"\"}", "{\"p\":\"***\"}" },
		{ "[\"say \\\"hi\\\"\"]", "say \"hi\"", "***" },
		{ "[\"two\\u000alines\\t\\r\"]", "\"two\\nlines\\t\\r\"", "\"***\"" },
		{ "[\"bell\\u001b\"]", "bell\\u001b", "***" },
		{ "[\"a/b/c\"]", "a\\/b\\/c a/b/c", "*** ***" },
		{ "[\"\\\"a/b\"]", "\\\"a\\/b \\\"a/b", "*** ***" },
	};

	(void)state;
	for (size_t i = 0; i < countof(examples); i++)
		check(&examples[i]);
}

/* Made by another tool: printf … | base64. */
static void encoded_values(void **state)
{
	static const struct example examples[] = {
		/* hunter22, whole, with and without padding */
		{ "[\"hunter22\"]", "aHVudGVyMjI=", "***=" },
		{ "[\"hunter22\"]", "aHVudGVyMjI", "***" },
		/* behind one, two, three bytes, and in front of some: the edges are shared */
		{ "[\"hunter22\"]", "X2h1bnRlcjIyXw==", "X2***Xw==" },
		{ "[\"hunter22\"]", "X19odW50ZXIyMl8=", "X19***l8=" },
		{ "[\"hunter22\"]", "X19faHVudGVyMjJf", "X19f***Jf" },
		/* too short inside a text, where it may be chance, but not as the whole of it */
		{ "[\"abcd\"]", "YWJjZA== X2FiY2Rf", "***== X2FiY2Rf" },
		/* both alphabets: the bytes of "?~?>?~?>" */
		{ "[\"?~?>?~?>\"]", "P34/Pj9+Pz4 P34_Pj9-Pz4", "*** ***" },
		{ "[1234567890]", "MTIzNDU2Nzg5MA==", "***==" },
	};

	(void)state;
	for (size_t i = 0; i < countof(examples); i++)
		check(&examples[i]);
}

static void basic_auth(void **state)
{
	static const char two[] = "{\"user\":\"bob\",\"pw\":\"hunter22\"}";
	const struct example examples[] = {
		{ two, "Basic Ym9iOmh1bnRlcjIy", "Basic ***" },                /* bob:hunter22 */
		{ two, "Basic aHVudGVyMjI6Ym9i", "Basic ***" },                /* hunter22:bob */
		{ "[\"bob\",\"hunter22\"]", "Ym9iOmh1bnRlcjIy", "Ym9iOm***" }, /* no object */
		{ "{\"a\":\"bob\",\"b\":\"eve\"}", "Ym9iOmV2ZQ==", NULL },
		{ "{\"key\":\"sk_live_1\",\"pw\":\"\"}", "c2tfbGl2ZV8xOg==", "***==" },
		{ "{\"a\":[{\"u\":\"bob\",\"p\":\"abcd\"}]}", "Ym9iOmFiY2Q=", "***=" },
	};

	(void)state;
	for (size_t i = 0; i < countof(examples); i++)
		check(&examples[i]);
}

/* A private key: its last line is shorter than what counts by itself. */
static void several_lines(void **state)
{
	static const char key[] = "[\"-----BEGIN KEY-----\\nMIIEvAIBADANBgkqhkiG9w0B\\nAQEF/A==\\n"
				  "-----END KEY-----\\n\"]";
	static const struct example examples[] = {
		/* as it is, trimmed, one of its lines */
		{ key,
			"<-----BEGIN KEY-----\nMIIEvAIBADANBgkqhkiG9w0B\nAQEF/A==\n-----END "
			"KEY-----\n>",
			"<***>" },
		{ key,
			"<-----BEGIN KEY-----\nMIIEvAIBADANBgkqhkiG9w0B\nAQEF/A==\n-----END "
			"KEY----->",
			"<***>" },
		{ key, "line 2: MIIEvAIBADANBgkqhkiG9w0B", "line 2: ***" },
		{ key, "line 3: AQEF/A==", NULL },
		/* other line ends */
		{ key,
			"-----BEGIN KEY-----\r\nMIIEvAIBADANBgkqhkiG9w0B\r\nAQEF/A==\r\n-----END "
			"KEY-----\r\n",
			"***\r\n" },
		{ key, "-----BEGIN KEY-----\rMIIEvAIBADANBgkqhkiG9w0B\rAQEF/A==\r-----END KEY-----",
			"***" },
		{ key, "-----BEGIN KEY----- MIIEvAIBADANBgkqhkiG9w0B AQEF/A== -----END KEY-----",
			"***" },
		{ key, "-----BEGIN KEY-----MIIEvAIBADANBgkqhkiG9w0BAQEF/A==-----END KEY-----",
			"***" },
		/* in a JSON string, whose slashes may be escaped, and in one within one */
		{ key,
			"-----BEGIN KEY-----\\nMIIEvAIBADANBgkqhkiG9w0B\\nAQEF\\/A==\\n-----END "
			"KEY-----\\n",
			"***" },
		{ key,
			"-----BEGIN "
			"KEY-----\\r\\nMIIEvAIBADANBgkqhkiG9w0B\\r\\nAQEF/A==\\r\\n-----END "
			"KEY-----",
			"***" },
		{ key,
			"-----BEGIN "
			"KEY-----\\\\nMIIEvAIBADANBgkqhkiG9w0B\\\\nAQEF/A==\\\\n-----END KEY-----",
			"***" },
		{ "[\"say \\\"hi\\\"\"]", "{\\\"p\\\":\\\"say \\\\\\\"hi\\\\\\\"\\\"}",
			"{\\\"p\\\":\\\"***\\\"}" },
		/* a secret of CRLF lines, printed on a Unix */
		{ "[\"first line\\r\\nsecond\"]", "first line\nsecond", "***" },
		/* white space around a secret of one line, in base64 too: printf 'user:hunter22' */
		{ "[\"  hunter22\\n\"]", "hunter22", "***" },
		{ "[\"hunter22\\n\"]", "dXNlcjpodW50ZXIyMg== aHVudGVyMjI", "dXNlcjp***g== ***" },
		{ "[\"  abc \"]", "abc", NULL },
	};

	(void)state;
	for (size_t i = 0; i < countof(examples); i++)
		check(&examples[i]);
}

static bool hides(const struct scrubber *s, const char *text, const char *want)
{
	struct buf out = { 0 };
	bool replaced = scrubber_apply(s, slice_of(text), &out);

	assert_string_equal(out.p, want);
	buf_free(&out);
	return replaced;
}

static void several_credentials(void **state)
{
	struct scrubber *s = scrubber_new(NULL), *more;

	(void)state;
	assert_true(scrubber_add(s, slice_of("{\"a\":\"first-one\"}")));
	assert_true(scrubber_add(s, slice_of("{\"a\":\"first-one\",\"b\":\"second\"}")));
	scrubber_build(s);
	assert_true(hides(s, "first-one, second, third", "***, ***, third"));

	/* Another set has these too; what it gets besides is its own. */
	more = scrubber_new(s);
	assert_true(scrubber_add(more, slice_of("[\"third\",\"first-one-more\"]")));
	scrubber_build(more);
	assert_true(hides(more, "first-one, second, third, first-one-more", "***, ***, ***, ***"));
	assert_true(hides(s, "third, first-one-more", "third, ***-more"));
	scrubber_free(s);
	assert_true(hides(more, "second", "***"));
	scrubber_free(more);
}

static void the_same_again(void **state)
{
	struct scrubber *s = set_of(slice_of("{\"a\":\"first-one\"}"));
	size_t size = scrubber_bytes(s);

	(void)state;
	assert_true(scrubber_has(s, slice_of("{\"a\":\"first-one\"}")));
	assert_false(scrubber_has(s, slice_of("{\"a\":\"first-one\" }")));
	assert_true(scrubber_add(s, slice_of("{\"a\":\"first-one\"}")));
	scrubber_build(s);
	assert_int_equal(scrubber_bytes(s), size);
	scrubber_free(s);
}

/* Such a credential is not handed out; the set is as it was. */
static void refused(void **state)
{
	struct scrubber *s = set_of(slice_of("[\"hunter22\"]"));
	struct buf large = { 0 };
	size_t size = scrubber_bytes(s);

	(void)state;
	buf_adds(&large, "[\"");
	while (large.n < SCRUB_MAX)
		buf_adds(&large, "sixteen letters ");
	buf_adds(&large, "\"]");
	assert_false(scrubber_add(s, (struct slice){ large.p, large.n }));
	assert_false(scrubber_add(s, slice_of("hunter23")));
	assert_false(scrubber_has(s, slice_of("hunter23")));
	scrubber_build(s);
	assert_int_equal(scrubber_bytes(s), size);
	assert_true(hides(s, "hunter22 hunter23", "*** hunter23"));
	buf_free(&large);
	scrubber_free(s);
}

static void no_set_and_no_text(void **state)
{
	struct scrubber *s = scrubber_new(NULL);
	struct buf out = { 0 };

	(void)state;
	scrubber_build(s);
	assert_false(scrubber_apply(NULL, slice_of("text"), &out));
	assert_false(scrubber_apply(s, slice_of("text"), &out));
	assert_false(scrubber_apply(s, (struct slice){ 0 }, &out));
	assert_false(scrubber_apply(NULL, (struct slice){ 0 }, &out));
	assert_string_equal(out.p, "texttext");
	buf_free(&out);
	scrubber_free(s);
	scrubber_free(NULL);
}

/* An object of strings of eight bytes: "k0000000", "k0000001", … */
static void add_many(struct buf *json, int from, int to)
{
	buf_adds(json, "{");
	for (int i = from; i < to; i++)
		buf_addf(json, "%s\"%d\":\"k%07d\"", i == from ? "" : ",", i, i);
	buf_adds(json, "}");
}

/* Too many for every form, never too many for the plain ones. */
static void bounded(void **state)
{
	struct scrubber *s = scrubber_new(NULL);
	struct buf json = { 0 };

	(void)state;
	add_many(&json, 0, 6000);
	assert_true(scrubber_add(s, (struct slice){ json.p, json.n }));
	json.n = 0;
	add_many(&json, 6000, 6001);
	assert_true(scrubber_add(s, (struct slice){ json.p, json.n }));
	scrubber_build(s);
	assert_true(scrubber_is_full(s));
	assert_true(hides(s, "k0000000 k0005999 k0006000 k0006001", "*** *** *** k0006001"));
	buf_free(&json);
	scrubber_free(s);
}

static void deep(void **state)
{
	struct buf json = { 0 };
	struct scrubber *s;

	(void)state;
	for (int i = 0; i < 2000; i++)
		buf_adds(&json, i % 2 ? "{\"k\":" : "[");
	buf_adds(&json, "\"hunter22\"");
	for (int i = 1999; i >= 0; i--)
		buf_addc(&json, i % 2 ? '}' : ']');
	s = set_of((struct slice){ json.p, json.n });
	assert_true(hides(s, "hunter22", "***"));
	buf_free(&json);
	scrubber_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_values),
		cmocka_unit_test(longest_and_overlapping),
		cmocka_unit_test(escaped_values),
		cmocka_unit_test(encoded_values),
		cmocka_unit_test(basic_auth),
		cmocka_unit_test(several_lines),
		cmocka_unit_test(several_credentials),
		cmocka_unit_test(the_same_again),
		cmocka_unit_test(refused),
		cmocka_unit_test(no_set_and_no_text),
		cmocka_unit_test(bounded),
		cmocka_unit_test(deep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

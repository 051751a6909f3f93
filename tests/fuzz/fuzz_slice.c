/*
 * The slicer against jansson: both must accept or refuse the same documents, but for what is meant
 * to differ: numbers that jansson cannot hold, and (it refuses, we accept) \u0000 in keys, lone
 * surrogates, and depth, which it counts by values and we count by brackets. Whatever is accepted
 * is then walked: what the walk finds must be what jansson found.
 */
#include "lib/jscan.h"

#include "fuzz.h"

#include <jansson.h>

/* May jansson refuse a good document with this error? */
static bool meant_to_differ(const json_error_t *error)
{
	switch (json_error_code(error)) {
	case json_error_numeric_overflow:
	case json_error_null_character:
	case json_error_null_byte_in_key:
	case json_error_stack_overflow: return true;
	case json_error_invalid_syntax: return strstr(error->text, "invalid Unicode") != NULL;
	default: return false;
	}
}

static void compare_string(struct slice value, const json_t *json)
{
	struct buf text = { 0 };
	const size_t n = json_string_length(json);

	if (jscan_decode(value, &text))
		require(text.n == n && (n == 0 || memcmp(text.p, json_string_value(json), n) == 0),
			"another text");
	else
		require(memchr(json_string_value(json), '\0', n) != NULL, "not decoded");
	buf_free(&text);
}

/* Recurses: jansson has seen to it that it is not too deep. */
static void compare(struct slice value, const json_t *json)
{
	static const enum jscan_type types[] = {
		[JSON_OBJECT] = JSCAN_OBJECT,
		[JSON_ARRAY] = JSCAN_ARRAY,
		[JSON_STRING] = JSCAN_STRING,
		[JSON_INTEGER] = JSCAN_NUMBER,
		[JSON_REAL] = JSCAN_NUMBER,
		[JSON_TRUE] = JSCAN_TRUE,
		[JSON_FALSE] = JSCAN_FALSE,
		[JSON_NULL] = JSCAN_NULL,
	};
	struct slice cursor = value, key, member;
	const char *name;
	json_t *expected;
	size_t i = 0;
	int64_t number;

	require(jscan_type(value) == types[json_typeof(json)], "another type");
	require(jscan_int(value, &number) == json_is_integer(json), "an integer or not");
	if (json_is_integer(json))
		require(number == json_integer_value(json), "another integer");
	if (json_is_string(json))
		compare_string(value, json);
	if (json_is_array(json)) {
		while (jscan_next(&cursor, &key, &member))
			compare(member, json_array_get(json, i++));
		require(i == json_array_size(json), "another number of members");
	}
	json_object_foreach((json_t *)json, name, expected)
		compare(jscan_member(value, name), expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct slice text = { (const char *)data, n };
	struct slice value;
	json_error_t error;
	enum jscan_error ours = jscan_document(text, &value);
	json_t *json = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

	if (json == NULL) {
		require(ours != JSCAN_OK || meant_to_differ(&error), error.text);
	} else if (ours == JSCAN_OK) {
		compare(value, json);
	} else {
		require(memchr(data, '\0', n) != NULL, "jansson accepts it");
	}
	require(ours != JSCAN_OK || utf8_valid(text.p, text.n), "accepted, but not UTF-8");
	json_decref(json);
	return 0;
}

/*
 * The values of options: what each type takes and refuses, its bounds, and how it is printed.
 */
#include "lib/option.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const words[] = { "low", "high", NULL };

/* Parses and prints; NULL if refused. Owned by the caller. */
static char *there_and_back(const struct option *o, const char *text)
{
	union {
		char *text;
		int choice;
		int64_t number;
	} value = { NULL };
	struct buf out = { 0 };

	if (!option_parse(o, text, &value)) {
		assert_null(value.text);
		return NULL;
	}
	option_print(&out, o, &value);
	if (o->type < OPTION_CHOICE)
		free(value.text);
	return out.p ? out.p : xstrdup("");
}

static void assert_printed(const struct option *o, const char *text, const char *expected)
{
	char *got = there_and_back(o, text);

	if (!got)
		fail_msg("refused: %s", text);
	assert_string_equal(got, expected);
	free(got);
}

static void assert_refused(const struct option *o, const char *text)
{
	char *got = there_and_back(o, text);

	if (got)
		fail_msg("taken: %s", text);
}

static void assert_domain(const struct option *o, const char *expected)
{
	struct buf out = { 0 };

	option_print_domain(&out, o);
	assert_string_equal(out.p, expected);
	buf_free(&out);
}

static void test_addresses(void **state)
{
	(void)state;
	static const struct option listen = { .type = OPTION_ADDRESSES };
	static const char *const bad[] = { "", " ", "localhost:4000", "4000", ":4000", "127.0.0.1",
		"127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:4000,", "::1:4000",
		"[::1]", "[::1:4000", "[:4000", "[127.0.0.1]:1", "unix:x", "/run/x",
		"127.0.0.1:1 x" };
	char path[5 + 107 + 2] = "unix:/";

	for (size_t i = 0; i < countof(bad); i++)
		assert_refused(&listen, bad[i]);
	assert_printed(&listen, "127.0.0.1:0", "127.0.0.1:0");
	assert_printed(
		&listen, "[::1]:65535  unix:/x\t0.0.0.0:1", "[::1]:65535  unix:/x\t0.0.0.0:1");
	memset(path + 6, 'x', 106);
	assert_printed(&listen, path, path);
	path[5 + 107] = 'x';
	assert_refused(&listen, path);

	static const struct option nowhere = { .type = OPTION_ADDRESSES, .def = "" };
	assert_printed(&nowhere, "", "");
	assert_refused(&nowhere, " ");
	assert_refused(&nowhere, "localhost:4000");
}

static void test_networks(void **state)
{
	(void)state;
	static const struct option proxies = { .type = OPTION_NETWORKS, .def = "" };

	assert_printed(&proxies, "", "");
	assert_printed(&proxies, "127.0.0.1 10.0.0.0/8 unix", "127.0.0.1 10.0.0.0/8 unix");
	assert_refused(&proxies, "10.0.0.0/33");
	assert_refused(&proxies, "proxy.example");
	assert_domain(&proxies, "addresses and networks like 127.0.0.1 10.0.0.0/8 ::1 unix");
}

static void test_choice(void **state)
{
	(void)state;
	static const struct option level = { .type = OPTION_CHOICE, .words = words };

	assert_printed(&level, "low", "low");
	assert_printed(&level, "high", "high");
	assert_refused(&level, "High");
	assert_refused(&level, "");
	assert_domain(&level, "one of low, high");
}

static void test_bounds(void **state)
{
	(void)state;
	static const struct option lease = {
		.type = OPTION_DURATION, .min = "75s", .max = "1h", .zero = "off"
	};
	static const struct option size = { .type = OPTION_SIZE, .min = "0", .max = "1GiB" };
	static const struct option number = { .type = OPTION_NUMBER, .min = "1", .max = "32" };

	assert_domain(&lease, "a duration from 75s to 1h, or 0 (off)");
	assert_printed(&lease, "0", "0");
	assert_printed(&lease, "75000ms", "75s");
	assert_printed(&lease, "120s", "2m");
	assert_printed(&lease, "60m", "1h");
	assert_printed(&lease, "75001ms", "75001ms");
	assert_refused(&lease, "74999ms");
	assert_refused(&lease, "3601s");
	assert_refused(&lease, "80");

	assert_domain(&size, "a size from 0 to 1GiB");
	assert_printed(&size, "0KiB", "0");
	assert_printed(&size, "1024MiB", "1GiB");
	assert_printed(&size, "1023MiB", "1023MiB");
	assert_refused(&size, "1025MiB");
	assert_printed(&size, "1025", "1025");
	assert_printed(&size, "1024", "1KiB");

	assert_domain(&number, "a number from 1 to 32");
	assert_printed(&number, "32", "32");
	assert_refused(&number, "0");
	assert_refused(&number, "33");
	assert_refused(&number, "2s");
}

/* What may hold a password is asked of conninfo. */
static void test_urls(void **state)
{
	(void)state;
	static const struct option url = { .type = OPTION_URL };

	assert_printed(&url, "", "");
	assert_printed(&url, "host=h password=hunter2", "password=*** host=h");
	assert_refused(&url, "host=h password=hunter 2");
}

static void test_same_and_swap(void **state)
{
	(void)state;
	static const struct option text = { .type = OPTION_STRING };
	static const struct option choice = { .type = OPTION_CHOICE, .words = words };
	char one[] = "a", two[] = "a", *a = one, *b = two;
	int low[2] = { 0, 7 }, high[2] = { 1, 8 };

	assert_true(option_same(&text, &a, &b));
	two[0] = 'b';
	assert_false(option_same(&text, &a, &b));
	option_swap(&text, &a, &b);
	assert_ptr_equal(a, two);
	assert_ptr_equal(b, one);

	/* Only the value, not what stands beside it. */
	option_swap(&choice, low, high);
	assert_int_equal(low[0], 1);
	assert_int_equal(low[1], 7);
	assert_false(option_same(&choice, low, high));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_same_and_swap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

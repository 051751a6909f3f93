/*
 * Lists of networks, and whose a request is that came through proxies.
 */
#include "lib/net.h"

#include <setjmp.h>

#include <cmocka.h>

static void test_lists(void **state)
{
	(void)state;
	static const char *const good[] = { "", "  ", "127.0.0.1", "10.0.0.0/8 ::1", "0.0.0.0/0",
		"2001:db8::/32\tunix", "::/0", "fe80::1/128", "::ffff:10.0.0.1" };
	static const char *const bad[] = { "localhost", "10.0.0.0/33", "::1/129", "10.0.0.0/",
		"10.0.0.0/-1", "10.0.0.0/ 8", "10.0.0", "1.2.3.4,5.6.7.8", "unix:/x", "/8",
		"127.0.0.1:80", "10.0.0.0/8x", "10.0.0.0/99999999999999999999",
		"1.2.3.4/2147483647", "1.2.3.4/2147483552", "::1/4294967296",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd" };

	for (size_t i = 0; i < countof(good); i++)
		assert_true(net_is_list(good[i]));
	for (size_t i = 0; i < countof(bad); i++)
		if (net_is_list(bad[i]))
			fail_msg("%s is a list", bad[i]);
}

static void test_has(void **state)
{
	(void)state;
	static const struct {
		const char *list, *address;
		bool has;
	} cases[] = {
		{ "127.0.0.1", "127.0.0.1", true },
		{ "127.0.0.1", "127.0.0.2", false },
		{ "10.0.0.0/8", "10.255.255.255", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "10.0.0.128/25", "10.0.0.127", false },
		{ "10.0.0.128/25", "10.0.0.128", true },
		{ "192.0.2.1 10.0.0.0/8", "10.1.1.1", true },
		{ "0.0.0.0/0", "203.0.113.9", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "2001:db8::1", true },
		{ "2001:db8::/33", "2001:db8:7fff::", true },
		{ "2001:db8::/33", "2001:db8:8000::", false },
		{ "::1", "::1", true },
		{ "unix", "unix", true },
		{ "127.0.0.1", "unix", false },
		{ "unix", "127.0.0.1", false },
		{ "", "127.0.0.1", false },
		{ "", "unix", false },
		{ "unknown 0.0.0.0/0", "unknown", false },
	};

	for (size_t i = 0; i < countof(cases); i++)
		if (net_list_has(cases[i].list, cases[i].address) != cases[i].has)
			fail_msg("%s in %s", cases[i].address, cases[i].list);
}

static void test_client(void **state)
{
	(void)state;
	static const struct {
		const char *trusted, *peer, *forwarded, *client;
	} cases[] = {
		{ "127.0.0.1", "127.0.0.1", "203.0.113.9", "203.0.113.9" },
		{ "", "127.0.0.1", "203.0.113.9", "127.0.0.1" },
		{ "127.0.0.1", "198.51.100.7", "203.0.113.9", "198.51.100.7" },
		{ "127.0.0.1", "127.0.0.1", NULL, "127.0.0.1" },
		{ "127.0.0.1", "127.0.0.1", "", "127.0.0.1" },
		{ "127.0.0.1", "127.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9" },
		{ "127.0.0.1 10.0.0.0/8", "127.0.0.1", "6.6.6.6, 203.0.113.9 ,10.0.0.1",
			"203.0.113.9" },
		{ "127.0.0.1 10.0.0.0/8", "127.0.0.1", "10.0.0.2,10.0.0.1", "10.0.0.2" },
		{ "unix", "unix", "203.0.113.9", "203.0.113.9" },
		{ "127.0.0.1", "127.0.0.1", "203.0.113.9:4711", "203.0.113.9" },
		{ "127.0.0.1", "127.0.0.1", "[2001:DB8::1]:4711", "2001:db8::1" },
		{ "127.0.0.1", "127.0.0.1", "2001:DB8:0::1", "2001:db8::1" },
		{ "127.0.0.1", "127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9" },
		{ "127.0.0.1", "127.0.0.1", "6.6.6.6, unknown", "127.0.0.1" },
		{ "127.0.0.1", "127.0.0.1", "6.6.6.6,", "127.0.0.1" },
		{ "127.0.0.1", "127.0.0.1", "unix", "127.0.0.1" },
		{ "127.0.0.1", "127.0.0.1", ",,,,", "127.0.0.1" },
		{ "::1", "::1", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
			"::1" },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		char out[NET_ADDRESS];

		net_client(cases[i].trusted, cases[i].peer, cases[i].forwarded, out);
		if (strcmp(out, cases[i].client) != 0)
			fail_msg("%s of %s via %s: %s", cases[i].forwarded, cases[i].peer,
				cases[i].trusted, out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_has),
		cmocka_unit_test(test_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

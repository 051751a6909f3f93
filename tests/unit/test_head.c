/*
 * The head of a request: what is accepted, what it means, and what is refused with which status.
 */
#include "ws/http_head.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

/* The parsed head; the text, which it borrows, is kept in *text. */
static int parse(struct head *head, char **text, const char *source, size_t n)
{
	const char *why = NULL;
	int status;

	*text = xmemdup(source, n);
	status = head_parse(*text, n, head, &why);
	assert_true((status == 0) == (why == NULL));
	return status;
}

static void test_accepted(void **state)
{
	(void)state;
	static const char source[] =
		"POST /i/a-b_c~d.e;f=1,2:@!$&'()*+?a=1&token=go+od%2b%41&x HTTP/1.1\r\n"
		"Host: \r\n"
		"content-LENGTH:\t17 \t\r\n"
		"X-Forwarded-For: 1.1.1.1\r\n"
		"Expect: 100-Continue\r\n"
		"x-forwarded-FOR: 2.2.2.2,3.3.3.3\r\n"
		"Connection: keep-alive,  Upgrade\r\n"
		"X-Name: gr\xc3\xbc\xc3\x9f \"e\"\r\n"
		"\r\n";
	struct head head;
	char *text, *value;

	assert_int_equal(parse(&head, &text, source, sizeof(source) - 1), 0);
	assert_string_equal(head.method, "POST");
	assert_string_equal(head.path, "/i/a-b_c~d.e;f=1,2:@!$&'()*+");
	assert_int_equal(head.length, 17);
	assert_true(head.expects && !head.http_1_0 && !head.chunked);
	value = head_field(&head, "X-Forwarded-For");
	assert_string_equal(value, "1.1.1.1, 2.2.2.2,3.3.3.3");
	free(value);
	value = head_field(&head, "host");
	assert_string_equal(value, "");
	free(value);
	assert_null(head_field(&head, "X-Forwarded"));
	assert_true(head_lists(&head, "connection", "upgrade"));
	assert_false(head_lists(&head, "connection", "upgrad"));
	value = head_parameter(&head, "token");
	assert_string_equal(value, "go od+A");
	free(value);
	assert_null(head_parameter(&head, "x"));
	assert_null(head_parameter(&head, "tok"));
	free(text);
}

static void test_refused(void **state)
{
	(void)state;
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{ GET "\r\n", 0 },
		{ "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", 0 },
		{ "GET /a/ HTTP/1.0\r\n\r\n", 0 },
		{ "GET /...?//../%41 HTTP/1.1\r\nHost: a\r\n\r\n", 0 },
		{ "GET // HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET //metrics HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /metrics// HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /. HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /a/./b HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /worker/../metrics HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /i/%2e%2e/metrics HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /metrics%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /m%65trics HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /?a=%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /?a=%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /?a=%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /?\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET relative HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 505 },
		{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
		{ "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505 },
		{ "GET / http/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /\r\nHost: a\r\n\r\n", 400 },
		{ "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n\r\n", 400 },
		{ GET "Host: a\r\n\r\n", 400 },
		{ GET "X-A: 1\r\n 2\r\n\r\n", 400 },
		{ GET "X-A : 1\r\n\r\n", 400 },
		{ GET ": 1\r\n\r\n", 400 },
		{ GET "X-A\r\n\r\n", 400 },
		{ GET "X-A: 1\n2\r\n\r\n", 400 },
		{ GET "X-A: 1\r2\r\n\r\n", 400 },
		{ GET "X-A: \x01\r\n\r\n", 400 },
		{ GET "X-A: 1\nX-B: 2\r\n\r\n", 400 },
		{ GET "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400 },
		{ GET "Content-Length: 3, 3\r\n\r\n", 400 },
		{ GET "Content-Length: -1\r\n\r\n", 400 },
		{ GET "Content-Length: +1\r\n\r\n", 400 },
		{ GET "Content-Length: \r\n\r\n", 400 },
		{ GET "Content-Length: 9999999999999999999\r\n\r\n", 400 },
		{ GET "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
		{ GET "Authorization: a\r\nauthorization: b\r\n\r\n", 400 },
		{ GET "Expect: 200-x\r\n\r\n", 417 },
		{ GET "Expect: 100-continue, 200-x\r\n\r\n", 417 },
	};
	struct head head;
	char *text;

	for (size_t i = 0; i < countof(cases); i++) {
		int status = parse(&head, &text, cases[i].text, strlen(cases[i].text));

		if (status != cases[i].status)
			fail_msg("%d, not %d: %s", status, cases[i].status, cases[i].text);
		free(text);
	}
}

static void test_a_nul_and_too_many(void **state)
{
	(void)state;
	static const char nul[] = GET "X-A: 1\0 2\r\n\r\n", early[] = "GET /\0 HTTP/1.1\r\n\r\n";
	struct buf b = { 0 };
	struct head head;
	char *text;

	assert_int_equal(parse(&head, &text, nul, sizeof(nul) - 1), 400);
	free(text);
	assert_int_equal(parse(&head, &text, early, sizeof(early) - 1), 400);
	free(text);
	buf_adds(&b, GET);
	for (int i = 1; i < HEAD_FIELDS; i++)
		buf_adds(&b, "X-A:\r\n");
	buf_adds(&b, "\r\n");
	assert_int_equal(parse(&head, &text, b.p, b.n), 0);
	free(text);
	b.n -= 2;
	buf_adds(&b, "X-A:\r\n\r\n");
	assert_int_equal(parse(&head, &text, b.p, b.n), 431);
	free(text);
	buf_free(&b);
}

static void test_size(void **state)
{
	(void)state;
	static const char text[] = "GET / HTTP/1.1\r\n\r\nabc\r\n\r\n";

	for (size_t n = 0; n < sizeof(text); n++)
		for (size_t seen = 0; seen <= n && seen < 18; seen++)
			assert_int_equal(head_size(text, n, seen), n < 18 ? 0 : 18);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_a_nul_and_too_many),
		cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

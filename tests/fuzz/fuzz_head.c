/*
 * Heads of requests: nothing is read beyond their end, and what is accepted, written again in the
 * plainest way, is accepted again and means the same.
 */
#include "ws/http_head.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

static void look_up(const struct head *head)
{
	static const char *const names[] = { "token", "vsn", "a" };

	for (size_t i = 0; i < countof(names); i++)
		free(head_parameter(head, names[i]));
	for (int i = 0; i < head->nfields; i++) {
		char *value = head_field(head, head->fields[i].name);

		require(value != NULL, "a field that is not found");
		head_lists(head, head->fields[i].name, "upgrade");
		free(value);
	}
}

static void write_again(struct buf *b, const struct head *head)
{
	buf_addf(b, "%s %s?%s %s\r\n", head->method, head->path, head->query,
		head->http_1_0 ? "HTTP/1.0" : "HTTP/1.1");
	for (int i = 0; i < head->nfields; i++)
		buf_addf(b, "%s: %s\r\n", head->fields[i].name, head->fields[i].value);
	buf_adds(b, "\r\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t size = head_size((const char *)data, n, 0);
	char *text = xmemdup(data, size > 0 ? size : n);
	struct head head, back;
	struct buf again = { 0 };
	const char *why;

	if (head_parse(text, size > 0 ? size : n, &head, &why) == 0) {
		require(size > 0, "accepted, and has no end");
		require(head.path[0] == '/' && strstr(head.path, "//") == NULL &&
				strstr(head.path, "/../") == NULL && strchr(head.path, '%') == NULL,
			"a path that is not normal");
		look_up(&head);
		write_again(&again, &head);
		require(head_size(again.p, again.n, 0) == again.n, "another end");
		require(head_parse(again.p, again.n, &back, &why) == 0, "not accepted again");
		require(strcmp(head.path, back.path) == 0 && strcmp(head.query, back.query) == 0 &&
				head.nfields == back.nfields && head.length == back.length &&
				head.chunked == back.chunked && head.expects == back.expects,
			"it means something else");
		buf_free(&again);
	}
	free(text);
	return 0;
}

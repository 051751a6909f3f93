/*
 * ws: plain requests. A request is judged by its head before a byte of its body is kept, then
 * collected whole, handed on, and answered whole, now or later. Each gets one answer, and one
 * request is all that a connection has: what follows it is read only to be dropped, for as long as
 * the client may need to see the answer.
 */
#include "ws_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static const char *reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {
		{ 200, "OK" },
		{ 202, "Accepted" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" },
		{ 422, "Unprocessable Content" },
		{ 426, "Upgrade Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < countof(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Status";
}

static void compose(struct buf *b, int status, const char *content_type, const char *extra_header,
	size_t length)
{
	buf_addf(b, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", status,
		reason(status), content_type != NULL ? content_type : "text/plain", length);
	if (extra_header != NULL)
		buf_addf(b, "%s\r\n", extra_header);
	buf_adds(b, "Connection: close\r\n\r\n");
}

void ws_http_write(struct ws_http *http)
{
	ssize_t n = send(
		http->fd, http->out.p + http->written, http->out.n - http->written, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			ws_caller_close(http);
		return;
	}
	http->written += (size_t)n;
	http->moved += (size_t)n;
	if (http->written < http->out.n)
		return;
	buf_free(&http->out);
	shutdown(http->fd, SHUT_WR);
	ws_caller_enter(http, WS_LINGERING);
	ws_caller_count(http);
}

void ws_http_reply(struct ws_http *http, int status, const char *content_type,
	const char *extra_header, struct slice body)
{
	assert(http->state == WS_WAITING);
	compose(&http->out, status, content_type, extra_header, body.n);
	if (strcmp(http->head.method, "HEAD") != 0)
		buf_add(&http->out, body.p, body.n);
	buf_free(&http->body);
	ws_caller_enter(http, WS_ANSWERED);
	ws_caller_count(http);
	ws_http_write(http);
}

void ws_http_refuse(struct ws_http *http, int status, const char *why, const char *extra_header)
{
	if (http->head.method == NULL) /* it could not even be read */
		http->head.method = "";
	http->state = WS_WAITING;
	ws_http_reply(http, status, NULL, extra_header, slice_of(why));
}

void ws_http_set_user(struct ws_http *http, void *user)
{
	http->user = user;
}

static struct ws_head head_of(const struct ws_http *http)
{
	const struct head *head = &http->head;

	return (struct ws_head){ head->method, head->path, http->address, http->serves, head };
}

static void hand_on(struct ws_http *http)
{
	const struct ws_config *config = &http->ws->config;
	struct ws_head head = head_of(http);

	ws_caller_enter(http, WS_WAITING);
	/* The body is the owner's now, who counts it: not twice, and not less in between. */
	ws_count(http->ws, &http->counted,
		(struct ws_buffered){ .requests = http->counted.requests });
	config->ops->request(config->arg, http, &head, &http->body);
	ws_tell_held(http->ws);
}

void ws_http_body(struct ws_http *http)
{
	size_t missing = http->length - http->body.n;

	http->body.n += ws_caller_receive(http, http->body.p + http->body.n, missing);
	if (http->state != WS_BODY || http->body.n < http->length)
		return;
	http->body.p[http->body.n] = '\0';
	hand_on(http);
}

/* A client that asks before it sends is told to go ahead. */
static bool send_continue(struct ws_http *http)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	const ssize_t n = sizeof(text) - 1;

	return !http->head.expects || send(http->fd, text, (size_t)n, MSG_NOSIGNAL) == n;
}

static void expect_body(struct ws_http *http, struct slice rest)
{
	http->body = (struct buf){ xmalloc(http->length + 1), 0, http->length + 1 };
	buf_add(&http->body, rest.p, rest.n < http->length ? rest.n : http->length);
	ws_caller_enter(http, WS_BODY);
	ws_caller_count(http);
	if (rest.n == 0 && !send_continue(http))
		ws_caller_close(http);
	else if (http->body.n == http->length)
		hand_on(http);
}

void ws_http_begin(struct ws_http *http, struct slice rest)
{
	const struct ws_config *config = &http->ws->config;
	struct ws_head head = head_of(http);

	http->state = WS_WAITING;
	if (http->head.chunked ||
		(http->head.length < 0 && head.method[0] == 'P')) { /* POST PUT PATCH */
		ws_http_reply(http, 411, NULL, NULL, slice_of("Content-Length is required"));
		return;
	}
	http->length = http->head.length > 0 ? (size_t)http->head.length : 0;
	config->ops->head(config->arg, http, &head, http->length);
	if (http->state != WS_WAITING) /* it is answered */
		return;
	if (ws_callers_busy(http->ws)) {
		ws_http_reply(http, 503, NULL, "Retry-After: 5", slice_of("too many requests"));
		return;
	}
	if (http->length > 0)
		expect_body(http, rest);
	else
		hand_on(http);
}

/*
 * ws: plain requests. A request is collected whole, handed on, and answered whole, now or later. It
 * is ours until the answer is out or the socket is destroyed.
 *
 * One request a connection: a body that lws finds in the same packet as the request before makes it
 * take the headers for the body, and loop for ever. So nothing that follows a request is ever given
 * to lws's parser: its socket is not read while it waits, and closed after the answer.
 */
#include "ws_private.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>

#define SEND_SECONDS 60 /* for the client to take the answer */

struct ws_http {
	TAILQ_ENTRY(ws_http) link; /* once it is handed on */
	struct ws *ws;
	struct lws *wsi;
	void *user;
	struct buf body;
	bool too_large;
	bool bodiless; /* a HEAD: the answer's body is only counted */
	enum { COMING, WAITING, ANSWERED, SENT } state;
	struct buf answer;
};

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
		{ 409, "Conflict" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 429, "Too Many Requests" },
		{ 500, "Internal Server Error" },
		{ 503, "Service Unavailable" },
	};

	for (size_t i = 0; i < countof(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Status";
}

static void compose(struct buf *b, int status, const char *content_type, const char *extra_header,
	size_t length)
{
	ws_begin(b);
	buf_addf(b, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", status,
		reason(status), content_type != NULL ? content_type : "text/plain", length);
	if (extra_header != NULL)
		buf_addf(b, "%s\r\n", extra_header);
	buf_adds(b, "Connection: close\r\n\r\n");
}

static bool transmit(struct lws *wsi, const struct buf *b)
{
	return lws_write(wsi, (unsigned char *)b->p + LWS_PRE, b->n - LWS_PRE, LWS_WRITE_HTTP) >= 0;
}

int ws_http_refuse(struct lws *wsi, int status, const char *why)
{
	struct buf b = { 0 };
	bool sent;

	if (why == NULL)
		why = "";
	compose(&b, status, NULL, NULL, strlen(why));
	buf_adds(&b, why);
	sent = transmit(wsi, &b);
	buf_free(&b);
	return sent ? 1 : -1; /* 1: answered; lws ends the transaction */
}

void ws_http_reply(struct ws_http *http, int status, const char *content_type,
	const char *extra_header, struct slice body)
{
	assert(http->state == WAITING);
	http->state = ANSWERED;
	compose(&http->answer, status, content_type, extra_header, body.n);
	if (!http->bodiless)
		buf_add(&http->answer, body.p, body.n);
	lws_rx_flow_control(http->wsi, 1 | LWS_RXFLOW_REASON_FLAG_PROCESS_NOW);
	lws_callback_on_writable(http->wsi);
}

void ws_http_set_user(struct ws_http *http, void *user)
{
	http->user = user;
}

static void wait_for_answer(struct ws_http *http)
{
	http->state = WAITING;
	TAILQ_INSERT_TAIL(&http->ws->requests, http, link);
	lws_set_timeout(http->wsi, NO_PENDING_TIMEOUT, 0);
	lws_rx_flow_control(http->wsi, 0 | LWS_RXFLOW_REASON_FLAG_PROCESS_NOW);
}

/* lws says this again when bytes follow the body before the answer is out. */
void ws_http_complete(struct ws_http *http)
{
	struct buf body = http->body;
	struct head head;

	if (http->state != COMING)
		return;
	http->body = (struct buf){ 0 };
	wait_for_answer(http);
	if (!ws_head_read(&head, http->wsi)) /* can't happen: it was read at the beginning */
		ws_http_reply(http, 400, NULL, NULL, slice_of("no method"));
	else
		http->ws->config.ops->request(http->ws->config.arg, http, &head.ws,
			(struct slice){ body.p, body.n }, http->too_large);
	buf_free(&body);
}

void ws_http_body(struct ws_http *http, const void *p, size_t n)
{
	if (http->state != COMING || http->too_large)
		return;
	http->too_large = n > http->ws->config.max_body - http->body.n;
	if (http->too_large)
		buf_free(&http->body);
	else
		buf_add(&http->body, p, n);
}

/* The length of the body that follows, -1 if it cannot be told: lws would make something up. */
static int64_t body_length(const struct ws_head *head)
{
	char *length = ws_header(head, "Content-Length");
	char *chunked = ws_header(head, "Transfer-Encoding");
	int64_t n = -1;

	if (chunked == NULL && length != NULL && strlen(length) < 18 &&
		length[strspn(length, "0123456789")] == '\0')
		n = atoll(length);
	else if (chunked == NULL && length == NULL && head->method[0] != 'P') /* POST PUT PATCH */
		n = 0;
	free(length);
	free(chunked);
	return n;
}

/* A client that asks before it sends is told to go ahead: a body that is too large is read to its
 * end too, because only then is it sure to see the answer. */
static bool go_ahead(const struct ws_head *head)
{
	struct buf b = { 0 };
	char *expect = ws_header(head, "Expect");
	bool ok = true;

	if (expect != NULL && strcasecmp(expect, "100-continue") == 0) {
		ws_begin(&b);
		buf_adds(&b, "HTTP/1.1 100 Continue\r\n\r\n");
		ok = transmit(head->lws, &b);
		buf_free(&b);
	}
	free(expect);
	return ok;
}

int ws_http_begin(struct conn *conn, struct lws *wsi)
{
	struct ws_http *http;
	struct head head;
	int64_t length;

	if (conn->http != NULL || !ws_head_read(&head, wsi))
		return -1;
	http = xcalloc(1, sizeof(*http));
	conn->http = http;
	http->ws = conn->ws;
	http->wsi = wsi;
	http->bodiless = strcmp(head.ws.method, "HEAD") == 0;
	length = body_length(&head.ws);
	if (length < 0) {
		wait_for_answer(http);
		ws_http_reply(http, 411, NULL, NULL, slice_of("a Content-Length is needed"));
	} else if (length == 0) {
		ws_http_complete(http);
	} else if (!go_ahead(&head.ws)) {
		return -1;
	}
	return 0;
}

/* Called again when lws has got rid of what the socket did not take at once. */
int ws_http_writable(struct ws_http *http)
{
	if (http->state == ANSWERED) {
		http->state = SENT;
		lws_set_timeout(http->wsi, PENDING_TIMEOUT_USER_REASON_BASE, SEND_SECONDS);
		if (!transmit(http->wsi, &http->answer))
			return -1;
		buf_free(&http->answer);
	}
	return http->state == SENT && !lws_partial_buffered(http->wsi) ? -1 : 0;
}

void ws_http_free(struct ws_http *http)
{
	if (http->state != COMING)
		TAILQ_REMOVE(&http->ws->requests, http, link);
	if (http->state == WAITING)
		http->ws->config.ops->request_gone(http->user);
	buf_free(&http->body);
	buf_free(&http->answer);
	free(http);
}

/* Notices clients that are gone, which a socket that is not read does not tell; and those that send
 * more while their answer goes out, because lws would spin on that. */
void ws_http_tick(struct ws *ws)
{
	struct ws_http *http;

	TAILQ_FOREACH (http, &ws->requests, link) {
		struct pollfd p = { .fd = lws_get_socket_fd(http->wsi),
			.events = http->state == SENT ? POLLIN | POLLRDHUP : POLLRDHUP };

		if (poll(&p, 1, 0) > 0)
			lws_set_timeout(
				http->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
	}
}

/*
 * ws: HTTP connections, which have not proved who they are: from their acceptance until they have
 * their answer or have become a websocket. A request is judged by its head (http_head.h)
 * before a byte of its body is kept, then collected whole, handed on, and answered whole, now or
 * later; each connection has one request and one answer, and what follows is read only to be
 * dropped, for as long as the client may need to see the answer. A handshake is judged by us too,
 * and only when it is accepted is its socket handed to lws, with a head of our own making: nothing
 * of what lws makes of a request can be reached. Invariants: there are never more of them than may
 * be; one that is waited for has to make progress; and one that has sent no whole request
 * makes room for another. Ownership: after release() (and so after an answer, a refusal or a close
 * that ends in it) it is freed in the next turn of the loop, so it may be looked at until the
 * callback returns.
 */
#include "ws_private.h"

#include "ws/http_head.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	HEAD_MS = 10000,
	CLOSE_WAIT_MS = 2000,
	CROWD_MS = 2000, /* for those of one address, beyond their number */
	LINGER_BYTES = 4 * 1024 * 1024,
};

/* What a connection has to do next. */
enum ws_state {
	WS_HEAD,      /* send its head */
	WS_BODY,      /* send its body */
	WS_WAITING,   /* wait for the answer */
	WS_ANSWERED,  /* read the answer */
	WS_LINGERING, /* close: it must not lose the answer for something that it still sends */
	WS_CLOSED
};

/* A connection that is no peer. */
struct ws_http {
	TAILQ_ENTRY(ws_http) link;
	struct ws *ws;
	uv_poll_t poll;
	int fd;
	unsigned serves;
	char address[INET6_ADDRSTRLEN];
	enum ws_state state;
	uint64_t since; /* uv_now() when the wait began, or last made progress, and the … */
	size_t moved;   /* … bytes that have come or gone since */
	struct buf in;  /* the head, and what came with it */
	struct head head;
	struct buf body;
	size_t length; /* of the body */
	struct buf out;
	size_t written;
	void *user;
	struct ws_buffered counted; /* what of ws->buffered is this connection's */
};

static void on_event(uv_poll_t *poll, int status, int events);

/* ---- one connection ---- */

static void count_dropped(const char *reason)
{
	metrics_add(metrics_seriesf(METRIC_HTTP_CONNECTIONS_DROPPED, "reason=\"%s\"", reason), 1);
}

static void read_address(char text[INET6_ADDRSTRLEN], int fd)
{
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof(a);
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)&a)->sin6_addr;

	if (getpeername(fd, (struct sockaddr *)&a, &len) != 0)
		strcpy(text, "unknown");
	else if (a.ss_family == AF_UNIX)
		strcpy(text, "unix");
	else if (a.ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)&a)->sin_addr, text,
			INET6_ADDRSTRLEN);
	/* All of `a` is initialized. */
	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
	else if (IN6_IS_ADDR_V4MAPPED(v6)) /* on a socket of systemd's */
		inet_ntop(AF_INET, &v6->s6_addr[12], text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, v6, text, INET6_ADDRSTRLEN);
}

static void count(struct ws_http *http)
{
	struct ws_buffered now = { .requests = http->in.cap + http->out.cap };

	if (http->state == WS_BODY)
		now.bodies = http->length;
	if (ws_count(http->ws, &http->counted, now))
		ws_notify_buffered(http->ws);
}

static void enter(struct ws_http *http, enum ws_state state)
{
	static const int events[] = { [WS_HEAD] = UV_READABLE,
		[WS_BODY] = UV_READABLE,
		[WS_WAITING] = UV_DISCONNECT, /* what it sends too soon is not read */
		[WS_ANSWERED] = UV_WRITABLE,
		[WS_LINGERING] = UV_READABLE };

	http->state = state;
	http->since = uv_now(http->ws->loop);
	http->moved = 0;
	uv_poll_start(&http->poll, events[state], on_event);
}

static void on_closed(uv_handle_t *handle)
{
	struct ws_http *http = handle->data;

	buf_free(&http->in); /* its closer may still have been looking at it */
	free(http);
}

/* The descriptor becomes the caller's of this function; http is dead. */
static int release(struct ws_http *http)
{
	http->state = WS_CLOSED;
	TAILQ_REMOVE(&http->ws->http_connections, http, link);
	metrics_set(http->ws->stat_http, --http->ws->nhttp);
	uv_close((uv_handle_t *)&http->poll, on_closed);
	if (uv_is_active((uv_handle_t *)&http->ws->room))
		ws_listen_again(http->ws);
	buf_free(&http->body);
	buf_free(&http->out);
	if (ws_count(http->ws, &http->counted, (struct ws_buffered){ 0 }))
		ws_notify_buffered(http->ws);
	return http->fd;
}

static void close_connection(struct ws_http *http)
{
	bool unanswered = http->state == WS_WAITING;

	if (http->state == WS_CLOSED)
		return;
	close(release(http));
	if (unanswered)
		http->ws->config.ops->request_gone(http->user);
}

/* What came, at most n bytes; 0 if nothing did, or the connection is lost and closed. */
static size_t receive(struct ws_http *http, void *p, size_t n)
{
	ssize_t received = recv(http->fd, p, n, 0);

	if (received > 0) {
		http->moved += (size_t)received;
		return (size_t)received;
	}
	if (received == 0 || (errno != EAGAIN && errno != EINTR))
		close_connection(http);
	return 0;
}

/* ---- how many there may be ---- */

/* So many may come from this address (NULL: from all). */
static int limit_of(const struct ws *ws, const char *address)
{
	const struct ws_config *config = &ws->config;
	int n = config->ops->max_connections != NULL
			? config->ops->max_connections(config->arg, address)
			: config->max_http_connections;

	return n < config->max_http_connections ? n : config->max_http_connections;
}

static int connections_from(const struct ws *ws, const char *address)
{
	const struct ws_http *http;
	int n = 0;

	TAILQ_FOREACH (http, &ws->http_connections, link)
		n += strcmp(http->address, address) == 0;
	return n;
}

bool ws_http_full(const struct ws *ws)
{
	return ws->nhttp >= limit_of(ws, NULL);
}

/* Are those that have sent a request so many that another one has to be refused? The rest of the
 * places is for handshakes. */
static bool connections_busy(const struct ws *ws)
{
	const struct ws_http *http;
	int n = 0, limit = limit_of(ws, NULL);

	TAILQ_FOREACH (http, &ws->http_connections, link)
		n += http->state == WS_BODY || http->state == WS_WAITING;
	return n > limit - limit / 4;
}

/* The oldest that has no request, or that does not take its answer; else the oldest whose body is
 * not there. */
static struct ws_http *to_drop(const struct ws *ws, const char *address)
{
	struct ws_http *http, *found = NULL;

	TAILQ_FOREACH (http, &ws->http_connections, link) {
		if (address != NULL && strcmp(http->address, address) != 0)
			continue;
		if (http->state == WS_BODY && found == NULL)
			found = http;
		else if (http->state != WS_BODY && http->state != WS_WAITING)
			return http;
	}
	return found;
}

bool ws_http_drop(struct ws *ws, const char *address, uint64_t silent)
{
	struct ws_http *http = to_drop(ws, address);

	if (http == NULL || uv_now(ws->loop) - http->since < silent)
		return false;
	count_dropped("crowded");
	close_connection(http);
	return true;
}

/* ---- answers ---- */

static void write_answer(struct ws_http *http)
{
	ssize_t n = send(
		http->fd, http->out.p + http->written, http->out.n - http->written, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			close_connection(http);
		return;
	}
	http->written += (size_t)n;
	http->moved += (size_t)n;
	if (http->written < http->out.n)
		return;
	buf_free(&http->out);
	shutdown(http->fd, SHUT_WR);
	enter(http, WS_LINGERING);
	count(http);
}

void ws_http_reply(struct ws_http *http, int status, const char *content_type,
	const char *extra_header, struct slice body)
{
	assert(http->state == WS_WAITING);
	head_answer(&http->out, status, content_type, extra_header, body.n);
	if (strcmp(http->head.method, "HEAD") != 0)
		buf_add(&http->out, body.p, body.n);
	buf_free(&http->body);
	enter(http, WS_ANSWERED);
	count(http);
	write_answer(http);
}

/* An answer of our own: a sentence and a header (NULL for none). */
static void refuse(struct ws_http *http, int status, const char *why, const char *extra_header)
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

/* ---- plain requests ---- */

static struct ws_head head_of(const struct ws_http *http)
{
	const struct head *head = &http->head;

	return (struct ws_head){ head->method, head->path, http->address, http->serves, head };
}

static void hand_on(struct ws_http *http)
{
	const struct ws_config *config = &http->ws->config;
	struct ws_head head = head_of(http);

	enter(http, WS_WAITING);
	/* The body is the owner's now, who counts it: not twice, and not less in between. */
	ws_count(http->ws, &http->counted,
		(struct ws_buffered){ .requests = http->counted.requests });
	config->ops->request(config->arg, http, &head, &http->body);
	ws_notify_buffered(http->ws);
}

static void read_body(struct ws_http *http)
{
	size_t missing = http->length - http->body.n;

	http->body.n += receive(http, http->body.p + http->body.n, missing);
	if (http->state != WS_BODY || http->body.n < http->length)
		return;
	http->body.p[http->body.n] = '\0';
	hand_on(http);
}

/* 100 Continue, to a client that waits for it. */
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
	enter(http, WS_BODY);
	count(http);
	if (rest.n == 0 && !send_continue(http))
		close_connection(http);
	else if (http->body.n == http->length)
		hand_on(http);
}

/* rest: what came behind the head. */
static void begin_request(struct ws_http *http, struct slice rest)
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
	if (connections_busy(http->ws)) {
		ws_http_reply(http, 503, NULL, "Retry-After: 5", slice_of("too many requests"));
		return;
	}
	if (http->length > 0)
		expect_body(http, rest);
	else
		hand_on(http);
}

/* ---- handshakes ---- */

/* The 24 characters that 16 bytes are in base64. */
static bool is_key(const char *key)
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789+/";

	return key != NULL && strlen(key) == 24 && strspn(key, base64) == 22 &&
	       strcmp(key + 22, "==") == 0;
}

/* 101, or the status with which the handshake is refused (RFC 6455, 4.2.1). */
static int judge_handshake(
	const struct ws_http *http, const char *key, void **user, const char **why)
{
	const struct ws_config *config = &http->ws->config;
	const struct head *head = &http->head;
	struct ws_head seen = head_of(http);

	if (strcmp(head->method, "GET") != 0 || head->http_1_0 || head->length > 0 ||
		head->chunked || !head_lists(head, "Upgrade", "websocket") ||
		!head_lists(head, "Connection", "upgrade") || !is_key(key)) {
		*why = "the only upgrade is GET to websocket, by HTTP/1.1 and with a key";
		return 400;
	}
	if (!head_lists(head, "Sec-WebSocket-Version", "13")) {
		*why = "version 13 of the websocket protocol is what this server speaks";
		return 426;
	}
	if (head_has(head, "Sec-WebSocket-Protocol") &&
		!head_lists(head, "Sec-WebSocket-Protocol", "phoenix")) {
		*why = "the only subprotocol is phoenix";
		return 400;
	}
	if (http->ws->nsockets >= config->max_sockets) {
		*why = "too many connections";
		return 503;
	}
	return config->ops->handshake(config->arg, &seen, user, why);
}

/* lws answers the handshake, but sees no word of the peer's in it, the key apart. What the peer has
 * sent behind it follows. lws reports errors where there are none when a socket is handed over like
 * this.
 */
static void upgrade(struct ws_http *http, struct slice rest)
{
	struct ws *ws = http->ws;
	struct buf b = { 0 };
	const char *why = NULL;
	void *user = NULL;
	char *key = head_field(&http->head, "Sec-WebSocket-Key");
	/* RFC 6455, 5.1. A client has no reason to send the beginning of a header. */
	bool unmasked = rest.n == 1 || (rest.n > 1 && (rest.p[1] & 0x80) == 0);
	int status = unmasked ? 400 : judge_handshake(http, key, &user, &why);

	if (unmasked)
		why = "frames of a client are masked";
	if (status != 101) {
		refuse(http, status, why, status == 426 ? "Sec-WebSocket-Version: 13" : NULL);
		free(key);
		return;
	}
	buf_addf(&b,
		"GET / HTTP/1.1\r\nHost: -\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n",
		key,
		head_has(&http->head, "Sec-WebSocket-Protocol")
			? "Sec-WebSocket-Protocol: phoenix\r\n"
			: "");
	buf_add(&b, rest.p, rest.n);
	free(key);
	ws->adopting = ws_peer_new(ws, user, rest.n > 0);
	lws_adopt_socket_vhost_readbuf(ws->vhost, release(http), b.p, b.n);
	buf_free(&b);
	if (ws->adopting != NULL) { /* it came to nothing */
		ws_socket_free(ws->adopting);
		ws->adopting = NULL;
	}
}

/* ---- heads ---- */

static void take_head(struct ws_http *http, size_t size)
{
	const struct slice rest = { http->in.p + size, http->in.n - size };
	const char *why = NULL;
	int status = head_parse(http->in.p, size, &http->head, &why);

	if (status != 0)
		refuse(http, status, why, NULL);
	else if (head_has(&http->head, "Upgrade"))
		upgrade(http, rest);
	else
		begin_request(http, rest);
}

static void read_head(struct ws_http *http)
{
	size_t seen = http->in.n, n, size;

	buf_reserve(&http->in, seen == 0 ? 2048 : HEAD_MAX - seen);
	n = receive(http, http->in.p + seen, http->in.cap - 1 - seen);
	if (n == 0)
		return;
	http->in.n += n;
	count(http);
	size = head_size(http->in.p, http->in.n, seen);
	if (size > 0 && size <= HEAD_MAX)
		take_head(http, size);
	else if (http->in.n >= HEAD_MAX)
		refuse(http, 431, "the head of the request is too long", NULL);
}

/* ---- events ---- */

static void linger(struct ws_http *http)
{
	static char dropped[65536];

	if (receive(http, dropped, sizeof(dropped)) > 0 && http->moved > LINGER_BYTES)
		close_connection(http);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct ws_http *http = poll->data;

	(void)events;
	if (status < 0) {
		close_connection(http);
		return;
	}
	switch (http->state) {
	case WS_HEAD: read_head(http); break;
	case WS_BODY: read_body(http); break;
	case WS_WAITING: close_connection(http); break;
	case WS_ANSWERED: write_answer(http); break;
	case WS_LINGERING: linger(http); break;
	case WS_CLOSED: break;
	}
}

void ws_http_new(struct ws *ws, int fd, unsigned serves)
{
	struct ws_http *http = xcalloc(1, sizeof(*http));

	http->ws = ws;
	http->fd = fd;
	http->serves = serves;
	read_address(http->address, fd);
	if (uv_poll_init(ws->loop, &http->poll, fd) != 0) {
		close(fd);
		free(http);
		return;
	}
	/* Many honest ones may come from there at once; then their requests come as well. */
	if (connections_from(ws, http->address) >= limit_of(ws, http->address))
		(void)ws_http_drop(ws, http->address, CROWD_MS);
	http->poll.data = http;
	TAILQ_INSERT_TAIL(&ws->http_connections, http, link);
	metrics_set(ws->stat_http, ++ws->nhttp);
	enter(http, WS_HEAD);
	read_head(http); /* most often it is there already */
}

/* Does it make no progress? */
static bool stalls(struct ws_http *http, uint64_t now)
{
	if (now - http->since < (uint64_t)http->ws->config.stall * 1000)
		return false;
	if (http->moved < WS_PROGRESS)
		return true;
	http->since = now;
	http->moved = 0;
	return false;
}

static void tick(struct ws_http *http, uint64_t now)
{
	bool late = false;

	switch (http->state) {
	case WS_HEAD: late = now - http->since >= HEAD_MS; break;
	case WS_BODY:
	case WS_ANSWERED: late = stalls(http, now); break;
	case WS_LINGERING: late = now - http->since >= CLOSE_WAIT_MS; break;
	default: break;
	}
	if (!late)
		return;
	if (http->state != WS_LINGERING)
		count_dropped("stalled");
	if (http->state == WS_BODY)
		refuse(http, 408, "the body does not come", NULL);
	else
		close_connection(http);
}

void ws_http_tick(struct ws *ws)
{
	struct ws_http *http, *next;

	for (http = TAILQ_FIRST(&ws->http_connections); http != NULL; http = next) {
		next = TAILQ_NEXT(http, link);
		tick(http, uv_now(ws->loop));
	}
}

void ws_http_close(struct ws *ws)
{
	while (!TAILQ_EMPTY(&ws->http_connections))
		close_connection(TAILQ_FIRST(&ws->http_connections));
}

bool ws_has_requests(const struct ws *ws)
{
	const struct ws_http *http;

	TAILQ_FOREACH (http, &ws->http_connections, link)
		if (http->state == WS_WAITING || http->state == WS_ANSWERED)
			return true;
	return false;
}

int ws_other_connections(const struct ws *ws)
{
	return ws->nhttp;
}

/*
 * ws: callers, connections that have not proved who they are: from the acceptance until they have
 * their answer or are a peer. Invariants: there are never more of them than may be; whatever one is
 * waited for, it has to make progress; and one that has sent no whole request makes room for
 * another.
 */
#include "ws_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MS 10000
#define CLOSE_WAIT_MS 2000
#define CROWD_MS 2000 /* for the callers of one address, beyond their number */
#define LINGER_BYTES (4 * 1024 * 1024)

static void count_dropped(const char *reason)
{
	metrics_add(metrics_seriesf(METRIC_CALLERS_DROPPED, "reason=\"%s\"", reason), 1);
}

static void read_address(char text[INET6_ADDRSTRLEN], int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)&a)->sin6_addr;

	if (getpeername(fd, (struct sockaddr *)&a, &len) != 0)
		strcpy(text, "unknown");
	else if (a.ss_family == AF_UNIX)
		strcpy(text, "unix");
	else if (a.ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)&a)->sin_addr, text,
			INET6_ADDRSTRLEN);
	else if (IN6_IS_ADDR_V4MAPPED(v6)) /* on a socket of systemd's */
		inet_ntop(AF_INET, &v6->s6_addr[12], text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, v6, text, INET6_ADDRSTRLEN);
}

void ws_caller_count(struct ws_http *http)
{
	struct ws_buffered now = { .requests = http->in.cap + http->out.cap };

	if (http->state == WS_BODY)
		now.bodies = http->length;
	if (ws_count(http->ws, &http->counted, now))
		ws_tell_held(http->ws);
}

size_t ws_caller_receive(struct ws_http *http, void *p, size_t n)
{
	ssize_t got = recv(http->fd, p, n, 0);

	if (got > 0) {
		http->moved += (size_t)got;
		return (size_t)got;
	}
	if (got == 0 || (errno != EAGAIN && errno != EINTR))
		ws_caller_close(http);
	return 0;
}

static void linger(struct ws_http *http)
{
	static char dropped[65536];

	if (ws_caller_receive(http, dropped, sizeof(dropped)) > 0 && http->moved > LINGER_BYTES)
		ws_caller_close(http);
}

static void judge(struct ws_http *http, size_t size)
{
	const struct slice rest = { http->in.p + size, http->in.n - size };
	const char *why = NULL;
	int status = head_parse(http->in.p, size, &http->head, &why);

	if (status != 0)
		ws_http_refuse(http, status, why, NULL);
	else if (head_has(&http->head, "Upgrade"))
		ws_upgrade(http, rest);
	else
		ws_http_begin(http, rest);
}

static void read_head(struct ws_http *http)
{
	size_t seen = http->in.n, n, size;

	buf_reserve(&http->in, seen == 0 ? 2048 : HEAD_MAX - seen);
	n = ws_caller_receive(http, http->in.p + seen, http->in.cap - 1 - seen);
	if (n == 0)
		return;
	http->in.n += n;
	ws_caller_count(http);
	size = head_size(http->in.p, http->in.n, seen);
	if (size > 0 && size <= HEAD_MAX)
		judge(http, size);
	else if (http->in.n >= HEAD_MAX)
		ws_http_refuse(http, 431, "the head of the request is too long", NULL);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct ws_http *http = poll->data;

	(void)events;
	if (status < 0) {
		ws_caller_close(http);
		return;
	}
	switch (http->state) {
	case WS_HEAD: read_head(http); break;
	case WS_BODY: ws_http_body(http); break;
	case WS_WAITING: ws_caller_close(http); break;
	case WS_ANSWERED: ws_http_write(http); break;
	case WS_LINGERING: linger(http); break;
	case WS_CLOSED: break;
	}
}

void ws_caller_enter(struct ws_http *http, enum ws_state state)
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

/* So many may come from this address (NULL: from all). */
static int limit_of(const struct ws *ws, const char *address)
{
	const struct ws_config *config = &ws->config;
	int n = config->ops->callers != NULL ? config->ops->callers(config->arg, address)
					     : config->max_callers;

	return n < config->max_callers ? n : config->max_callers;
}

static int callers_from(const struct ws *ws, const char *address)
{
	const struct ws_http *http;
	int n = 0;

	TAILQ_FOREACH (http, &ws->callers, link)
		n += strcmp(http->address, address) == 0;
	return n;
}

bool ws_callers_full(const struct ws *ws)
{
	return ws->ncallers >= limit_of(ws, NULL);
}

/* The rest of the places is for handshakes. */
bool ws_callers_busy(const struct ws *ws)
{
	const struct ws_http *http;
	int n = 0, limit = limit_of(ws, NULL);

	TAILQ_FOREACH (http, &ws->callers, link)
		n += http->state == WS_BODY || http->state == WS_WAITING;
	return n > limit - limit / 4;
}

/* The oldest that has no request, or that does not take its answer; else the oldest whose body is
 * not there. */
static struct ws_http *to_drop(const struct ws *ws, const char *address)
{
	struct ws_http *http, *found = NULL;

	TAILQ_FOREACH (http, &ws->callers, link) {
		if (address != NULL && strcmp(http->address, address) != 0)
			continue;
		if (http->state == WS_BODY && found == NULL)
			found = http;
		else if (http->state != WS_BODY && http->state != WS_WAITING)
			return http;
	}
	return found;
}

bool ws_caller_drop(struct ws *ws, const char *address, uint64_t silent)
{
	struct ws_http *http = to_drop(ws, address);

	if (http == NULL || uv_now(ws->loop) - http->since < silent)
		return false;
	count_dropped("crowded");
	ws_caller_close(http);
	return true;
}

void ws_caller_new(struct ws *ws, int fd, unsigned serves)
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
	if (callers_from(ws, http->address) >= limit_of(ws, http->address))
		(void)ws_caller_drop(ws, http->address, CROWD_MS);
	http->poll.data = http;
	TAILQ_INSERT_TAIL(&ws->callers, http, link);
	metrics_set(ws->stat_callers, ++ws->ncallers);
	ws_caller_enter(http, WS_HEAD);
	read_head(http); /* most often it is there already */
}

static void on_closed(uv_handle_t *handle)
{
	struct ws_http *http = handle->data;

	buf_free(&http->in); /* which whoever closed it may have been looking at */
	free(http);
}

int ws_caller_release(struct ws_http *http)
{
	http->state = WS_CLOSED;
	TAILQ_REMOVE(&http->ws->callers, http, link);
	metrics_set(http->ws->stat_callers, --http->ws->ncallers);
	uv_close((uv_handle_t *)&http->poll, on_closed);
	if (uv_is_active((uv_handle_t *)&http->ws->room))
		ws_listen_again(http->ws);
	buf_free(&http->body);
	buf_free(&http->out);
	if (ws_count(http->ws, &http->counted, (struct ws_buffered){ 0 }))
		ws_tell_held(http->ws);
	return http->fd;
}

void ws_caller_close(struct ws_http *http)
{
	bool unanswered = http->state == WS_WAITING;

	if (http->state == WS_CLOSED)
		return;
	close(ws_caller_release(http));
	if (unanswered)
		http->ws->config.ops->request_gone(http->user);
}

/* Does the caller make no progress? */
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
		ws_http_refuse(http, 408, "the body does not come", NULL);
	else
		ws_caller_close(http);
}

void ws_callers_tick(struct ws *ws)
{
	struct ws_http *http, *next;

	for (http = TAILQ_FIRST(&ws->callers); http != NULL; http = next) {
		next = TAILQ_NEXT(http, link);
		tick(http, uv_now(ws->loop));
	}
}

void ws_callers_close(struct ws *ws)
{
	while (!TAILQ_EMPTY(&ws->callers))
		ws_caller_close(TAILQ_FIRST(&ws->callers));
}

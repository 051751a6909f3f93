/*
 * ws: the server. Brings lws up on our loop, tells its callbacks apart, and owns the timer on which
 * everything happens that must not happen inside a callback: closing, pinging, going down.
 */
#include "ws_private.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define BUFFER 65536 /* lws's own 4 KiB would cut the speed of 10 KB messages to a third */
#define MAX_HEADERS 16384
#define HANDSHAKE_SECONDS 10
#define MAX_DESCRIPTORS (1 << 17)

static int conn_new(struct lws *wsi)
{
	struct conn *conn = xcalloc(1, sizeof(*conn));

	conn->ws = lws_context_user(lws_get_context(wsi));
	conn->ws->nconns++;
	conn->serves = conn->ws->accepting;
	lws_set_opaque_user_data(wsi, conn);
	return 0;
}

static void conn_free(struct conn *conn)
{
	if (conn->http != NULL)
		ws_http_free(conn->http);
	if (conn->peer != NULL)
		ws_peer_free(conn->peer);
	conn->ws->nconns--;
	free(conn);
}

/* Returning anything but 0 makes lws hang up. */
static int on_http(
	struct conn *conn, struct lws *wsi, enum lws_callback_reasons reason, void *in, size_t len)
{
	switch (reason) {
	case LWS_CALLBACK_HTTP: return ws_http_begin(conn, wsi);
	case LWS_CALLBACK_HTTP_BODY:
		if (conn->http != NULL)
			ws_http_body(conn->http, in, len);
		return 0;
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		if (conn->http != NULL)
			ws_http_complete(conn->http);
		return 0;
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return conn->http != NULL ? ws_http_writable(conn->http) : 0;
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: return ws_peer_upgrade(conn, wsi, in);
	case LWS_CALLBACK_RAW_ADOPT: return -1; /* what lws makes of the method CONNECT */
	default: return 0;
	}
}

static int on_peer(struct ws_peer *peer, struct lws *wsi, enum lws_callback_reasons reason,
	const void *in, size_t len)
{
	switch (reason) {
	case LWS_CALLBACK_ESTABLISHED: ws_peer_open(peer, wsi); return 0;
	case LWS_CALLBACK_RECEIVE: ws_peer_receive(peer, in, len); return 0;
	case LWS_CALLBACK_RECEIVE_PONG: ws_peer_pong(peer); return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE: ws_peer_writable(peer); return 0;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: ws_peer_leaving(peer); return 0;
	case LWS_CALLBACK_CLOSED: ws_peer_closed(peer); return 0;
	default: return 0;
	}
}

static int on_lws(
	struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct conn *conn = wsi != NULL ? lws_get_opaque_user_data(wsi) : NULL;

	(void)user;
	if (reason == LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED)
		return conn_new(wsi);
	/* Whatever comes to the end of a handshake without having passed ws_peer_upgrade has found
	 * a way around it. */
	if (reason == LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION)
		return conn != NULL && conn->peer != NULL ? 0 : -1;
	if (conn == NULL) /* one of lws's own sockets */
		return 0;
	if (reason == LWS_CALLBACK_WSI_DESTROY) {
		conn_free(conn);
		return 0;
	}
	return conn->peer != NULL ? on_peer(conn->peer, wsi, reason, in, len)
				  : on_http(conn, wsi, reason, in, len);
}

static void on_log(int level, const char *line)
{
	log_line(level == LLL_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "lws: %.*s",
		(int)strcspn(line, "\n"), line);
}

static void on_timer(uv_timer_t *timer)
{
	struct ws *ws = timer->data;

	if (ws->stopping) {
		uv_close((uv_handle_t *)timer, NULL);
		uv_close((uv_handle_t *)&ws->turn, NULL);
		lws_context_destroy(ws->lws);
		return;
	}
	ws_peers_tick(ws);
	ws_http_tick(ws);
}

/* An eighth of the silence is how exactly it is kept; a second is how soon it is noticed that the
 * client of an unanswered request is gone. */
static uint64_t period(const struct ws *ws)
{
	return ws->config.silence < 8 ? (uint64_t)ws->config.silence * 125 : 1000;
}

void ws_nudge(struct ws *ws)
{
	uv_timer_start(&ws->timer, on_timer, 0, period(ws));
}

/* The replies of a batch, and those to all the frames of one read, come together within one turn of
 * the loop. This is the last that happens before it waits again. */
static void on_turn(uv_prepare_t *turn)
{
	uv_prepare_stop(turn);
	ws_peers_write(turn->data);
}

void ws_due(struct ws *ws)
{
	if (!uv_is_closing((uv_handle_t *)&ws->turn))
		uv_prepare_start(&ws->turn, on_turn);
}

/* lws fills two tables with as many entries as there may be descriptors; some containers allow a
 * thousand million. */
static void bound_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur <= MAX_DESCRIPTORS)
		return;
	limit.rlim_cur = MAX_DESCRIPTORS;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		fatal("setrlimit");
}

struct ws *ws_new(uv_loop_t *loop, const struct ws_config *config)
{
	/* The first one is also that of the clients that ask for none. */
	static const struct lws_protocols protocols[] = {
		{ .name = "phoenix",
			.callback = on_lws,
			.rx_buffer_size = BUFFER,
			.tx_packet_size = BUFFER },
		{ 0 },
	};
	/* lws's own pings would take a peer that we do not read for a dead one. */
	static const lws_retry_bo_t no_pings;
	struct ws *ws = xcalloc(1, sizeof(*ws));
	void *loops[] = { loop };
	struct lws_context_creation_info info = {
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
		.foreign_loops = loops,
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.protocols = protocols,
		.vhost_name = "ws",
		.retry_and_idle_policy = &no_pings,
		.timeout_secs = HANDSHAKE_SECONDS,
		.max_http_header_data = MAX_HEADERS,
		.pt_serv_buf_size = BUFFER,
		.user = ws,
	};

	ws->loop = loop;
	ws->config = *config;
	ws->stat_in = stats_series(STATS_BYTES_IN, NULL);
	ws->stat_out = stats_series(STATS_BYTES_OUT, NULL);
	ws->stat_choked = stats_series(STATS_SOCKETS_PAUSED, "reason=\"output\"");
	ws->stat_chokes = stats_series(STATS_PAUSES, "reason=\"output\"");
	ws->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	TAILQ_INIT(&ws->peers);
	TAILQ_INIT(&ws->due);
	TAILQ_INIT(&ws->requests);
	LIST_INIT(&ws->listeners);
	bound_descriptors();
	lws_set_log_level(LLL_ERR | LLL_WARN, on_log);
	ws->lws = lws_create_context(&info);
	if (ws->lws == NULL)
		fatalx("libwebsockets does not start; is libwebsockets-evlib-uv installed?");
	ws->vhost = lws_create_vhost(ws->lws, &info);
	if (ws->vhost == NULL)
		fatalx("libwebsockets makes no virtual host");
	uv_timer_init(loop, &ws->timer);
	uv_prepare_init(loop, &ws->turn);
	ws->timer.data = ws->turn.data = ws;
	uv_timer_start(&ws->timer, on_timer, period(ws), period(ws));
	return ws;
}

bool ws_is_asked(const struct ws *ws)
{
	return !TAILQ_EMPTY(&ws->requests);
}

int ws_callers(const struct ws *ws)
{
	return ws->nconns - ws->npeers;
}

void ws_shutdown(struct ws *ws)
{
	ws_stop_listening(ws);
	ws->stopping = true;
	ws_nudge(ws);
}

void ws_free(struct ws *ws)
{
	lws_context_destroy(ws->lws);
	assert(ws->nconns == 0);
	close(ws->spare);
	free(ws);
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

bool ws_head_read(struct head *head, struct lws *wsi)
{
	static const char *const methods[] = {
		[LWSHUMETH_GET] = "GET",
		[LWSHUMETH_POST] = "POST",
		[LWSHUMETH_OPTIONS] = "OPTIONS",
		[LWSHUMETH_PUT] = "PUT",
		[LWSHUMETH_PATCH] = "PATCH",
		[LWSHUMETH_DELETE] = "DELETE",
		[LWSHUMETH_HEAD] = "HEAD",
	};
	char *path;
	const struct conn *conn = lws_get_opaque_user_data(wsi);
	int n, method = lws_http_get_uri_and_method(wsi, &path, &n);

	if (method < 0 || method >= (int)countof(methods) || methods[method] == NULL)
		return false;
	head->ws = (struct ws_head){ methods[method], path, head->address, conn->serves, wsi };
	read_address(head->address, lws_get_socket_fd(wsi));
	return true;
}

char *ws_query(const struct ws_head *head, const char *name)
{
	size_t len = strlen(name);
	char arg[MAX_HEADERS];

	for (int i = 0;
		lws_hdr_copy_fragment(head->lws, arg, sizeof(arg), WSI_TOKEN_HTTP_URI_ARGS, i) >= 0;
		i++) {
		if (strncmp(arg, name, len) == 0 && arg[len] == '=')
			return xstrdup(arg + len + 1);
	}
	return NULL;
}

/* lws keeps headers that it knows under a number and all others under their names; both spelt in
 * lower case and with the colon. */
char *ws_header(const struct ws_head *head, const char *name)
{
	char key[64], value[MAX_HEADERS];
	const unsigned char *known;
	int n = snprintf(key, sizeof(key), "%s:", name);

	if (n < 0 || n >= (int)sizeof(key))
		return NULL;
	for (char *c = key; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	for (int token = 0; (known = lws_token_to_string(token)) != NULL; token++) {
		if (strcmp((const char *)known, key) == 0)
			return lws_hdr_copy(head->lws, value, sizeof(value), token) > 0
				       ? xstrdup(value)
				       : NULL;
	}
	return lws_hdr_custom_copy(head->lws, value, sizeof(value), key, n) >= 0 ? xstrdup(value)
										 : NULL;
}

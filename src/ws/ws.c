/*
 * ws: the server. Brings lws up on our loop, tells its callbacks apart, and owns the timer on which
 * everything happens that must not happen inside a callback: closing, pinging, going down.
 */
#include "ws_private.h"

#include "ws/http_head.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define BUFFER 65536 /* lws's own 4 KiB would cut the speed of 10 KB messages to a third */
#define HANDSHAKE_SECONDS 10
#define MAX_DESCRIPTORS (1 << 17)

static int on_peer(struct ws_socket *peer, struct lws *wsi, enum lws_callback_reasons reason,
	const void *in, size_t len)
{
	switch (reason) {
	case LWS_CALLBACK_ESTABLISHED: ws_socket_open(peer, wsi); return 0;
	case LWS_CALLBACK_RECEIVE: ws_socket_receive(peer, in, len); return 0;
	case LWS_CALLBACK_RECEIVE_PONG: ws_socket_pong(peer); return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE: ws_socket_writable(peer); return 0;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		ws_socket_leaving(peer, (struct slice){ in, len });
		return 0;
	case LWS_CALLBACK_CLOSED: ws_socket_closed(peer); return 0;
	default: return 0;
	}
}

static int on_lws(
	struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct ws_socket *peer = wsi != NULL ? lws_get_opaque_user_data(wsi) : NULL;

	(void)user;
	if (reason == LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED) {
		struct ws *ws = lws_context_user(lws_get_context(wsi));

		lws_set_opaque_user_data(wsi, ws->adopting);
		ws->adopting = NULL;
		return 0;
	}
	/* Nothing but an accepted handshake gets here; whatever else does is hung up on. */
	if (reason == LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION ||
		reason == LWS_CALLBACK_HTTP_CONFIRM_UPGRADE)
		return peer != NULL ? 0 : -1;
	if (reason == LWS_CALLBACK_HTTP || reason == LWS_CALLBACK_RAW_ADOPT)
		return -1;
	if (peer == NULL) /* one of lws's own sockets */
		return 0;
	if (reason == LWS_CALLBACK_WSI_DESTROY) {
		ws_socket_free(peer);
		return 0;
	}
	return on_peer(peer, wsi, reason, in, len);
}

/* What lws says is about its peers, who must not be able to fill the log. What concerns us, it
 * returns. */
static void on_log(int level, const char *line)
{
	(void)level;
	log_debug("lws: %.*s", (int)strcspn(line, "\n"), line);
}

static void on_timer(uv_timer_t *timer)
{
	struct ws *ws = timer->data;

	if (ws->stopping) {
		uv_close((uv_handle_t *)timer, NULL);
		uv_close((uv_handle_t *)&ws->turn, NULL);
		uv_close((uv_handle_t *)&ws->room, NULL);
		ws_http_close(ws);
		lws_context_destroy(ws->lws);
		return;
	}
	ws_sockets_tick(ws);
	ws_http_tick(ws);
}

/* An eighth of the silence is how exactly it is kept, but a second at most. */
static uint64_t period(const struct ws *ws)
{
	return ws->config.silence < 8 ? (uint64_t)ws->config.silence * 125 : 1000;
}

void ws_run_timer(struct ws *ws)
{
	uv_timer_start(&ws->timer, on_timer, 0, period(ws));
}

/* The replies of a batch, and those to all the frames of one read, come together within one turn of
 * the loop. This is the last that happens before it waits again. */
static void on_turn(uv_prepare_t *turn)
{
	uv_prepare_stop(turn);
	ws_sockets_write(turn->data);
}

void ws_schedule_write(struct ws *ws)
{
	if (!uv_is_closing((uv_handle_t *)&ws->turn))
		uv_prepare_start(&ws->turn, on_turn);
}

/* lws fills two tables with as many entries as there may be descriptors; some containers allow a
 * thousand million. */
int ws_max_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		fatal("getrlimit");
	if (limit.rlim_cur > MAX_DESCRIPTORS) {
		limit.rlim_cur = MAX_DESCRIPTORS;
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			fatal("setrlimit");
	}
	return (int)limit.rlim_cur;
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
		.pt_serv_buf_size = BUFFER,
		.user = ws,
	};

	ws->loop = loop;
	ws->config = *config;
	ws->stat_in = metrics_series(METRIC_BYTES_IN, NULL);
	ws->stat_out = metrics_series(METRIC_BYTES_OUT, NULL);
	ws->stat_output_full = metrics_series(METRIC_SOCKETS_PAUSED, "reason=\"output\"");
	ws->stat_output_pauses = metrics_series(METRIC_SOCKET_PAUSES, "reason=\"output\"");
	ws->stat_http = metrics_series(METRIC_HTTP_CONNECTIONS, NULL);
	ws->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	TAILQ_INIT(&ws->peers);
	TAILQ_INIT(&ws->due);
	TAILQ_INIT(&ws->http_connections);
	LIST_INIT(&ws->listeners);
	ws_max_descriptors();
	lws_set_log_level(LLL_ERR | LLL_WARN, on_log);
	ws->lws = lws_create_context(&info);
	if (ws->lws == NULL)
		fatalx("libwebsockets does not start; is libwebsockets-evlib-uv installed?");
	ws->vhost = lws_create_vhost(ws->lws, &info);
	if (ws->vhost == NULL)
		fatalx("libwebsockets makes no virtual host");
	uv_timer_init(loop, &ws->timer);
	uv_prepare_init(loop, &ws->turn);
	uv_timer_init(loop, &ws->room);
	ws->timer.data = ws->turn.data = ws->room.data = ws;
	uv_timer_start(&ws->timer, on_timer, period(ws), period(ws));
	return ws;
}

bool ws_count(struct ws *ws, struct ws_buffered *counted, struct ws_buffered now)
{
	bool changed = memcmp(counted, &now, sizeof(now)) != 0;

	ws->buffered.incoming += now.incoming - counted->incoming;
	ws->buffered.queued += now.queued - counted->queued;
	ws->buffered.bodies += now.bodies - counted->bodies;
	ws->buffered.requests += now.requests - counted->requests;
	*counted = now;
	return changed;
}

void ws_notify_buffered(struct ws *ws)
{
	if (ws->config.ops->buffered != NULL)
		ws->config.ops->buffered(ws->config.arg);
}

struct ws_buffered ws_buffered(const struct ws *ws)
{
	return ws->buffered;
}

void ws_shutdown(struct ws *ws)
{
	ws_stop_listening(ws);
	ws->stopping = true;
	ws_run_timer(ws);
}

void ws_free(struct ws *ws)
{
	lws_context_destroy(ws->lws);
	assert(ws->nsockets == 0 && ws->nhttp == 0);
	close(ws->spare);
	free(ws);
}

char *ws_query(const struct ws_head *head, const char *name)
{
	return head_parameter(head->head, name);
}

char *ws_header(const struct ws_head *head, const char *name)
{
	return head_field(head->head, name);
}

/*
 * A server over ws.h alone, for tests/wire/ws.test.mjs: it echoes, and does on request what the
 * daemon would do of its own. Prints each bound address on stdout, then `ready`; goes down cleanly
 * on SIGTERM and says how many callbacks it saw.
 *
 *   ws_echo [name=number …] address …
 */
#include "ws/ws.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>

struct peer {
	struct ws_socket *ws;
	uv_timer_t timer; /* carries out what `later` says */
	char *later;
	bool open;
};

struct late {
	uv_timer_t timer;
	struct ws_http *http;
	int code;
};

static uv_loop_t loop;
static struct ws *server;
static int handshakes, accepted, opens, closes, messages, gone;
static size_t most_queued;
static const size_t max_body = 1 << 20;

static void carry_out(struct peer *peer, const char *command);

static void free_handle_data(uv_handle_t *handle)
{
	free(handle->data);
}

static int handshake(void *arg, const struct ws_head *head, void **user, const char **why)
{
	char *token = ws_query(head, "token");
	int status = 101;

	(void)arg;
	handshakes++;
	if (strcmp(head->path, "/ws") != 0)
		status = 404, *why = "not here";
	else if (token == NULL)
		status = 401, *why = "no token";
	else if (strcmp(token, "busy") == 0)
		status = 503, *why = "the database is away";
	else if (strcmp(token, "go od+") != 0)
		status = 401, *why = "bad token";
	free(token);
	if (status == 101) {
		struct peer *peer = xcalloc(1, sizeof(*peer));

		uv_timer_init(&loop, &peer->timer);
		peer->timer.data = peer;
		*user = peer;
		accepted++;
	}
	return status;
}

static void on_open(void *user, struct ws_socket *ws)
{
	struct peer *peer = user;

	opens++;
	peer->ws = ws;
	peer->open = true;
}

static void send_text(struct peer *peer, const char *p, size_t n, bool binary)
{
	struct buf b = { 0 };

	ws_reserve_header(&b);
	buf_add(&b, p, n);
	ws_send(peer->ws, &b, binary);
	if (ws_buffered(server).queued > most_queued)
		most_queued = ws_buffered(server).queued;
}

static void on_later(uv_timer_t *timer)
{
	struct peer *peer = timer->data;
	char *command = peer->later;

	peer->later = NULL;
	carry_out(peer, command);
	free(command);
}

static void report(struct peer *peer)
{
	char text[256];
	int n = snprintf(text, sizeof(text),
		"{\"handshakes\":%d,\"opens\":%d,\"closes\":%d,\"messages\":%d,\"gone\":%d,"
		"\"queued\":%zu,\"most\":%zu}",
		handshakes, opens, closes, messages, gone, ws_buffered(server).queued, most_queued);

	send_text(peer, text, (size_t)n, false);
}

static void carry_out(struct peer *peer, const char *command)
{
	int a = 0, b = 0;

	if (sscanf(command, "!close %d", &a) == 1) {
		ws_close(peer->ws, a);
	} else if (strcmp(command, "!abort") == 0) {
		ws_abort(peer->ws);
	} else if (strcmp(command, "!resume") == 0) {
		ws_resume(peer->ws);
	} else if (strcmp(command, "!hold") == 0) {
		ws_pause(peer->ws);
	} else if (sscanf(command, "!pause %d", &a) == 1) {
		ws_pause(peer->ws);
		peer->later = xstrdup("!resume");
		uv_timer_start(&peer->timer, on_later, (uint64_t)a, 0);
	} else if (strncmp(command, "!later ", 7) == 0) {
		peer->later = xstrdup(command + 7);
		uv_timer_start(&peer->timer, on_later, 50, 0);
	} else if (sscanf(command, "!send %d %d", &a, &b) == 2) { /* so many, of so many bytes */
		char *text = xcalloc(1, (size_t)b + 1);

		memset(text, 'x', (size_t)b);
		for (int i = 0; i < a; i++)
			send_text(peer, text, (size_t)b, false);
		free(text);
	} else if (sscanf(command, "!send-close %d %d", &a, &b) == 2) {
		char *text = xcalloc(1, (size_t)a + 1);

		memset(text, 'x', (size_t)a);
		send_text(peer, text, (size_t)a, false);
		ws_close(peer->ws, b);
		send_text(peer, "never", 5, false);
		free(text);
	} else if (strcmp(command, "!stats") == 0) {
		report(peer);
	}
}

static void on_message(void *user, char *data, size_t n, bool binary, bool cut)
{
	struct peer *peer = user;

	assert(peer->open && data[n] == '\0');
	messages++;
	if (cut) {
		char text[64];

		/* The head, and behind a NUL the tail. */
		size_t head = strlen(data), tail = head < n ? n - head - 1 : 0;

		snprintf(text, sizeof(text), "cut %zu %.4s %zu %s", head, data, tail,
			tail >= 4 ? data + n - 4 : "");
		send_text(peer, text, strlen(text), false);
	} else if (data[0] == '!') {
		carry_out(peer, data);
	} else {
		send_text(peer, data, n, binary);
	}
	free(data);
}

static void on_closed(void *user, enum ws_end how, int code)
{
	struct peer *peer = user;

	(void)how;
	(void)code;
	closes++;
	free(peer->later);
	uv_close((uv_handle_t *)&peer->timer, free_handle_data);
}

static void answer(struct ws_http *http, int status, const char *text)
{
	ws_http_reply(http, status, NULL, NULL, slice_of(text));
}

static void on_late(uv_timer_t *timer)
{
	struct late *late = timer->data;

	answer(late->http, 200, "late");
	uv_close((uv_handle_t *)timer, free_handle_data);
}

static void answer_late(struct ws_http *http, int ms)
{
	struct late *late = xcalloc(1, sizeof(*late));

	late->http = http;
	uv_timer_init(&loop, &late->timer);
	late->timer.data = late;
	ws_http_set_user(http, late);
	uv_timer_start(&late->timer, on_late, (uint64_t)ms, 0);
}

static void on_head(void *arg, struct ws_http *http, const struct ws_head *head, size_t length)
{
	(void)arg;
	if (length > max_body)
		answer(http, 413, "too large");
	else if (strcmp(head->path, "/refused") == 0)
		answer(http, 404, "refused by its head");
}

static void on_request(
	void *arg, struct ws_http *http, const struct ws_head *head, struct buf *body)
{
	char *ms = ws_query(head, "ms"), *size = ws_query(head, "size");

	(void)arg;
	if (strcmp(head->path, "/late") == 0 && ms != NULL) {
		answer_late(http, atoi(ms));
	} else if (strcmp(head->path, "/echo") == 0) {
		ws_http_reply(http, 200, "application/json", "Retry-After: 1",
			(struct slice){ body->p, body->n });
	} else if (strcmp(head->path, "/big") == 0 && size != NULL) {
		char *text = xcalloc(1, (size_t)atoi(size) + 1);

		memset(text, 'y', (size_t)atoi(size));
		answer(http, 200, text);
		free(text);
	} else if (strcmp(head->path, "/about") == 0) {
		char *test = ws_header(head, "X-Test"), *type = ws_header(head, "content-type");
		char *text = xasprintf("%s %s %s %s %zu", head->method, head->address,
			test != NULL ? test : "-", type != NULL ? type : "-", body->n);

		answer(http, 200, text);
		free(test);
		free(type);
		free(text);
	} else {
		answer(http, 404, head->path);
	}
	free(ms);
	free(size);
}

/* Only those that are to be answered late can go away before. */
static void on_request_gone(void *user)
{
	struct late *late = user;

	gone++;
	uv_close((uv_handle_t *)&late->timer, free_handle_data);
}

static void on_signal(uv_signal_t *handle, int number)
{
	(void)number;
	uv_close((uv_handle_t *)handle, NULL);
	ws_shutdown(server);
}

int main(int argc, char **argv)
{
	static const struct ws_ops ops = { .handshake = handshake,
		.open = on_open,
		.message = on_message,
		.closed = on_closed,
		.head = on_head,
		.request = on_request,
		.request_gone = on_request_gone };
	struct ws_config config = { .max_message = 4 << 20,
		.soft = 256 << 10,
		.hard = 16 << 20,
		.silence = 60,
		.stall = 10,
		.max_sockets = 1000,
		.max_http_connections = 1000,
		.ops = &ops };
	struct buf bound = { 0 };
	uv_signal_t terminate;
	int value, i;

	signal(SIGPIPE, SIG_IGN);
	for (i = 1; i < argc && strchr(argv[i], '=') != NULL; i++) {
		if (sscanf(argv[i], "max_message=%d", &value) == 1)
			config.max_message = (size_t)value;
		else if (sscanf(argv[i], "hard=%d", &value) == 1)
			config.hard = (size_t)value;
		else if (sscanf(argv[i], "silence=%d", &value) == 1)
			config.silence = value;
		else if (sscanf(argv[i], "stall=%d", &value) == 1)
			config.stall = value;
		else if (sscanf(argv[i], "max_peers=%d", &value) == 1)
			config.max_sockets = value;
		else if (sscanf(argv[i], "max_http_connections=%d", &value) == 1)
			config.max_http_connections = value;
	}
	uv_loop_init(&loop);
	server = ws_new(&loop, &config);
	for (; i < argc; i++) {
		if (!ws_listen(server, argv[i], WS_WORKERS, &bound))
			fatal("%s", argv[i]);
		puts(bound.p);
		buf_free(&bound);
	}
	puts("ready");
	fflush(stdout);
	uv_signal_init(&loop, &terminate);
	uv_signal_start(&terminate, on_signal, SIGTERM);
	uv_run(&loop, UV_RUN_DEFAULT);
	ws_free(server);
	value = uv_loop_close(&loop);
	printf("down %d opens %d closes %d gone %d\n", value, opens, closes, gone);
	return value == 0 && accepted == closes ? 0 : 1;
}

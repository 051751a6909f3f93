/*
 * health: /healthz, /readyz and /metrics.
 */
#include "http/health.h"

#include "lib/metrics.h"

static void healthz(struct ws_http *http, const char *not_ready)
{
	(void)not_ready;
	ws_http_reply(http, 200, NULL, NULL, slice_of("ok\n"));
}

static void readyz(struct ws_http *http, const char *not_ready)
{
	struct buf b = { 0 };

	buf_addf(&b, "%s\n", not_ready != NULL ? not_ready : "ready");
	ws_http_reply(http, not_ready != NULL ? 503 : 200, NULL, NULL, (struct slice){ b.p, b.n });
	buf_free(&b);
}

static void metrics(struct ws_http *http, const char *not_ready)
{
	struct buf b = { 0 };

	metrics_set(metrics_series(METRIC_READY, NULL), not_ready == NULL);
	metrics_process();
	metrics_print(&b);
	ws_http_reply(http, 200, "text/plain; version=0.0.4; charset=utf-8", NULL,
		(struct slice){ b.p, b.n });
	buf_free(&b);
}

/* Health is served on every listening socket. */
static const struct {
	const char *path;
	unsigned serves;
	void (*answer)(struct ws_http *http, const char *not_ready);
} paths[] = {
	{ "/healthz", ~0U, healthz },
	{ "/readyz", ~0U, readyz },
	{ "/metrics", WS_METRICS, metrics },
};

void health_request(struct ws_http *http, const struct ws_head *head, const char *not_ready)
{
	size_t i = 0;

	while (i < countof(paths) &&
		(strcmp(head->path, paths[i].path) != 0 || !(head->serves & paths[i].serves)))
		i++;
	if (i == countof(paths))
		ws_http_reply(http, 404, NULL, NULL, slice_of("not found\n"));
	else if (strcmp(head->method, "GET") != 0 && strcmp(head->method, "HEAD") != 0)
		ws_http_reply(
			http, 405, NULL, "Allow: GET, HEAD", slice_of("method not allowed\n"));
	else
		paths[i].answer(http, not_ready);
}

/*
 * endpoints: an endpoint without listening sockets is served on the workers'. The name of a socket
 * that systemd passes (FileDescriptorName=) selects its endpoint: "intake", "metrics", any other
 * name for workers. If systemd passes sockets for an endpoint, its option `listen` is not used.
 */
#include "http/endpoints.h"

#include "lib/net.h"

#include "lib/systemd.h"

#include <stdlib.h>
#include <unistd.h>

static const struct endpoint {
	unsigned serves;
	const char *name; /* of a socket that systemd passes */
	size_t addresses; /* the option */
} endpoints[] = {
	{ WS_INTAKE, "intake", offsetof(struct conf, intake_listen) },
	{ WS_METRICS, "metrics", offsetof(struct conf, metrics_listen) },
	{ WS_WORKERS, NULL, offsetof(struct conf, listen) }, /* any other name */
};

static const char *addresses_of(const struct endpoint *e, const struct conf *conf)
{
	return *(char *const *)((const char *)conf + e->addresses);
}

/* Logs the address; the first one may give the coordinator its name. */
static void on_open(struct buf *bound, char *name, size_t size)
{
	const char *port = strrchr(bound->p, ':');
	char host[256] = "";

	log_info("listening on %s", bound->p);
	gethostname(host, sizeof(host) - 1);
	if (*name == '\0')
		snprintf(name, size, "%s%s", host, port != NULL ? port : "");
	buf_free(bound);
}

/* The endpoint of the i-th socket that systemd passes. */
static const struct endpoint *endpoint_of(int i)
{
	const struct endpoint *e = endpoints;

	while (e->name != NULL && strcmp(systemd_listen_name(i), e->name) != 0)
		e++;
	return e;
}

static void open_addresses(
	struct ws *ws, const char *addresses, unsigned serves, char *name, size_t size)
{
	char *list = xstrdup(addresses), *rest = list, *address;
	struct buf bound = { 0 };

	while ((address = strsep(&rest, " \t")) != NULL) {
		if (*address == '\0')
			continue;
		if (!ws_listen(ws, address, serves, &bound))
			fatal("cannot listen on %s", address);
		on_open(&bound, name, size);
	}
	free(list);
}

/* The workers' endpoint is opened first, for the name, but what it serves depends on the others. */
void endpoints_open(struct ws *ws, const struct conf *conf, char *name, size_t size)
{
	unsigned separate = 0; /* what has listening sockets of its own */
	unsigned passed = 0;   /* what systemd has opened */
	int nfds = systemd_listen_fds();
	struct buf bound = { 0 };

	for (const struct endpoint *e = endpoints; e->name != NULL; e++)
		if (*addresses_of(e, conf) != '\0')
			separate |= e->serves;
	for (int i = 0; i < nfds; i++)
		if (endpoint_of(i)->name != NULL)
			separate |= endpoint_of(i)->serves;
	unsigned main_serves = WS_WORKERS | ((WS_INTAKE | WS_METRICS) & ~separate);
	for (int i = 0; i < nfds; i++) {
		unsigned serves = endpoint_of(i)->serves;

		passed |= serves;
		if (!ws_listen_fd(ws, systemd_listen_fd(i),
			    serves == WS_WORKERS ? main_serves : serves, &bound))
			fatal("cannot listen on descriptor %d", systemd_listen_fd(i));
		on_open(&bound, name, size);
	}
	for (int i = (int)countof(endpoints) - 1; i >= 0; i--)
		if (!(passed & endpoints[i].serves))
			open_addresses(ws, addresses_of(&endpoints[i], conf),
				endpoints[i].serves == WS_WORKERS ? main_serves
								  : endpoints[i].serves,
				name, size);
}

int endpoints_max_connections(const struct conf *conf, const char *address)
{
	bool many = address == NULL || net_list_has(conf->trusted_proxies, address);

	return (int)(many ? conf->max_http_connections : conf->max_http_connections_per_address);
}

/*
 * Endpoints. What has no listening socket of its own is served on the workers'. A socket of
 * systemd's is what its name says (FileDescriptorName=): "intake", "metrics", and by any other name
 * the workers'; where systemd has handed over the workers' the option `listen` counts for nothing.
 */
#include "http/endpoints.h"

#include "lib/systemd.h"

#include <stdlib.h>
#include <unistd.h>

static const struct door {
	unsigned serves;
	const char *name; /* as a socket of systemd's */
	size_t addresses; /* the option */
} doors[] = {
	{ WS_INTAKE, "intake", offsetof(struct conf, intake_listen) },
	{ WS_METRICS, "metrics", offsetof(struct conf, metrics_listen) },
	{ WS_WORKERS, NULL, offsetof(struct conf, listen) }, /* all that is left */
};

static const char *addresses_of(const struct door *door, const struct conf *conf)
{
	return *(char *const *)((const char *)conf + door->addresses);
}

/* Says where; the first one may give the coordinator its name. */
static void opened(struct buf *bound, char *name, size_t size)
{
	const char *port = strrchr(bound->p, ':');
	char host[256] = "";

	log_info("listening on %s", bound->p);
	gethostname(host, sizeof(host) - 1);
	if (*name == '\0')
		snprintf(name, size, "%s%s", host, port != NULL ? port : "");
	buf_free(bound);
}

/* Which endpoint the i-th of systemd's sockets is. */
static const struct door *endpoint_of(int i)
{
	const struct door *door = doors;

	while (door->name != NULL && strcmp(systemd_listen_name(i), door->name) != 0)
		door++;
	return door;
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
			fatal("listening on %s", address);
		opened(&bound, name, size);
	}
	free(list);
}

/* The workers' endpoint first, for the name; but what it serves is known when the others are. */
void endpoints_open(struct ws *ws, const struct conf *conf, char *name, size_t size)
{
	unsigned apart = 0,
		 handed = 0; /* what has listening sockets of its own; what systemd has opened */
	int nfds = systemd_listen_fds();
	struct buf bound = { 0 };

	for (const struct door *door = doors; door->name != NULL; door++)
		if (*addresses_of(door, conf) != '\0')
			apart |= door->serves;
	for (int i = 0; i < nfds; i++)
		if (endpoint_of(i)->name != NULL)
			apart |= endpoint_of(i)->serves;
	unsigned main_serves = WS_WORKERS | ((WS_INTAKE | WS_METRICS) & ~apart);
	for (int i = 0; i < nfds; i++) {
		unsigned serves = endpoint_of(i)->serves;

		handed |= serves;
		if (!ws_listen_fd(ws, systemd_listen_fd(i),
			    serves == WS_WORKERS ? main_serves : serves, &bound))
			fatal("listening on descriptor %d", systemd_listen_fd(i));
		opened(&bound, name, size);
	}
	for (int i = (int)countof(doors) - 1; i >= 0; i--)
		if (!(handed & doors[i].serves))
			open_addresses(ws, addresses_of(&doors[i], conf),
				doors[i].serves == WS_WORKERS ? main_serves : doors[i].serves, name,
				size);
}

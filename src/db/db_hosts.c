/*
 * db_hosts: takes a conninfo apart into single hosts. What libpq is given names at most one host,
 * and an address for it wherever libpq would have to resolve a name, for libpq would stop the loop
 * until the name server has answered. (The host of a service file stays libpq's: only libpq reads
 * those.)
 */
#include "db_hosts.h"

#include <stdlib.h>
#include <uv.h>

struct host {
	char *name, *address, *port; /* NULL: libpq's default */
};

struct db_hosts {
	PQconninfoOption *options; /* the conninfo, without the three that are lists */
	size_t noptions;
	char *application_name;
	struct host *host;
	size_t n, current;
	struct addrinfo *found, *address; /* all of the current host's, and the current one */
};

/* libpq takes the last of several values, so these stand in front of the conninfo's: a network that
 * has died without a word is noticed within 15 s or 25 s, not after the kernel's two hours. */
static const char *const defaults[][2] = {
	{ "keepalives_idle", "10" },
	{ "keepalives_interval", "5" },
	{ "keepalives_count", "3" },
	{ "tcp_user_timeout", "15000" },
};

/* How many elements a comma-separated list has; none if it is absent or empty. */
static size_t count(const char *list)
{
	if (list == NULL || *list == '\0')
		return 0;
	size_t n = 1;
	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

/* A copy of the i-th element; NULL if it is empty or there is no list. */
static char *element(const char *list, size_t i)
{
	if (list == NULL)
		return NULL;
	for (; i > 0; i--)
		list = strchr(list, ',') + 1;
	size_t n = strcspn(list, ",");
	return n == 0 ? NULL : xstrndup(list, n);
}

/* Takes an option out of the parsed conninfo, or out of the environment as libpq would. */
static char *take(struct db_hosts *hosts, const char *keyword)
{
	PQconninfoOption *o = hosts->options;
	while (strcmp(o->keyword, keyword) != 0)
		o++;
	const char *value = o->val != NULL ? o->val : getenv(o->envvar);
	char *copy = value == NULL ? NULL : xstrdup(value);
	PQfreemem(o->val);
	o->val = NULL;
	return copy;
}

/* Fills hosts->host; false if the lists do not match. */
static bool split(
	struct db_hosts *hosts, const char *names, const char *addresses, const char *ports)
{
	size_t n = count(addresses) > 0 ? count(addresses) : count(names);
	if (n == 0)
		n = 1;
	if (count(names) > 0 && count(names) != n)
		return false;
	if (count(ports) > 1 && count(ports) != n)
		return false;
	hosts->host = xcalloc(n, sizeof(*hosts->host));
	hosts->n = n;
	for (size_t i = 0; i < n; i++) {
		hosts->host[i].name = element(names, i);
		hosts->host[i].address = element(addresses, i);
		hosts->host[i].port = element(ports, count(ports) > 1 ? i : 0);
	}
	return true;
}

struct db_hosts *db_hosts_new(const char *conninfo, const char *application_name)
{
	struct db_hosts *hosts = xcalloc(1, sizeof(*hosts));
	/* libpq's own message is not asked for: it may quote the password. */
	hosts->options = PQconninfoParse(conninfo, NULL);
	bool ok = hosts->options != NULL;
	if (ok) {
		char *names = take(hosts, "host");
		char *addresses = take(hosts, "hostaddr");
		char *ports = take(hosts, "port");
		ok = split(hosts, names, addresses, ports);
		free(names);
		free(addresses);
		free(ports);
	}
	if (!ok) {
		db_hosts_free(hosts);
		return NULL;
	}
	while (hosts->options[hosts->noptions].keyword != NULL)
		hosts->noptions++;
	hosts->application_name = xstrdup(application_name);
	return hosts;
}

void db_hosts_free(struct db_hosts *hosts)
{
	for (size_t i = 0; i < hosts->n; i++) {
		free(hosts->host[i].name);
		free(hosts->host[i].address);
		free(hosts->host[i].port);
	}
	free(hosts->host);
	uv_freeaddrinfo(hosts->found);
	free(hosts->application_name);
	PQconninfoFree(hosts->options);
	free(hosts);
}

const char *db_hosts_name(const struct db_hosts *hosts)
{
	const struct host *host = &hosts->host[hosts->current];
	bool ready = hosts->address != NULL || host->address != NULL || host->name == NULL ||
		     host->name[0] == '/' || host->name[0] == '@';
	return ready ? NULL : host->name;
}

void db_hosts_resolved(struct db_hosts *hosts, struct addrinfo *found)
{
	hosts->found = hosts->address = found;
}

static void forget_addresses(struct db_hosts *hosts)
{
	uv_freeaddrinfo(hosts->found);
	hosts->found = hosts->address = NULL;
}

bool db_hosts_next(struct db_hosts *hosts)
{
	if (hosts->address != NULL)
		hosts->address = hosts->address->ai_next;
	if (hosts->address != NULL)
		return true;
	forget_addresses(hosts);
	if (++hosts->current < hosts->n)
		return true;
	hosts->current = 0;
	return false;
}

void db_hosts_rewind(struct db_hosts *hosts)
{
	forget_addresses(hosts);
	hosts->current = 0;
}

PGconn *db_hosts_start(const struct db_hosts *hosts)
{
	const struct host *host = &hosts->host[hosts->current];
	const struct addrinfo *found = hosts->address;
	char address[NI_MAXHOST];
	if (found != NULL)
		getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof(address), NULL, 0,
			NI_NUMERICHOST);
	const char *const ours[][2] = {
		{ "host", host->name },
		{ "hostaddr", found != NULL ? address : host->address },
		{ "port", host->port },
		{ "application_name", hosts->application_name },
		{ "client_encoding", "UTF8" },
		/* A standby then fails to connect, like a server that is not there. */
		{ "target_session_attrs", "read-write" },
	};
	size_t room = countof(defaults) + hosts->noptions + countof(ours) + 1, n = 0;
	const char **keywords = xcalloc(room, sizeof(*keywords));
	const char **values = xcalloc(room, sizeof(*values));

	for (size_t k = 0; k < countof(defaults); k++, n++) {
		keywords[n] = defaults[k][0];
		values[n] = defaults[k][1];
	}
	for (size_t k = 0; k < hosts->noptions; k++, n++) {
		keywords[n] = hosts->options[k].keyword;
		values[n] = hosts->options[k].val;
	}
	for (size_t k = 0; k < countof(ours); k++, n++) {
		keywords[n] = ours[k][0];
		values[n] = ours[k][1];
	}
	PGconn *conn = PQconnectStartParams(keywords, values, 0);
	free(keywords);
	free(values);
	return conn;
}

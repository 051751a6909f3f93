/*
 * db_connect: from nothing to a connection. A round tries every address of every host in the order
 * of the conninfo, each with its own time limit, and only then waits. libpq never resolves a name
 * here and never chooses among hosts.
 */
#include "db_private.h"

#include <netdb.h>

static void dial(struct db *db)
{
	char address[NI_MAXHOST];
	if (db->addr != NULL)
		getnameinfo(db->addr->ai_addr, db->addr->ai_addrlen, address, sizeof(address), NULL,
			0, NI_NUMERICHOST);
	db_enter(db, CONNECTING, DB_ANSWER);
	db->conn = db_hosts_start(db->hosts, db->host, db->addr != NULL ? address : NULL);
	if (db->conn == NULL)
		fatalx("%s: out of memory", db->config.name);
	PQsetNoticeReceiver(db->conn, db_on_notice, db);
	if (PQstatus(db->conn) == CONNECTION_BAD)
		db_fail(db, "%s", PQerrorMessage(db->conn));
	else
		db_watch(db, UV_WRITABLE);
}

static void on_resolved(uv_getaddrinfo_t *resolver, int status, struct addrinfo *found)
{
	struct db *db = container_of(resolver, struct db, resolver);
	db->found = db->addr = found;
	if (db->state == CLOSING)
		db_release(db);
	else if (status != 0)
		db_fail(db, "%s: %s", db_hosts_name(db->hosts, db->host), uv_strerror(status));
	else
		dial(db);
}

/* Resolving has no limit of ours: getaddrinfo(3) has its own, and a request that has begun cannot
 * be called off. */
void db_connect(struct db *db)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	const char *name = db_hosts_name(db->hosts, db->host);
	if (db->addr != NULL || name == NULL) {
		dial(db);
		return;
	}
	db_enter(db, RESOLVING, -1);
	int err = uv_getaddrinfo(db->loop, &db->resolver, on_resolved, name, NULL, &hints);
	if (err != 0)
		db_fail(db, "%s: %s", name, uv_strerror(err));
}

void db_connect_continue(struct db *db)
{
	db_unwatch(db);
	switch (PQconnectPoll(db->conn)) {
	case PGRES_POLLING_OK: db_prepare(db); break;
	case PGRES_POLLING_READING: db_watch(db, UV_READABLE); break;
	case PGRES_POLLING_WRITING: db_watch(db, UV_WRITABLE); break;
	default: db_fail(db, "%s", PQerrorMessage(db->conn));
	}
}

int64_t db_connect_next(struct db *db, bool was_up)
{
	if (db->addr != NULL)
		db->addr = was_up ? NULL : db->addr->ai_next;
	if (db->addr != NULL)
		return 0;
	uv_freeaddrinfo(db->found);
	db->found = NULL;
	if (!was_up && ++db->host < db_hosts_count(db->hosts))
		return 0;
	db->host = 0;
	int64_t wait = db->delay;
	db->delay = wait == 0 ? DB_RETRY_MIN : wait < DB_RETRY_MAX / 2 ? 2 * wait : DB_RETRY_MAX;
	return wait;
}

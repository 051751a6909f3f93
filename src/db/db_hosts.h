/*
 * db_hosts: the hosts of a conninfo and their addresses, one at a time, so that db can resolve each
 * name on the pool, give each address its own time limit, and go on to the next. Private to db.
 */
#ifndef DB_HOSTS_H
#define DB_HOSTS_H

#include "lib/base.h"

#include <netdb.h>
#include <libpq-fe.h>

struct db_hosts;

/* NULL if the conninfo cannot be parsed or its lists of hosts and ports differ in length. Copies
 * both. */
struct db_hosts *db_hosts_new(const char *conninfo, const char *application_name)
	__attribute__((warn_unused_result));
void db_hosts_free(struct db_hosts *hosts);

/* They are a cursor: one address is the current one, at first the first host's. */

/* The current host's name if it has to be resolved before db_hosts_start; NULL if it is a socket,
 * comes with its address, or is resolved. */
const char *db_hosts_name(const struct db_hosts *hosts);

/* What the name was resolved to, in the order in which it is tried. Takes found
 * (uv_freeaddrinfo). */
void db_hosts_resolved(struct db_hosts *hosts, struct addrinfo *found);

/* PQconnectStart to the current address, and to no other. The caller owns the result. */
PGconn *db_hosts_start(const struct db_hosts *hosts) __attribute__((warn_unused_result));

/* On to the next address, or the first of the next host; false if that was the last one, and the
 * first host is the current one again. */
bool db_hosts_next(struct db_hosts *hosts);
/* Back to the first host, whose name has to be resolved again. */
void db_hosts_rewind(struct db_hosts *hosts);

#endif

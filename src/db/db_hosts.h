/*
 * db_hosts: the hosts of a conninfo one at a time, so that db can resolve each name on the pool,
 * give each its own time limit, and go on to the next. Private to db.
 */
#ifndef DB_HOSTS_H
#define DB_HOSTS_H

#include "lib/base.h"

#include <libpq-fe.h>

struct db_hosts;

/* NULL if the conninfo cannot be parsed or its lists of hosts and ports differ in length. Copies
 * both. */
struct db_hosts *db_hosts_new(const char *conninfo, const char *application_name)
	__attribute__((warn_unused_result));
void db_hosts_free(struct db_hosts *hosts);

/* At least one. */
size_t db_hosts_count(const struct db_hosts *hosts);

/* The i-th host's name if it has to be resolved before db_hosts_start; NULL if it is a socket or
 * comes with its address. */
const char *db_hosts_name(const struct db_hosts *hosts, size_t i);

/* PQconnectStart to the i-th host, and to no other. `address` is its numeric address, NULL where
 * db_hosts_name is. The caller owns the result. */
PGconn *db_hosts_start(const struct db_hosts *hosts, size_t i, const char *address)
	__attribute__((warn_unused_result));

#endif

/*
 * schema: which version of the database schema this build was made for. A migration's version is
 * the number that its file name begins with; the schema's is that of its newest migration.
 */
#ifndef SCHEMA_H
#define SCHEMA_H

#include "lib/base.h"

struct pg_conn; /* libpq's PGconn */

/* What a database has. A migration that daemons of the version before could not work with says so:
 * `UPDATE schema_migrations SET serves = N`, N being its own version. */
struct schema {
	int version; /* 0: none yet; -1: it does not say */
	int serves;  /* builds for an older version than this do not work on it */
};

/* The version this build is made for, which is the least that it needs. */
int schema_version(void);

/* Can this build work on it? On its own version, and on every later one that serves it: so the
 * schema is migrated first, and daemons are restarted one after another. */
bool schema_fits(const struct schema *found);

/* Appends a sentence for a database that does not fit that says what to do. */
void schema_mismatch(struct buf *out, const struct schema *found);

/* Asks, waiting for the answer; version -1 leaves a message in the connection. */
struct schema schema_found(struct pg_conn *conn) __attribute__((warn_unused_result));

/* Asks the database, once and waiting for the answer, whether its schema fits. False, with a
 * sentence in why, if it does not. A database that cannot be reached is no reason: true. */
bool schema_check(const char *conninfo, struct buf *why) __attribute__((warn_unused_result));

#endif

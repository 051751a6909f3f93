/*
 * schema: which version of the database schema this build was made for. A migration's version is
 * the number that its file name begins with; the schema's is that of its newest migration.
 */
#ifndef SCHEMA_H
#define SCHEMA_H

#include "base.h"

struct pg_conn; /* libpq's PGconn */

/* The version this build expects: `SELECT max(version) FROM schema_migrations`. */
int schema_version(void);

/* Appends a sentence for a database at another version (0: none yet) that says what to do. */
void schema_mismatch(struct buf *out, int found);

/* The version that the database has, waiting for the answer: 0 for none yet, -1 (and a message in
 * the connection) if it does not say. */
int schema_found(struct pg_conn *conn) __attribute__((warn_unused_result));

/* Asks the database, once and waiting for the answer, whether its schema is this build's. False,
 * with a sentence in why, if it is another. A database that cannot be reached is no reason: true.
 */
bool schema_check(const char *conninfo, struct buf *why) __attribute__((warn_unused_result));

#endif

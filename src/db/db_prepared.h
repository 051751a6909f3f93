/*
 * db_prepared: what a new connection is sent in its one pipeline, by number, and whether a
 * statement's result has the columns that its file declares. Private to db.
 */
#ifndef DB_PREPARED_H
#define DB_PREPARED_H

#include "db/db.h"

/* The name of the i-th thing that was sent: a setting, a statement, LISTEN. Sets *described to the
 * statement if its description was asked for by it. */
const char *db_prepared_name(
	const struct db_config *config, size_t i, const struct db_stmt **described);

/* Fatal, by names, if the described result has other columns than the statement declares. */
void db_check_columns(const char *connection, const struct db_stmt *stmt, const PGresult *res);

#endif

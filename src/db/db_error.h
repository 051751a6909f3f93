/*
 * db_error: what a result that is an error says. Private to db.
 */
#ifndef DB_ERROR_H
#define DB_ERROR_H

#include "db/db.h"

/* A sentence; borrowed from the result. */
const char *db_error_text(const PGresult *res);
/* Does this end the session? The server's FATAL does, and so does what libpq made up itself. */
bool db_error_is_fatal(const PGresult *res);

#endif

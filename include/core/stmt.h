/*
 * stmt: the SQL that the daemon speaks, one prepared statement for each file of sql/statements.
 * A file declares its parameters as {{input name type, …}} and {{scalar name type}} and its result
 * as `-- columns: …`; from them the build makes the enums of sql_columns.h (src/embed.awk).
 * What the state machine says stands in the files as {{from event}}, {{refusal event}},
 * {{outcomes}}, {{states}}, {{events}} and {{state_of_reason}}, text that several share as
 * {{fragment event}}, within which {{event}} is that event; all are filled in here, once, at the
 * start.
 */
#ifndef STMT_H
#define STMT_H

#include "db/db.h"

#define STMT_COLUMNS 24

/* A statement takes columns first ($N::type[], an element for each row) and scalars behind them. */
struct stmt {
	const char *name;
	const char *sql;
	int columns;
	int scalars;
	uint32_t types[STMT_COLUMNS]; /* the columns' element types (OIDs of pg_type) */
};

/* The statement of that name; fatal() if there is none. Expands all of them at the first call. */
const struct stmt *stmt_get(const char *name);

/* A text like the files' with everything filled in. The caller frees it. */
char *stmt_expand(const char *text) __attribute__((warn_unused_result));

/* All of them, as db_open wants them; valid forever. */
const struct db_stmt *stmt_all(size_t *n);

#endif

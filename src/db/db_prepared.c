/*
 * db_prepared: the order in which a connection is set up: the settings, then each statement with
 * its description behind it, then LISTEN. Invariant: whoever reads a result by the names that the
 * build has made of a statement's file reads what the server sends.
 */
#include "db_prepared.h"

const char *db_prepared_name(
	const struct db_config *config, size_t i, const struct db_stmt **described)
{
	for (const char *const *s = config->settings; s != NULL && *s != NULL; s += 2, i--)
		if (i == 0)
			return *s;
	for (size_t n = 0; n < config->nstmts; n++, i--) {
		const struct db_stmt *stmt = &config->stmts[n];

		if (i == 0)
			return stmt->name;
		if (stmt->columns == NULL)
			continue;
		if (--i == 0) {
			*described = stmt;
			return stmt->name;
		}
	}
	return "LISTEN";
}

void db_check_columns(const char *connection, const struct db_stmt *stmt, const PGresult *res)
{
	const char *declared = stmt->columns;
	int n = PQnfields(res);

	for (int i = 0; i < n || *declared != '\0'; i++) {
		int len = (int)strcspn(declared, ",");
		const char *found = i < n ? PQfname(res, i) : "missing";

		if (i >= n || (int)strlen(found) != len ||
			strncmp(found, declared, (size_t)len) != 0)
			fatalx("%s: %s: column %d of the result is %s, and declared is %.*s",
				connection, stmt->name, i + 1, found, len > 0 ? len : 4,
				len > 0 ? declared : "none");
		declared += len;
		declared += strspn(declared, ", ");
	}
}

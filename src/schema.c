/*
 * schema: the version of the schema (schema.h), read off the names of the migrations that are built
 * in, so that a new migration needs no second place to be announced in.
 */
#include "schema.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include "sql.h"

int schema_version(void)
{
	return atoi(sql_migrations[countof(sql_migrations) - 1].name);
}

void schema_mismatch(struct buf *out, int found)
{
	int expected = schema_version();

	if (found > expected)
		buf_addf(out,
			"the database has schema version %d and this build knows only %d: install "
			"the newer interlock",
			found, expected);
	else if (found > 0)
		buf_addf(out,
			"the database has schema version %d and this build needs %d: run "
			"`interlock migrate`",
			found, expected);
	else
		buf_adds(out, "the database has no interlock schema: run `interlock migrate`");
}

int schema_found(struct pg_conn *conn)
{
	PGresult *res = PQexec(conn, "SELECT to_regclass('public.schema_migrations') IS NOT NULL");
	int found = PQresultStatus(res) == PGRES_TUPLES_OK ? 0 : -1;

	if (found == 0 && PQgetvalue(res, 0, 0)[0] == 't') {
		PQclear(res);
		res = PQexec(
			conn, "SELECT coalesce(max(version), 0) FROM public.schema_migrations");
		found = PQresultStatus(res) == PGRES_TUPLES_OK ? atoi(PQgetvalue(res, 0, 0)) : -1;
	}
	PQclear(res);
	return found;
}

bool schema_check(const char *conninfo, struct buf *why)
{
	static const char *const names[] = { "dbname", "connect_timeout", NULL };
	PGconn *conn = PQconnectdbParams(names, (const char *const[]){ conninfo, "5", NULL }, 1);
	int found = PQstatus(conn) == CONNECTION_OK ? schema_found(conn) : -1;

	PQfinish(conn);
	if (found < 0 || found == schema_version())
		return true;
	schema_mismatch(why, found);
	return false;
}

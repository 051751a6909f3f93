/*
 * schema: the version of the schema (schema.h), read off the names of the migrations that are built
 * in, so that a new migration needs no second place to be announced in.
 */
#include "db/schema.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include "sql.h"

int schema_version(void)
{
	return atoi(sql_migrations[countof(sql_migrations) - 1].name);
}

bool schema_fits(const struct schema *found)
{
	return found->version >= schema_version() && found->serves <= schema_version();
}

void schema_mismatch(struct buf *out, const struct schema *found)
{
	int own = schema_version();

	if (found->version >= own)
		buf_addf(out,
			"the database has schema version %d, which serves builds for version %d "
			"and later, and this one is for %d: install the newer interlock",
			found->version, found->serves, own);
	else if (found->version > 0)
		buf_addf(out,
			"the database has schema version %d and this build needs %d: run "
			"`interlock migrate`",
			found->version, own);
	else
		buf_adds(out, "the database has no interlock schema: run `interlock migrate`");
}

struct schema schema_found(struct pg_conn *conn)
{
	PGresult *res = PQexec(conn, "SELECT to_regclass('public.schema_migrations') IS NOT NULL");
	struct schema found = { .version = PQresultStatus(res) == PGRES_TUPLES_OK ? 0 : -1 };

	if (found.version == 0 && PQgetvalue(res, 0, 0)[0] == 't') {
		PQclear(res);
		res = PQexec(conn, "SELECT coalesce(max(version), 0), coalesce(max(serves), 0) "
				   "FROM public.schema_migrations");
		found.version = -1;
		if (PQresultStatus(res) == PGRES_TUPLES_OK)
			found = (struct schema){ atoi(PQgetvalue(res, 0, 0)),
				atoi(PQgetvalue(res, 0, 1)) };
	}
	PQclear(res);
	return found;
}

bool schema_check(const char *conninfo, struct buf *why)
{
	static const char *const names[] = { "dbname", "connect_timeout", NULL };
	PGconn *conn = PQconnectdbParams(names, (const char *const[]){ conninfo, "5", NULL }, 1);
	struct schema found = { .version = -1 };

	if (PQstatus(conn) == CONNECTION_OK)
		found = schema_found(conn);
	PQfinish(conn);
	if (found.version < 0 || schema_fits(&found))
		return true;
	schema_mismatch(why, &found);
	return false;
}

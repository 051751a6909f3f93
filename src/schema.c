/*
 * schema: the version of the schema (schema.h), read off the names of the migrations that are built
 * in, so that a new migration needs no second place to be announced in.
 */
#include "schema.h"

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

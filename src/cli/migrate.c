/*
 * cli migrate: brings the database to this build's schema. Several may run at once: an advisory
 * lock lets one work, and the others find nothing left to do. A migration is applied whole,
 * together with its row in schema_migrations, or not at all. Messages must not
 * queue behind a lock that it waits for itself: it gives up after two seconds and tries again.
 */
#include "cli.h"

#include <stdlib.h>
#include <unistd.h>

#include "db/schema.h"
#include "sql.h"

/* Functions that run as the owner keep this path: pg_temp last, or else a caller's temporary tables
 * would stand in front of ours. */
static const char search_path[] = "SET search_path = public, pg_temp";

/* What the schema uses is older; the planner's estimates are tested with 15. */
enum { OLDEST_SERVER = 150000 };

static bool check_server(PGconn *db)
{
	const char *encoding = PQparameterStatus(db, "server_encoding");

	if (PQserverVersion(db) < OLDEST_SERVER) {
		cli_error("the server is PostgreSQL %s: 15 or newer is needed",
			PQparameterStatus(db, "server_version"));
		return false;
	}
	if (!encoding || strcmp(encoding, "UTF8") != 0) {
		cli_error("the database's encoding is %s: create one with ENCODING 'UTF8'",
			encoding ? encoding : "unknown");
		return false;
	}
	return true;
}

/* Creates the daemon's role. Another database's migration may do so at the same time: roles belong
 * to the cluster, the lock only to this database. */
static bool make_role(PGconn *db)
{
	PGresult *res = cli_query(db, "SELECT FROM pg_roles WHERE rolname = 'interlock'", 0, NULL);
	bool there = res && PQntuples(res) == 1, made = false;

	if (!res)
		return false;
	PQclear(res);
	if (there)
		return true;
	res = PQexec(db, "CREATE ROLE interlock LOGIN");
	const char *code = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	if (PQresultStatus(res) == PGRES_COMMAND_OK)
		made = printf("created the role interlock\n") > 0;
	else if (code && (strcmp(code, "42710") == 0 || strcmp(code, "23505") == 0))
		made = true;
	else if (code && strcmp(code, "42501") == 0)
		cli_error("the role \"interlock\" is missing and \"%s\" may not create it: as a "
			  "superuser run CREATE ROLE interlock LOGIN",
			PQuser(db));
	else
		cli_error("cannot create the role \"interlock\": %s", PQerrorMessage(db));
	PQclear(res);
	return made;
}

/* busy: another session has a lock that it needs. */
static bool try(PGconn *db, const struct sql_file *migration, bool *busy)
{
	char version[12];
	const char *values[] = { version, migration->name };
	bool ok = false;

	snprintf(version, sizeof(version), "%d", atoi(migration->name));
	PGresult *res =
		cli_query(db, "SELECT FROM schema_migrations WHERE version = $1", 1, values);
	bool there = res && PQntuples(res) == 1;
	PQclear(res);
	if (!res || there)
		return there;
	if (cli_change(db, "BEGIN", 0, NULL) < 0)
		return false;
	res = PQexec(db, migration->text);
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	*busy = state && strcmp(state, "55P03") == 0;
	if (*busy)
		*busy = cli_change(db, "ROLLBACK", 0, NULL) >= 0;
	else if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
		cli_error("%s: %s", migration->name,
			PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) ?: PQerrorMessage(db));
	else if (cli_change(db, "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)", 2,
			 values) == 1)
		ok = cli_change(db, "COMMIT", 0, NULL) >= 0;
	PQclear(res);
	if (ok)
		printf("applied %s\n", migration->name);
	return ok; /* what is not committed goes with the connection */
}

static bool apply(PGconn *db, const struct sql_file *migration)
{
	enum { TRIES = 20 };
	bool busy = false;

	for (int i = 0; i < TRIES; i++) {
		if (i > 0)
			sleep(1);
		if (try(db, migration, &busy))
			return true;
		if (!busy)
			return false;
	}
	cli_error("%s: a table is locked by another session; nothing was changed, try again later",
		migration->name);
	return false;
}

static bool migrate(PGconn *db)
{
	struct schema found;

	if (!check_server(db) || cli_change(db, search_path, 0, NULL) < 0 ||
		cli_change(db, "SELECT pg_advisory_lock(hashtext('interlock migrate'))", 0, NULL) <
			0 ||
		!cli_schema(db, &found))
		return false;
	if (found.version > schema_version()) {
		cli_error("the database has schema version %d already, and this build knows only "
			  "%d: install the newer interlock",
			found.version, schema_version());
		return false;
	}
	if (!make_role(db) ||
		cli_change(db,
			"CREATE TABLE IF NOT EXISTS schema_migrations (version int PRIMARY KEY, "
			"name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(), "
			"serves int NOT NULL DEFAULT 0)",
			0, NULL) < 0 ||
		cli_change(db, "SET lock_timeout = '2s'", 0, NULL) < 0)
		return false;
	for (size_t i = 0; i < countof(sql_migrations); i++)
		if (!apply(db, &sql_migrations[i]))
			return false;
	printf("the schema is at version %d\n", schema_version());
	return true;
}

static int run_migrate(const struct cli *cli)
{
	PGconn *db = cli_connect(cli->conf, true);
	bool ok = db && migrate(db);

	PQfinish(db);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_migrate = {
	.name = "migrate",
	.help = "Create or upgrade the database schema.",
	.run = run_migrate,
};

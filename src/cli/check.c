/*
 * cli check: checks everything that the daemon depends on, and prints a hint for each problem. A
 * check is a row of the table at the end: a function, or a statement in sql/checks that returns a
 * row for each problem: the result, a message, a hint. A check without a problem is ok. Nothing is
 * changed. A failed check only skips the checks that depend on it.
 */
#include "check.h"

#include <stdlib.h>

#include "core/batch.h"
#include "db/schema.h"
#include "lib/jscan.h"
#include "sql.h"

static const struct {
	const char *name;
	enum cli_colour colour;
} results[] = {
	[CHECK_OK] = { "ok", CLI_GREEN },
	[CHECK_SKIPPED] = { "skipped", CLI_DIM },
	[CHECK_WARN] = { "warn", CLI_YELLOW },
	[CHECK_FAIL] = { "fail", CLI_RED },
};

static void print_json(
	const struct check_run *d, enum check_result result, const char *message, const char *hint)
{
	const struct {
		const char *name, *value;
	} members[] = { { "check", d->check->name }, { "result", results[result].name },
		{ "message", message }, { "hint", hint } };
	struct buf b = { 0 };

	for (size_t i = 0; i < countof(members) && members[i].value; i++) {
		buf_addf(&b, "%s\"%s\":", i ? "," : "{", members[i].name);
		buf_add_json(&b, slice_of(members[i].value));
	}
	printf("%s%s}", d->reported > 1 ? ",\n" : "", b.p);
	buf_free(&b);
}

void check_report(
	struct check_run *d, enum check_result result, const char *hint, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text[strcspn(text, "\n")] = '\0'; /* libpq's messages have several lines */
	d->reported++;
	d->here++;
	d->count[result]++;
	if (d->json)
		print_json(d, result, text, hint);
	else
		printf("%s%-8s%s%-14s%s\n", cli_colour(results[result].colour),
			results[result].name, cli_colour(CLI_PLAIN), d->check->name, text);
	if (!d->json && hint)
		printf("%24s%s\n", "→ ", hint);
}

static enum check_result result_of(const char *name)
{
	for (size_t i = 0; i < countof(results); i++)
		if (strcmp(results[i].name, name) == 0)
			return (enum check_result)i;
	fatalx("sql/checks: %s is not a result", name);
}

/* Runs the statement that has the check's name. */
static void run_statement(struct check_run *d)
{
	struct buf why = { 0 };
	const char *sql = NULL;

	for (size_t i = 0; i < countof(sql_checks); i++)
		if (strcmp(sql_checks[i].name, d->check->name) == 0)
			sql = sql_checks[i].text;
	if (!sql)
		fatalx("sql/checks has no %s.sql", d->check->name);
	char *named = xasprintf("SELECT * FROM (%s) c(result, finding, advice)", sql);
	PGresult *res = cli_ask(d->db, named, 0, NULL, &why);
	free(named);
	if (!res)
		check_report(d, CHECK_FAIL, NULL, "cannot be queried: %s", why.p);
	for (int i = 0; res && i < PQntuples(res); i++)
		check_report(d, result_of(cli_value(res, i, "result")), cli_value(res, i, "advice"),
			"%s", cli_value(res, i, "finding"));
	PQclear(res);
	buf_free(&why);
}

static void check_configuration(struct check_run *d)
{
	const char *line = d->cli->mistakes;

	if (!d->cli->conf)
		for (; *line; line += strcspn(line, "\n") + 1)
			check_report(d, CHECK_FAIL,
				"correct the file; until then a reload changes nothing", "%s",
				line);
	else if (!d->cli->file)
		check_report(d, CHECK_WARN, "give one: interlock -c FILE check",
			"no configuration file: every option has its default");
}

/* Sets the statements' parameters: the age of an old transaction, and the number of connections of
 * a coordinator. */
static bool prepare(PGconn *db, const struct conf *conf, int64_t old, struct buf *why)
{
	enum { BESIDE_WRITERS = LANES - 1 + 2 }; /* the other lanes, the listener, the janitor */
	char age[32], connections[24];
	const char *values[] = { age, connections };

	snprintf(age, sizeof(age), "%jd ms", (intmax_t)old);
	snprintf(connections, sizeof(connections), "%jd", (intmax_t)conf->writers + BESIDE_WRITERS);
	PGresult *res = cli_ask(db,
		"SELECT set_config('interlock.old', $1, false), "
		"	set_config('interlock.connections', $2, false), "
		"	set_config('statement_timeout', '10s', false)",
		2, values, why);
	PQclear(res);
	return res;
}

static void check_database(struct check_run *d)
{
	struct buf why = { 0 };

	d->db = cli_dial(d->cli->conf, false, &why);
	if (d->db && !prepare(d->db, d->cli->conf, d->old, &why)) {
		PQfinish(d->db);
		d->db = NULL;
	}
	if (!d->db)
		check_report(d, CHECK_FAIL,
			"check [database] url, that the server is running, and pg_hba.conf", "%s",
			why.p);
	buf_free(&why);
}

static void check_schema(struct check_run *d)
{
	struct buf why = { 0 };
	struct schema found = schema_found(d->db);

	d->schema = schema_fits(&found);
	if (found.version >= 0 && !d->schema)
		schema_mismatch(&why, &found);
	else if (!d->schema)
		buf_adds(&why, PQerrorMessage(d->db));
	if (!d->schema)
		check_report(d, CHECK_FAIL,
			found.version > schema_version() ? NULL
							 : "run interlock migrate as the owner",
			"%s", why.p);
	buf_free(&why);
}

/* What a check depends on. */
enum need { NOTHING, CONF, DATABASE, SCHEMA };

static const struct check checks[] = {
	{ "configuration", check_configuration, NOTHING, "the file is valid" },
	{ "keys", check_keys, CONF, "all keys are valid, and only the daemon can read them" },
	{ "database", check_database, CONF, "accepts connections" },
	{ "server", NULL, DATABASE, "version and encoding are supported, and it is writable" },
	{ "settings", NULL, DATABASE, "commits are durable" },
	{ "clock", check_clock, DATABASE, "the database and this machine agree" },
	{ "connections", NULL, DATABASE, "enough for another coordinator" },
	{ "transactions", NULL, DATABASE, "no long-running transaction" },
	{ "slots", NULL, DATABASE, "no inactive replication slot" },
	{ "standbys", NULL, DATABASE, "at least one is synchronous, or there are none" },
	{ "schema", check_schema, DATABASE, "matches this version" },
	{ "role", NULL, SCHEMA, "has the privileges it needs, and no more" },
	{ "vacuum", NULL, SCHEMA, "no table has too many dead rows" },
	{ "journal", NULL, SCHEMA, "partitions exist for the next days" },
	{ "credentials", check_credentials, SCHEMA, "all are encrypted with credential_key" },
	{ "coordinators", NULL, SCHEMA, "at least one is running, and all have the same policy" },
};

static const char *missing(const struct check_run *d, int need)
{
	if (need >= CONF && !d->cli->conf)
		return "needs a valid configuration";
	if (need >= DATABASE && !d->db)
		return "needs the database";
	return need >= SCHEMA && !d->schema ? "needs the schema" : NULL;
}

static void check_all(struct check_run *d)
{
	for (d->check = checks; d->check < checks + countof(checks); d->check++) {
		const char *why = missing(d, d->check->need);

		d->here = 0;
		if (why)
			check_report(d, CHECK_SKIPPED, NULL, "%s", why);
		else if (d->check->run)
			d->check->run(d);
		else
			run_statement(d);
		if (d->here == 0)
			check_report(d, CHECK_OK, NULL, "%s", d->check->ok);
	}
}

static int run_check(const struct cli *cli)
{
	struct check_run d = { .cli = cli, .json = cli_option(cli, "json"), .old = 5 * 60 * 1000 };

	if (!cli_duration(cli, "old", 0, "like 5m", &d.old))
		return CLI_USAGE;
	if (d.json)
		printf("{\"checks\":[");
	check_all(&d);
	if (d.json)
		printf("],\n\"failed\":%d,\"warnings\":%d}\n", d.count[CHECK_FAIL],
			d.count[CHECK_WARN]);
	else
		printf("\n%d failed, %d warnings\n", d.count[CHECK_FAIL], d.count[CHECK_WARN]);
	PQfinish(d.db);
	return d.count[CHECK_FAIL] == 0 ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_check = {
	.name = "check",
	.help = "Check everything that the daemon depends on; exit with 1 if a check fails.",
	.options = {
		{ "old", "AGE", "warn about transactions that have been open for longer (default: 5m)" },
		{ "json", NULL, "print a JSON object" },
	},
	.allows_invalid_conf = true,
	.run = run_check,
};

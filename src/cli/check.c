/*
 * cli check: the doctor. Looks at what the daemon stands on, and says of each thing that is wrong
 * what to do. A check is a row of the table at the end: a function, or a statement in sql/checks
 * whose rows are what it found: how bad it is, a sentence, the remedy. What finds nothing is fine.
 * Nothing is changed, and no check is left out because another one failed unless it stands on it.
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
} verdicts[] = {
	[CHECK_OK] = { "ok", CLI_GREEN },
	[CHECK_SKIPPED] = { "skipped", CLI_DIM },
	[CHECK_WARN] = { "warn", CLI_YELLOW },
	[CHECK_FAIL] = { "fail", CLI_RED },
};

static void print_json(const struct doctor *d, enum check_verdict verdict, const char *sentence,
	const char *remedy)
{
	const struct {
		const char *name, *value;
	} members[] = { { "check", d->check->name }, { "verdict", verdicts[verdict].name },
		{ "finding", sentence }, { "remedy", remedy } };
	struct buf b = { 0 };

	for (size_t i = 0; i < countof(members) && members[i].value; i++) {
		buf_addf(&b, "%s\"%s\":", i ? "," : "{", members[i].name);
		buf_add_json(&b, slice_of(members[i].value));
	}
	printf("%s%s}", d->found > 1 ? ",\n" : "", b.p);
	buf_free(&b);
}

void check_found(
	struct doctor *d, enum check_verdict verdict, const char *remedy, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text[strcspn(text, "\n")] = '\0'; /* libpq explains itself in several lines */
	d->found++;
	d->here++;
	d->count[verdict]++;
	if (d->json)
		print_json(d, verdict, text, remedy);
	else
		printf("%s%-8s%s%-14s%s\n", cli_colour(verdicts[verdict].colour),
			verdicts[verdict].name, cli_colour(CLI_PLAIN), d->check->name, text);
	if (!d->json && remedy)
		printf("%24s%s\n", "→ ", remedy);
}

static enum check_verdict verdict_of(const char *name)
{
	for (size_t i = 0; i < countof(verdicts); i++)
		if (strcmp(verdicts[i].name, name) == 0)
			return (enum check_verdict)i;
	fatalx("sql/checks: %s is no verdict", name);
}

/* The statement of the check's name. */
static void ask(struct doctor *d)
{
	struct buf why = { 0 };
	const char *sql = NULL;

	for (size_t i = 0; i < countof(sql_checks); i++)
		if (strcmp(sql_checks[i].name, d->check->name) == 0)
			sql = sql_checks[i].text;
	if (!sql)
		fatalx("sql/checks has no %s.sql", d->check->name);
	PGresult *res = cli_ask(d->db, sql, 0, NULL, &why);
	if (!res)
		check_found(d, CHECK_FAIL, NULL, "the database does not say: %s", why.p);
	for (int i = 0; res && i < PQntuples(res); i++)
		check_found(d, verdict_of(PQgetvalue(res, i, 0)), PQgetvalue(res, i, 2), "%s",
			PQgetvalue(res, i, 1));
	PQclear(res);
	buf_free(&why);
}

static void check_configuration(struct doctor *d)
{
	const char *line = d->cli->mistakes;

	if (!d->cli->conf)
		for (; *line; line += strcspn(line, "\n") + 1)
			check_found(d, CHECK_FAIL,
				"correct the file; a reload takes nothing from it", "%s", line);
	else if (!d->cli->file)
		check_found(d, CHECK_WARN, "name it: interlock -c FILE check",
			"there is no file: every option has its default");
}

/* The statements' parameters: how old is too old, and what a coordinator takes. */
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

static void check_database(struct doctor *d)
{
	struct buf why = { 0 };

	d->db = cli_dial(d->cli->conf, false, &why);
	if (d->db && !prepare(d->db, d->cli->conf, d->old, &why)) {
		PQfinish(d->db);
		d->db = NULL;
	}
	if (!d->db)
		check_found(d, CHECK_FAIL,
			"see [database] url, and whether the server runs and lets us in", "%s",
			why.p);
	buf_free(&why);
}

static void check_schema(struct doctor *d)
{
	struct buf why = { 0 };
	struct schema found = schema_found(d->db);

	d->schema = schema_fits(&found);
	if (found.version >= 0 && !d->schema)
		schema_mismatch(&why, &found);
	else if (!d->schema)
		buf_adds(&why, PQerrorMessage(d->db));
	if (!d->schema)
		check_found(d, CHECK_FAIL,
			found.version > schema_version() ? NULL : "interlock migrate, as the owner",
			"%s", why.p);
	buf_free(&why);
}

/* What a check stands on. */
enum need { NOTHING, CONF, DATABASE, SCHEMA };

static const struct check checks[] = {
	{ "configuration", check_configuration, NOTHING, "the file is valid" },
	{ "keys", check_keys, CONF, "all are readable by the daemon only, and valid" },
	{ "database", check_database, CONF, "it can be reached" },
	{ "server", NULL, DATABASE, "its version and encoding are right, and it takes writes" },
	{ "settings", NULL, DATABASE, "what is answered ok is durable" },
	{ "clock", check_clock, DATABASE, "the database's and ours agree" },
	{ "connections", NULL, DATABASE, "there is room for another coordinator" },
	{ "transactions", NULL, DATABASE, "no transaction is old" },
	{ "slots", NULL, DATABASE, "no replication slot is abandoned" },
	{ "standbys", NULL, DATABASE, "one is synchronous, or there is none" },
	{ "schema", check_schema, DATABASE, "it is the one that this version needs" },
	{ "role", NULL, SCHEMA, "it may do what it must, and no more" },
	{ "vacuum", NULL, SCHEMA, "the hot tables are cleaned" },
	{ "journal", NULL, SCHEMA, "its partitions are there days ahead" },
	{ "credentials", check_credentials, SCHEMA, "all are sealed with the first key" },
	{ "coordinators", NULL, SCHEMA, "one is there, and all have the same policy" },
};

static const char *missing(const struct doctor *d, int need)
{
	if (need >= CONF && !d->cli->conf)
		return "it needs a valid configuration";
	if (need >= DATABASE && !d->db)
		return "it needs the database";
	return need >= SCHEMA && !d->schema ? "it needs the schema" : NULL;
}

static void check_all(struct doctor *d)
{
	for (d->check = checks; d->check < checks + countof(checks); d->check++) {
		const char *why = missing(d, d->check->need);

		d->here = 0;
		if (why)
			check_found(d, CHECK_SKIPPED, NULL, "%s", why);
		else if (d->check->look)
			d->check->look(d);
		else
			ask(d);
		if (d->here == 0)
			check_found(d, CHECK_OK, NULL, "%s", d->check->fine);
	}
}

static int run_check(const struct cli *cli)
{
	struct doctor d = { .cli = cli, .json = cli_option(cli, "json"), .old = 5 * 60 * 1000 };

	if (!cli_duration(cli, "old", 0, "like 5m", &d.old))
		return CLI_USAGE;
	if (d.json)
		printf("{\"findings\":[");
	check_all(&d);
	if (d.json)
		printf("],\n\"failed\":%d,\"warned\":%d}\n", d.count[CHECK_FAIL],
			d.count[CHECK_WARN]);
	else
		printf("\n%d failed, %d warned\n", d.count[CHECK_FAIL], d.count[CHECK_WARN]);
	PQfinish(d.db);
	return d.count[CHECK_FAIL] == 0 ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_check = {
	.name = "check",
	.help = "Looks at all that the daemon stands on, and says what to do. Fails if something does.",
	.options = {
		{ "old", "AGE", "transactions that are open for longer are too old (5m)" },
		{ "json", NULL, "prints a JSON object" },
	},
	.looks = true,
	.run = run_check,
};

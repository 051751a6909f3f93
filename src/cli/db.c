/*
 * cli db: the command's side of the database, synchronous, and its tables. An error of the
 * server becomes one line on stderr; no control character of a stored text reaches the terminal.
 */
#include "cli.h"

#include <stdlib.h>

#include "db/schema.h"
#include "sql.h"
#include "core/stmt.h"

enum { TYPE_NUMERIC = 1700 }; /* pg_type's number for it, which is fixed */

static void on_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

PGconn *cli_dial(const struct conf *conf, bool owner, struct buf *why)
{
	const char *url = owner && *conf->migrate_url ? conf->migrate_url : conf->url;
	const char *const names[] = { "dbname", "fallback_application_name", "connect_timeout",
		"client_encoding", NULL };
	const char *const values[] = { url, "interlock command", "10", "UTF8", NULL };

	if (!*url) {
		buf_adds(why, "[database] url is not set in the configuration");
		return NULL;
	}
	PGconn *db = PQconnectdbParams(names, values, 1);
	if (PQstatus(db) != CONNECTION_OK) {
		buf_adds(why, PQerrorMessage(db));
		PQfinish(db);
		return NULL;
	}
	PQsetNoticeProcessor(db, on_notice, NULL);
	return db;
}

PGconn *cli_connect(const struct conf *conf, bool owner)
{
	struct buf why = { 0 };
	PGconn *db = cli_dial(conf, owner, &why);

	if (db == NULL)
		cli_error("%s", why.p);
	buf_free(&why);
	return db;
}

PGresult *cli_ask(PGconn *db, const char *sql, int n, const char *const *values, struct buf *why)
{
	PGresult *res = PQexecParams(db, sql, n, NULL, values, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(res);
	const char *sentence = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return res;
	buf_adds(why, sentence ? sentence : PQerrorMessage(db));
	PQclear(res);
	return NULL;
}

PGresult *cli_query(PGconn *db, const char *sql, int n, const char *const *values)
{
	struct buf why = { 0 };
	PGresult *res = cli_ask(db, sql, n, values, &why);

	if (res == NULL)
		cli_error("%s", why.p);
	buf_free(&why);
	return res;
}

const char *cli_value(const PGresult *res, int row, const char *column)
{
	int i = PQfnumber(res, column);

	if (i < 0)
		fatalx("sql: a result has no column %s", column);
	return PQgetvalue(res, row, i);
}

const char *cli_single(const PGresult *res)
{
	if (PQnfields(res) != 1)
		fatalx("sql: a result has %d columns instead of one", PQnfields(res));
	return PQntuples(res) > 0 ? PQgetvalue(res, 0, 0) : NULL;
}

int cli_change(PGconn *db, const char *sql, int n, const char *const *values)
{
	PGresult *res = cli_query(db, sql, n, values);
	int rows = res ? atoi(PQcmdTuples(res)) : -1;

	PQclear(res);
	return rows;
}

bool cli_schema(PGconn *db, struct schema *found)
{
	*found = schema_found(db);
	if (found->version < 0)
		cli_error("%s", PQerrorMessage(db));
	return found->version >= 0;
}

PGconn *cli_open(const struct conf *conf, bool owner)
{
	PGconn *db = cli_connect(conf, owner);
	struct buf why = { 0 };
	struct schema found;
	bool known = db && cli_schema(db, &found);

	if (known && schema_fits(&found))
		return db;
	if (known) {
		schema_mismatch(&why, &found);
		cli_error("%s", why.p);
		buf_free(&why);
	}
	PQfinish(db);
	return NULL;
}

const char *cli_sql(const char *name)
{
	static char *texts[countof(sql_commands)];

	for (size_t i = 0; i < countof(sql_commands); i++) {
		if (strcmp(sql_commands[i].name, name) != 0)
			continue;
		if (texts[i] == NULL)
			texts[i] = stmt_expand(sql_commands[i].text);
		return texts[i];
	}
	fatalx("sql: no command %s", name);
}

char *cli_project_of(PGconn *db, const char *run)
{
	PGresult *res = cli_query(db,
		"SELECT p.id FROM projects p JOIN runs r ON r.project_id = p.id AND r.id = $1", 1,
		&run);
	const char *found = res ? cli_single(res) : NULL;
	char *project = found ? xstrdup(found) : NULL;

	if (res && !found)
		cli_error("no run %s", run);
	PQclear(res);
	return project;
}

char *cli_workflow(PGconn *db, const char *text)
{
	struct uuid id;
	char *found = NULL;

	if (uuid_parse(slice_of(text), &id))
		return xstrdup(text);
	PGresult *res = cli_query(db, "SELECT id FROM workflows WHERE name = $1", 1, &text);
	int n = res ? PQntuples(res) : -1;
	if (n == 1)
		found = xstrdup(cli_single(res));
	else if (n == 0)
		cli_error("no workflow has the name \"%s\"", text);
	else if (n > 1)
		cli_error("%d workflows have the name \"%s\": use the id", n, text);
	PQclear(res);
	return found;
}

static void add_duration(struct buf *b, double seconds)
{
	if (seconds < 0) {
		buf_addc(b, '-');
		seconds = -seconds;
	}
	long s = (long)seconds;

	if (seconds < 1)
		buf_addf(b, "%.0fms", seconds * 1000);
	else if (s < 60)
		buf_addf(b, "%.1fs", seconds);
	else if (s < 3600)
		buf_addf(b, "%ldm %lds", s / 60, s % 60);
	else if (s < 86400)
		buf_addf(b, "%ldh %ldm", s / 3600, s / 60 % 60);
	else
		buf_addf(b, "%ldd %ldh", s / 86400, s / 3600 % 24);
}

static bool is_start(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80; /* of a character in UTF-8 */
}

static int count_chars(const char *s)
{
	int n = 0;

	/* cli_table_to comes here only if a row has cells, and then text.p is not NULL. */
	for (; *s; s++) /* NOLINT(clang-analyzer-core.NullDereference) */
		n += is_start(*s);
	return n;
}

/* Appends the cell as it is shown, with its NUL. */
static void add_cell(struct buf *b, const PGresult *rows, int row, int col)
{
	Oid type = PQftype(rows, col);

	if (PQgetisnull(rows, row, col))
		buf_addc(b, '-');
	else if (type == TYPE_NUMERIC)
		add_duration(b, atof(PQgetvalue(rows, row, col)));
	else
		for (const char *c = PQgetvalue(rows, row, col); *c; c++)
			buf_addc(b, (unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c);
	buf_addc(b, '\0');
}

/* States are coloured. */
static void print_row(FILE *out, const char *const *cells, const int *widths, int cols)
{
	for (int i = 0; i < cols; i++) {
		enum cli_colour colour = cli_state_colour(cells[i]);

		fprintf(out, "%s%s%s%*s", colour != CLI_PLAIN ? cli_colour(colour) : "", cells[i],
			colour != CLI_PLAIN ? cli_colour(CLI_PLAIN) : "",
			i + 1 < cols ? widths[i] - count_chars(cells[i]) + 2 : 0, "");
	}
	fputc('\n', out);
}

/* All cells first, one behind the other: their widths decide where the first one's column ends. */
void cli_table_to(FILE *out, const PGresult *rows)
{
	int cols = PQnfields(rows), n = PQntuples(rows),
	    *widths = xcalloc((size_t)cols, sizeof(int));
	const char **cells = xcalloc((size_t)cols, sizeof(*cells));
	struct buf text = { 0 };

	for (int col = 0; col < cols; col++) {
		buf_adds(&text, PQfname(rows, col));
		buf_addc(&text, '\0');
	}
	for (int i = 0; i < n * cols; i++)
		add_cell(&text, rows, i / cols, i % cols);
	for (int pass = 0; pass < 2; pass++) {
		const char *cell = text.p;
		for (int i = 0; i < (n + 1) * cols; i++, cell += strlen(cell) + 1) {
			int chars = count_chars(cell), col = i % cols;
			cells[col] = cell;
			if (pass == 0 && chars > widths[col])
				widths[col] = chars;
			if (pass == 1 && col == cols - 1)
				print_row(out, cells, widths, cols);
		}
	}
	free(cells);
	free(widths);
	buf_free(&text);
}

void cli_table(const PGresult *rows)
{
	cli_table_to(stdout, rows);
}

void cli_record(const PGresult *row)
{
	struct buf text = { 0 };

	for (int col = 0; col < PQnfields(row); col++) {
		if (PQgetisnull(row, 0, col))
			continue;
		text.n = 0;
		add_cell(&text, row, 0, col);
		printf("%-18s%s\n", PQfname(row, col), text.p);
	}
	buf_free(&text);
}

bool cli_show(PGconn *db, const char *query, bool one, bool json, int n, const char *const *values)
{
	const char *wrap[] = { "SELECT coalesce(json_agg(t), '[]') FROM (",
		"SELECT row_to_json(t) FROM (" };
	char *sql = json ? xasprintf("%s%s) t", wrap[one], query) : xstrdup(query);
	PGresult *res = cli_query(db, sql, n, values);

	free(sql);
	if (res && json)
		fputs(cli_single(res), stdout);
	else if (res && one)
		cli_record(res);
	else if (res)
		cli_table(res);
	PQclear(res);
	return res;
}

int cli_list(const struct cli *cli, const char *query, int n, const char *const *values)
{
	bool json = cli_option(cli, "json");
	PGconn *db = cli_open(cli->conf, false);
	bool ok = db && cli_show(db, query, false, json, n, values);

	if (ok && json)
		putchar('\n');
	PQfinish(db);
	return ok ? CLI_OK : CLI_FAILED;
}

/*
 * A db under observation: what test_db.c and test_db_dial.c share. They run against a real
 * PostgreSQL whose conninfo is in $TEST_DATABASE_URL. What the connection does is written down as a
 * trace, a letter for each callback: U up, D down, r a result, e an error, a an aborted result, s
 * synced, n notified.
 */
#ifndef DB_PROBE_H
#define DB_PROBE_H

#include "db/db.h"

#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

struct probe {
	uv_loop_t loop;
	uv_timer_t tick; /* so that the loop turns while nothing happens */
	struct db *db;
	struct buf trace;
	char value[64];               /* of the last result */
	char why[256];                /* of the last down */
	char when;                    /* at this letter … */
	void (*act)(struct probe *p); /* … do this */
	bool in_send, closed;
};

static const char *url;
static PGconn *side;   /* a second, synchronous connection */
static char *identity; /* user, database and password, as a conninfo */
static char *tcp_port; /* of the server at 127.0.0.1, or NULL */

static const struct db_stmt stmts[] = {
	{ "echo", "SELECT $1::text" },
	{ "div", "SELECT 1 / $1::int" },
	{ "length", "SELECT length($1::bytea)" },
	{ "sleep", "SELECT pg_sleep($1::float8)" },
	{ "setting", "SELECT current_setting($1)" },
	{ "insert", "INSERT INTO db_test VALUES ($1::int)" },
};

static void note(struct probe *p, char letter)
{
	assert_false(p->closed);
	buf_addc(&p->trace, letter);
	if (p->when == letter)
		p->act(p);
}

static void on_up(struct db *db, void *arg)
{
	struct probe *p = arg;
	assert_ptr_equal(db, p->db);
	assert_true(db_is_up(db));
	note(p, 'U');
}

static void on_down(struct db *db, void *arg, const char *why)
{
	struct probe *p = arg;
	assert_false(p->in_send);
	assert_false(db_is_up(db));
	assert_int_equal(db_up_since(db), 0);
	snprintf(p->why, sizeof(p->why), "%s", why);
	note(p, 'D');
}

static void on_result(struct db *db, void *arg, PGresult *res)
{
	struct probe *p = arg;
	(void)db;
	if (PQntuples(res) > 0)
		snprintf(p->value, sizeof(p->value), "%s", PQgetvalue(res, 0, 0));
	ExecStatusType status = PQresultStatus(res);
	PQclear(res);
	switch (status) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK: note(p, 'r'); break;
	case PGRES_FATAL_ERROR: note(p, 'e'); break;
	case PGRES_PIPELINE_ABORTED: note(p, 'a'); break;
	default: fail();
	}
}

static void on_synced(struct db *db, void *arg)
{
	(void)db;
	note(arg, 's');
}

static void on_notified(struct db *db, void *arg, const char *channel)
{
	(void)db;
	assert_string_equal(channel, "db \"test");
	note(arg, 'n');
}

static void on_closed(void *arg)
{
	((struct probe *)arg)->closed = true;
}

static void on_tick(uv_timer_t *tick)
{
	(void)tick;
}

static const struct db_ops ops = { on_up, on_down, on_result, on_synced, on_notified };

/* Opens with a table of statements; db_closed() undoes it. */
static void open_with(
	struct probe *p, const char *conninfo, const struct db_stmt *table, size_t ntable)
{
	static const char *const settings[] = { "jit", "off", "work_mem", "5MB", NULL };
	const struct db_config config = {
		.conninfo = conninfo,
		.name = "test",
		.application_name = "db test",
		.settings = settings,
		.stmts = table,
		.nstmts = ntable,
		.listen = "db \"test",
		.ops = &ops,
		.arg = p,
	};
	memset(p, 0, sizeof(*p));
	uv_loop_init(&p->loop);
	uv_timer_init(&p->loop, &p->tick);
	uv_timer_start(&p->tick, on_tick, 1, 1);
	p->db = db_open(&p->loop, &config);
}

static void db_opened(struct probe *p, const char *conninfo)
{
	open_with(p, conninfo, stmts, countof(stmts));
}

static void db_closed(struct probe *p)
{
	if (p->db != NULL)
		db_close(p->db, on_closed, p);
	uv_close((uv_handle_t *)&p->tick, NULL);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	assert_true(p->closed);
	assert_int_equal(uv_loop_close(&p->loop), 0);
	buf_free(&p->trace);
}

static void turn_for(struct probe *p, int ms)
{
	for (int64_t end = mono_ms() + ms; mono_ms() < end;)
		uv_run(&p->loop, UV_RUN_ONCE);
}

static const char *trace(const struct probe *p)
{
	return p->trace.n > 0 ? p->trace.p : "";
}

/* Runs the loop until the trace is that, or fails after 20 s. Starts a new trace. */
static void expect(struct probe *p, const char *want)
{
	for (int64_t end = mono_ms() + 20000; mono_ms() < end && strcmp(trace(p), want) != 0;)
		uv_run(&p->loop, UV_RUN_ONCE);
	assert_string_equal(trace(p), want);
	p->trace.n = 0;
}

static void on_side(const char *sql)
{
	PGresult *res = PQexec(side, sql);
	if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
		fail_msg("%s", PQresultErrorMessage(res));
	PQclear(res);
}

static void terminate(void)
{
	on_side("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
		"WHERE application_name = 'db test'");
}

/* Appends ` keyword='value'` as a conninfo has it. */
static void add_option(struct buf *b, const char *keyword, const char *value)
{
	if (value == NULL || *value == '\0')
		return;
	buf_addf(b, " %s='", keyword);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			buf_addc(b, '\\');
		buf_addc(b, *value);
	}
	buf_addc(b, '\'');
}

static int set_up(void **state)
{
	struct buf b = { 0 };
	(void)state;

	side = PQconnectdb(url);
	if (PQstatus(side) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(side));
	on_side("DROP TABLE IF EXISTS db_test, db_test_deferred");
	on_side("CREATE TABLE db_test (i int)");
	on_side("CREATE TABLE db_test_deferred (i int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
	add_option(&b, "user", PQuser(side));
	add_option(&b, "dbname", PQdb(side));
	add_option(&b, "password", PQpass(side));
	identity = b.p;

	PGresult *res = PQexec(side, "SHOW port");
	char *conninfo =
		xasprintf("%s hostaddr=127.0.0.1 port=%s", identity, PQgetvalue(res, 0, 0));
	PGconn *tcp = PQconnectdb(conninfo);
	if (PQstatus(tcp) == CONNECTION_OK)
		tcp_port = xstrdup(PQgetvalue(res, 0, 0));
	PQfinish(tcp);
	PQclear(res);
	free(conninfo);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	on_side("DROP TABLE db_test, db_test_deferred");
	PQfinish(side);
	free(identity);
	free(tcp_port);
	return 0;
}

/* Is there a database to test with? Says so if not. */
static bool have_database(void)
{
	url = getenv("TEST_DATABASE_URL");
	if (url == NULL)
		printf("skipped: TEST_DATABASE_URL is not set\n");
	log_threshold = LOG_LEVEL_WARN;
	return url != NULL;
}

#endif

/*
 * db: against a real PostgreSQL, whose conninfo is in $TEST_DATABASE_URL. What a connection does is
 * written down as a trace, a letter for each callback: U up, D down, r a result, e an error, a an
 * aborted result, s synced, n notified.
 */
#include "db.h"
#include "stats.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
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

static void query(struct probe *p, const char *stmt, const char *text)
{
	p->in_send = true;
	db_query(p->db, stmt, &(struct db_param){ text, 0, false }, 1);
	p->in_send = false;
}

static void sync_all(struct probe *p)
{
	p->in_send = true;
	db_sync(p->db);
	p->in_send = false;
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

/* A socket at 127.0.0.1 whose port refuses connections or, if it listens, accepts them and is
 * silent. */
static int deaf_socket(bool listens, int *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	if (listens)
		assert_int_equal(listen(fd, 8), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static void many_statements(void **state)
{
	struct probe p;
	struct buf want = { 0 };
	(void)state;

	db_opened(&p, url);
	assert_false(db_is_up(p.db));
	expect(&p, "U");
	for (int batch = 0; batch < 20; batch++) {
		bool bad = batch % 3 == 1;
		for (int i = 0; i < 100; i++) {
			query(&p, "echo", "x");
			buf_addc(&want, 'r');
		}
		query(&p, "div", bad ? "0" : "1");
		sync_all(&p);
		buf_adds(&want, bad ? "es" : "rs");
	}
	expect(&p, want.p);
	buf_free(&want);
	db_closed(&p);
}

static void errors_in_the_middle(void **state)
{
	struct probe p;
	(void)state;

	db_opened(&p, url);
	expect(&p, "U");
	query(&p, "insert", "1");
	query(&p, "div", "0");
	query(&p, "insert", "2");
	query(&p, "echo", "x");
	sync_all(&p);
	query(&p, "insert", "3");
	sync_all(&p);
	sync_all(&p);
	expect(&p, "reaasrss");
	PGresult *res = PQexec(side, "SELECT string_agg(i::text, ',') FROM db_test");
	assert_string_equal(PQgetvalue(res, 0, 0), "3");
	PQclear(res);
	db_closed(&p);
}

static void parameters_and_settings(void **state)
{
	struct probe p;
	(void)state;

	db_opened(&p, url);
	expect(&p, "U");
	query(&p, "echo", "h\xc3\xa4");
	sync_all(&p);
	expect(&p, "rs");
	assert_string_equal(p.value, "h\xc3\xa4");
	query(&p, "echo", NULL);
	sync_all(&p);
	expect(&p, "rs");
	assert_string_equal(p.value, "");
	db_query(p.db, "length", &(struct db_param){ "\0\1\2", 3, true }, 1);
	sync_all(&p);
	expect(&p, "rs");
	assert_string_equal(p.value, "3");
	query(&p, "setting", "work_mem");
	sync_all(&p);
	expect(&p, "rs");
	assert_string_equal(p.value, "5MB");
	query(&p, "setting", "application_name");
	sync_all(&p);
	expect(&p, "rs");
	assert_string_equal(p.value, "db test");
	db_closed(&p);
}

static void large_parameters_do_not_block(void **state)
{
	struct probe p;
	size_t n = 10 << 20;
	char *large = xcalloc(n, 1);
	(void)state;

	db_opened(&p, url);
	expect(&p, "U");
	int64_t start = mono_ms();
	query(&p, "sleep", "2"); /* meanwhile the server reads nothing */
	db_query(p.db, "length", &(struct db_param){ large, (int)n, true }, 1);
	sync_all(&p);
	assert_true(mono_ms() - start < 1900);
	expect(&p, "rrs");
	assert_string_equal(p.value, "10485760");
	free(large);
	db_closed(&p);
}

static void notifications(void **state)
{
	struct probe p;
	(void)state;

	db_opened(&p, url);
	expect(&p, "U");
	on_side("NOTIFY \"db \"\"test\"");
	expect(&p, "n");
	on_side("NOTIFY another");
	on_side("NOTIFY \"db \"\"test\", 'x'");
	on_side("NOTIFY \"db \"\"test\", 'y'");
	expect(&p, "nn");
	db_closed(&p);
}

static void loss_when_idle(void **state)
{
	struct probe p;
	struct series *up = stats_series(STATS_DB_UP, "lane=\"test\"");
	struct series *connects = stats_series(STATS_DB_CONNECTS, "lane=\"test\"");
	double before = stats_value(connects);
	(void)state;

	db_opened(&p, url);
	expect(&p, "U");
	assert_true(stats_value(up) == 1);
	assert_in_range(db_up_since(p.db), 1, mono_ms());
	terminate();
	expect(&p, "D");
	assert_non_null(strstr(p.why, "terminating connection due to administrator command"));
	assert_true(stats_value(up) == 0);
	expect(&p, "U");
	assert_true(stats_value(connects) == before + 2);
	query(&p, "echo", "again");
	sync_all(&p);
	expect(&p, "rs");
	db_closed(&p);
}

/* What the server says in its last breath is no statement's result. */
static void loss_in_a_batch(void **state)
{
	struct probe p;
	(void)state;

	db_opened(&p, url);
	expect(&p, "U");
	query(&p, "echo", "x");
	sync_all(&p);
	query(&p, "insert", "10");
	query(&p, "sleep", "100");
	query(&p, "insert", "11");
	sync_all(&p);
	turn_for(&p, 200);
	terminate();
	expect(&p, "rsrDU");
	assert_non_null(strstr(p.why, "terminating connection due to administrator command"));
	query(&p, "echo", "again");
	sync_all(&p);
	expect(&p, "rs");
	db_closed(&p);
}

/* Sends to a connection that is lost, but of which `down` has not been told, do nothing. */
static void sends_after_the_loss(void **state)
{
	struct probe p;
	(void)state;

	db_opened(&p, url);
	expect(&p, "U");
	terminate();
	for (int i = 0; i < 1000; i++) {
		query(&p, "echo", "x");
		sync_all(&p);
	}
	expect(&p, "DU");
	db_reset(p.db, "the test says so\nand more");
	db_reset(p.db, "no, this");
	assert_true(db_is_up(p.db));
	query(&p, "echo", "x");
	sync_all(&p);
	assert_string_equal(trace(&p), "");
	expect(&p, "DU");
	assert_string_equal(p.why, "the test says so");
	db_closed(&p);
}

static void reset(struct probe *p)
{
	if (p->trace.n < 7)
		db_reset(p->db, "again");
}

static void reconnects_ever_more_slowly(void **state)
{
	struct probe p;
	int64_t start = mono_ms();
	(void)state;

	db_opened(&p, url);
	p.when = 'U';
	p.act = reset;
	expect(&p, "UDUDUDU"); /* at once, after 100 ms, after 200 ms */
	assert_in_range(mono_ms() - start, 300, 3000);
	db_closed(&p);
}

/* A commit that fails is not a commit, though no statement failed. */
static void error_at_the_sync(void **state)
{
	static const struct db_stmt deferred[] = {
		{ "twice", "INSERT INTO db_test_deferred VALUES ($1::int), ($1::int)" },
	};
	struct probe p;
	(void)state;

	open_with(&p, url, deferred, 1);
	expect(&p, "U");
	query(&p, "twice", "1");
	sync_all(&p);
	expect(&p, "rDU");
	assert_non_null(strstr(p.why, "duplicate key"));
	db_closed(&p);
}

static void send_more(struct probe *p)
{
	p->when = '\0';
	query(p, "echo", "x");
	sync_all(p);
}

static void close_now(struct probe *p)
{
	db_close(p->db, on_closed, p);
	p->db = NULL;
	p->when = '\0';
}

/* Brings a connection through every callback; it sends, resets or closes in one of them. */
static void act_in_callback(char when, void (*act)(struct probe *p), const char *want)
{
	struct probe p;

	db_opened(&p, url);
	if (when != 'U')
		expect(&p, "U");
	p.when = when;
	p.act = act;
	if (when == 'n')
		on_side("NOTIFY \"db \"\"test\"");
	if (when == 'D')
		db_reset(p.db, "for the callback");
	if (strchr("rs", when) != NULL) {
		query(&p, "echo", "x");
		query(&p, "echo", "x");
		sync_all(&p);
	}
	expect(&p, want);
	turn_for(&p, 20);
	assert_string_equal(trace(&p), "");
	db_closed(&p);
}

static void reset_once(struct probe *p)
{
	p->when = '\0';
	db_reset(p->db, "from a callback");
}

static void callbacks_may_do_anything(void **state)
{
	(void)state;
	act_in_callback('U', send_more, "Urs");
	act_in_callback('r', send_more, "rrsrs");
	act_in_callback('s', send_more, "rrsrs");
	act_in_callback('n', send_more, "nrs");
	act_in_callback('U', reset_once, "UDU");
	act_in_callback('r', reset_once, "rDU");
	act_in_callback('s', reset_once, "rrsDU");
	act_in_callback('n', reset_once, "nDU");
	act_in_callback('D', reset_once, "DU");
	act_in_callback('U', close_now, "U");
	act_in_callback('r', close_now, "r");
	act_in_callback('s', close_now, "rrs");
	act_in_callback('n', close_now, "n");
	act_in_callback('D', close_now, "D");
}

/* Closed after every number of loop turns it can take to be up, so in every state. */
static void close_at_any_time(void **state)
{
	char *conninfo = tcp_port == NULL
				 ? xstrdup(url)
				 : xasprintf("%s host=localhost port=%s", identity, tcp_port);
	(void)state;

	for (int turns = 0, up = 0; up < 3; turns++) {
		struct probe p;
		db_opened(&p, conninfo);
		for (int i = 0; i < turns; i++)
			uv_run(&p.loop, UV_RUN_ONCE);
		up += db_is_up(p.db);
		if (up == 2)
			db_reset(p.db, "closed before it is buried");
		db_closed(&p);
	}
	free(conninfo);
}

static void close_while_connecting(void **state)
{
	int port, fd = deaf_socket(true, &port);
	char *conninfo = xasprintf("%s host=127.0.0.1 port=%d", identity, port);
	struct probe p;
	(void)state;

	db_opened(&p, conninfo);
	turn_for(&p, 50);
	db_closed(&p);
	free(conninfo);
	close(fd);
}

/* A prepare that waits for a lock is given up, and is done when the lock has gone. */
static void prepare_that_waits(void **state)
{
	struct probe p;
	(void)state;

	on_side("BEGIN");
	on_side("LOCK TABLE db_test");
	db_opened(&p, url);
	turn_for(&p, 50);
	db_closed(&p);
	db_opened(&p, url);
	turn_for(&p, 5500);
	on_side("COMMIT");
	expect(&p, "U");
	db_closed(&p);
}

static void several_hosts(void **state)
{
	int refusing, silent, fd[] = { deaf_socket(false, &refusing), deaf_socket(true, &silent) };
	struct probe p;
	(void)state;
	if (tcp_port == NULL)
		skip();

	char *conninfo =
		xasprintf("%s host=127.0.0.1,localhost port=%d,%s", identity, refusing, tcp_port);
	int64_t start = mono_ms();
	db_opened(&p, conninfo);
	expect(&p, "U");
	assert_true(mono_ms() - start < 2000);
	terminate();
	expect(&p, "DU");
	db_closed(&p);
	free(conninfo);

	conninfo =
		xasprintf("%s hostaddr=127.0.0.1,127.0.0.1 port=%d,%s", identity, silent, tcp_port);
	start = mono_ms();
	db_opened(&p, conninfo);
	expect(&p, "U");
	assert_in_range(mono_ms() - start, 4900, 9000);
	db_closed(&p);
	free(conninfo);
	close(fd[0]);
	close(fd[1]);
}

static void read_only_is_away(void **state)
{
	char *conninfo =
		xasprintf("%s host='%s' port=%s options='-c default_transaction_read_only=on'",
			identity, PQhost(side), PQport(side));
	struct probe p;
	(void)state;

	db_opened(&p, conninfo);
	turn_for(&p, 500);
	assert_string_equal(trace(&p), "");
	db_closed(&p);
	free(conninfo);
}

/* Opens in a child process, with what it writes to stderr in `said`, and lets it run for so
 * many ms unless it exits by itself; the exit status. */
static int in_child(
	const char *conninfo, const struct db_stmt *table, size_t n, int ms, struct buf *said)
{
	int out[2], status;
	char text[4096];

	assert_int_equal(pipe(out), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct probe p;
		dup2(out[1], STDERR_FILENO);
		open_with(&p, conninfo, table, n);
		turn_for(&p, ms);
		db_closed(&p);
		exit(0); /* which also ends the pool */
	}
	close(out[1]);
	for (ssize_t got; (got = read(out[0], text, sizeof(text))) > 0;)
		buf_add(said, text, (size_t)got);
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void our_faults_are_fatal(void **state)
{
	static const struct db_stmt bad[] = {
		{ "good", "SELECT 1" },
		{ "bad", "SELECT no_such_column FROM db_test" },
	};
	static const char *const unparsable[] = { "postgresql://u:sesame@[h/", "sesame",
		"host=a,b,c port=1,2 password=sesame" };
	struct buf said = { 0 };
	(void)state;

	assert_int_equal(in_child(url, bad, 2, 10000, &said), 1);
	assert_non_null(strstr(said.p, "bad does not prepare"));
	assert_non_null(strstr(said.p, "no_such_column"));
	buf_free(&said);
	for (size_t i = 0; i < countof(unparsable); i++) {
		assert_int_equal(in_child(unparsable[i], stmts, 1, 10000, &said), 1);
		assert_null(strstr(said.p, "sesame"));
		buf_free(&said);
	}
}

static void failures_are_logged_without_secrets(void **state)
{
	int port, fd = deaf_socket(false, &port);
	char *conninfo = xasprintf("postgresql://u:sesame@127.0.0.1:%d,127.0.0.1:%d/", port, port);
	struct buf said = { 0 };
	(void)state;

	assert_int_equal(in_child(conninfo, stmts, 1, 2000, &said), 0);
	assert_non_null(strstr(said.p, "refused"));
	assert_null(strstr(said.p, "sesame"));
	buf_free(&said);
	free(conninfo);
	close(fd);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* These fork, so they come first: libuv's pool, once started, does not survive the
		 * exit(3) of a child. */
		cmocka_unit_test(our_faults_are_fatal),
		cmocka_unit_test(failures_are_logged_without_secrets),
		cmocka_unit_test(many_statements),
		cmocka_unit_test(errors_in_the_middle),
		cmocka_unit_test(parameters_and_settings),
		cmocka_unit_test(large_parameters_do_not_block),
		cmocka_unit_test(notifications),
		cmocka_unit_test(loss_when_idle),
		cmocka_unit_test(loss_in_a_batch),
		cmocka_unit_test(sends_after_the_loss),
		cmocka_unit_test(reconnects_ever_more_slowly),
		cmocka_unit_test(error_at_the_sync),
		cmocka_unit_test(callbacks_may_do_anything),
		cmocka_unit_test(close_at_any_time),
		cmocka_unit_test(close_while_connecting),
		cmocka_unit_test(prepare_that_waits),
		cmocka_unit_test(several_hosts),
		cmocka_unit_test(read_only_is_away),
	};
	url = getenv("TEST_DATABASE_URL");
	if (url == NULL) {
		printf("skipped: TEST_DATABASE_URL is not set\n");
		return 0;
	}
	log_threshold = LOG_LEVEL_WARN;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

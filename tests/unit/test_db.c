/*
 * db, once it is up: statements and their results in order, errors, notifications, and what a lost
 * connection does to all of these.
 */
#include "db_probe.h"
#include "lib/metrics.h"

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
	struct series *up = metrics_series(METRIC_DB_UP, "lane=\"test\"");
	struct series *connects = metrics_series(METRIC_DB_CONNECTS, "lane=\"test\"");
	double before = metrics_value(connects);
	(void)state;

	db_opened(&p, url);
	expect(&p, "U");
	assert_true(metrics_value(up) == 1);
	assert_in_range(db_up_since(p.db), 1, mono_ms());
	terminate();
	expect(&p, "D");
	assert_non_null(strstr(p.why, "terminating connection due to administrator command"));
	assert_true(metrics_value(up) == 0);
	expect(&p, "U");
	assert_true(metrics_value(connects) == before + 2);
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

/* Sends to a connection that is lost, before `down` is called, do nothing. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};
	return have_database() ? cmocka_run_group_tests(tests, set_up, tear_down) : 0;
}

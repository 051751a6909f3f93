/*
 * db, until it is up: several hosts, names, servers that are deaf, read-only or locked; what is
 * fatal; and closing at any time.
 */
#include "db_probe.h"

#include <arpa/inet.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* Of the leak sanitizer, where there is one: what is allocated from now on is no leak. A child that
 * dies by fatal() gives nothing back, and must not. */
void __lsan_disable(void) __attribute__((weak));

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
		if (__lsan_disable != NULL)
			__lsan_disable();
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
	static const struct db_stmt described[][1] = {
		{ { "fewer", "SELECT 1 AS ord, 2 AS state", "ord" } },
		{ { "more", "SELECT 1 AS ord", "ord, verdict" } },
		{ { "other", "SELECT 1 AS ord, 2 AS state", "ord, verdict" } },
	};
	static const char *const differs[] = {
		"fewer: column 2 of the result is state, and declared is none",
		"more: column 2 of the result is missing, and declared is verdict",
		"other: column 2 of the result is state, and declared is verdict",
	};
	static const char *const unparsable[] = { "postgresql://u:sesame@[h/", "sesame",
		"host=a,b,c port=1,2 password=sesame" };
	struct buf said = { 0 };
	(void)state;

	assert_int_equal(in_child(url, bad, 2, 10000, &said), 1);
	assert_non_null(strstr(said.p, "bad does not prepare"));
	assert_non_null(strstr(said.p, "no_such_column"));
	buf_free(&said);
	for (size_t i = 0; i < countof(described); i++) {
		assert_int_equal(in_child(url, described[i], 1, 10000, &said), 1);
		assert_non_null(strstr(said.p, differs[i]));
		buf_free(&said);
	}
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* These fork, so they come first: libuv's pool, once started, does not survive the
		 * exit(3) of a child. */
		cmocka_unit_test(our_faults_are_fatal),
		cmocka_unit_test(failures_are_logged_without_secrets),
		cmocka_unit_test(close_at_any_time),
		cmocka_unit_test(close_while_connecting),
		cmocka_unit_test(prepare_that_waits),
		cmocka_unit_test(several_hosts),
		cmocka_unit_test(read_only_is_away),
	};
	return have_database() ? cmocka_run_group_tests(tests, set_up, tear_down) : 0;
}

/*
 * systemd's side played by the test: a notification socket, descriptors handed over, credentials.
 */
#include "lib/systemd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test_sd.XXXXXX";

/* A notification socket of that name ('@': abstract), with NOTIFY_SOCKET set to it. */
static int notify_socket(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	strcpy(at.sun_path, name);
	if (name[0] == '@')
		at.sun_path[0] = '\0';
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void assert_notified(const char *name)
{
	char got[64] = "";
	int fd = notify_socket(name);

	systemd_notify("STATUS=%d of %s", 3, "four");
	assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), strlen("STATUS=3 of four"));
	assert_string_equal(got, "STATUS=3 of four");
	close(fd);
}

static void test_notify(void **state)
{
	(void)state;
	char *path = xasprintf("%s/notify", folder);
	char *abstract = xasprintf("@interlock-test-sd-%d", (int)getpid());

	assert_notified(path);
	assert_notified(abstract);

	/* None of these may do more than warn. */
	log_threshold = LOG_LEVEL_ERROR;
	systemd_notify("READY=1");
	char long_path[200] = { 0 };
	memset(long_path, 'x', sizeof(long_path) - 1);
	setenv("NOTIFY_SOCKET", long_path, 1);
	systemd_notify("READY=1");
	unsetenv("NOTIFY_SOCKET");
	systemd_notify("READY=1");
	log_threshold = LOG_LEVEL_INFO;
	unlink(path);
	free(path);
	free(abstract);
}

/* Reads one message; "" if there is none. */
static const char *received(int fd)
{
	static char got[512];
	ssize_t n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);

	got[n > 0 ? n : 0] = '\0';
	return got;
}

static void test_status(void **state)
{
	(void)state;
	char *path = xasprintf("%s/status", folder);
	int fd = notify_socket(path);
	uintmax_t stamp;
	int64_t now = mono_ms();

	/* A line of its own would be another message; what is not new is not said, nor what comes
	 * right behind. */
	systemd_status("away: no\nREADY=1");
	assert_string_equal(received(fd), "STATUS=away: no READY=1");
	systemd_status("away: no\nREADY=1");
	systemd_status("serving");
	assert_string_equal(received(fd), "");

	systemd_reloading();
	assert_int_equal(sscanf(received(fd), "RELOADING=1\nMONOTONIC_USEC=%ju", &stamp), 1);
	assert_in_range(stamp / 1000, now, mono_ms());
	unsetenv("NOTIFY_SOCKET");
	close(fd);
	unlink(path);
	free(path);
}

static int64_t watchdog(int pid, const char *usec)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	setenv("WATCHDOG_PID", text, 1);
	setenv("WATCHDOG_USEC", usec, 1);
	return systemd_watchdog_ms();
}

static void test_watchdog(void **state)
{
	(void)state;
	assert_int_equal(systemd_watchdog_ms(), 0);
	assert_int_equal(watchdog(getpid(), "30000000"), 15000);
	assert_int_equal(watchdog(getpid(), "1"), 1);
	assert_int_equal(watchdog(getpid(), "0"), 0);
	assert_int_equal(watchdog(getpid(), "-5"), 0);
	assert_int_equal(watchdog(getpid() + 1, "30000000"), 0);
	unsetenv("WATCHDOG_PID");
	setenv("WATCHDOG_USEC", "30000000", 1);
	assert_int_equal(systemd_watchdog_ms(), 15000);
	unsetenv("WATCHDOG_USEC");
}

static int listen_fds(int pid, const char *fds)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	setenv("LISTEN_PID", text, 1);
	setenv("LISTEN_FDS", fds, 1);
	setenv("LISTEN_FDNAMES", "a:b", 1);
	int n = systemd_listen_fds();
	assert_null(getenv("LISTEN_PID"));
	assert_null(getenv("LISTEN_FDS"));
	assert_null(getenv("LISTEN_FDNAMES"));
	return n;
}

static void test_listen_fds(void **state)
{
	(void)state;
	assert_int_equal(dup2(STDERR_FILENO, 3), 3);
	assert_int_equal(dup2(STDERR_FILENO, 4), 4);
	close(5);
	assert_int_equal(fcntl(3, F_GETFD) & FD_CLOEXEC, 0);

	assert_int_equal(systemd_listen_fds(), 0);
	assert_int_equal(listen_fds(getpid() + 1, "2"), 0);
	assert_int_equal(listen_fds(getpid(), "-2"), 0);
	assert_int_equal(listen_fds(getpid(), "x"), 0);
	assert_int_equal(fcntl(3, F_GETFD) & FD_CLOEXEC, 0);

	assert_int_equal(listen_fds(getpid(), "2"), 2);
	assert_int_equal(fcntl(3, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(4, F_GETFD), FD_CLOEXEC);
	assert_int_equal(systemd_listen_fd(1), 4);
	assert_string_equal(systemd_listen_name(0), "a");
	assert_string_equal(systemd_listen_name(1), "b");
	assert_string_equal(systemd_listen_name(2), "");

	log_threshold = LOG_LEVEL_ERROR;
	assert_int_equal(listen_fds(getpid(), "9"), 2);
	log_threshold = LOG_LEVEL_INFO;
}

static char *write_secret(const char *name, const char *text, size_t n)
{
	char *path = xasprintf("%s/%s", folder, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	fclose(f);
	return path;
}

static void test_secret(void **state)
{
	(void)state;
	struct buf b = { 0 }, err = { 0 };
	char *path = write_secret("secret", "a\0b\n\n", 5);

	/* From a file; only one newline goes, and what is in the buffer stays. */
	buf_adds(&b, "x");
	assert_true(systemd_read_secret(path, "worker_secret", &b, &err));
	assert_int_equal(b.n, 5);
	assert_memory_equal(b.p, "xa\0b\n", 6);

	/* From a credential. */
	buf_free(&b);
	setenv("CREDENTIALS_DIRECTORY", folder, 1);
	assert_true(systemd_read_secret("", "secret", &b, &err));
	assert_true(systemd_read_secret(NULL, "secret", &b, &err));
	assert_int_equal(b.n, 8);
	assert_int_equal(err.n, 0);
	buf_free(&b);
	unlink(path);
	free(path);
}

static void assert_no_secret(const char *path, const char *expected)
{
	struct buf b = { 0 }, err = { 0 };

	buf_adds(&b, "x");
	assert_false(systemd_read_secret(path, "key", &b, &err));
	assert_string_equal(b.p, "x");
	assert_string_equal(err.p, expected);
	buf_free(&b);
	buf_free(&err);
}

static void test_no_secret(void **state)
{
	(void)state;
	static const char large[65537];
	char *empty = write_secret("empty", "\n", 1);
	char *too_large = write_secret("large", large, sizeof(large));
	char *expected = xasprintf("key: cannot read %s: No data available", empty);

	assert_no_secret(empty, expected);
	free(expected);
	expected = xasprintf("key: cannot read %s: File too large", too_large);
	assert_no_secret(too_large, expected);
	free(expected);
	assert_no_secret("/", "key: cannot read /: Is a directory");
	assert_no_secret("/no/such", "key: cannot read /no/such: No such file or directory");
	unsetenv("CREDENTIALS_DIRECTORY");
	assert_no_secret("", "key: cannot read /etc/interlock/keys/key: No such file or directory");
	unlink(empty);
	unlink(too_large);
	free(empty);
	free(too_large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_watchdog),
		cmocka_unit_test(test_listen_fds),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_no_secret),
	};

	if (!mkdtemp(folder))
		fatal("%s", folder);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}

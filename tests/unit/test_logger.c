/*
 * logger: a line cannot be forged; colours are for terminals, priorities for a journal, fields for
 * journald, whose socket is played by the test; of one kind only so many lines come, and the rest
 * is counted.
 */
#include "lib/base.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test_logger.XXXXXX";
static int saved_stderr;
static FILE *captured;

/* From now on stderr is this descriptor. */
static void redirect(int fd)
{
	saved_stderr = dup(STDERR_FILENO);
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
}

static void restore(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
}

static void capture(void)
{
	captured = tmpfile();
	assert_non_null(captured);
	redirect(fileno(captured));
}

/* Replaces the time, which differs, by T. */
static void forget_times(char *text)
{
	for (char *t; (t = strstr(text, "time=2")) != NULL;) {
		size_t n = strlen("time=2026-01-01T00:00:00.000000Z");

		assert_true(t[n - 1] == 'Z' && t[n] == ' ');
		t[5] = 'T';
		memmove(t + 6, t + n, strlen(t + n) + 1);
	}
}

/* What was written to stderr since capture(); the caller frees it. */
static char *release(void)
{
	struct buf b = { 0 };
	char part[512];
	size_t n;

	restore();
	rewind(captured);
	while ((n = fread(part, 1, sizeof(part), captured)) > 0)
		buf_add(&b, part, n);
	fclose(captured);
	if (b.p != NULL)
		forget_times(b.p);
	return b.p != NULL ? b.p : xstrdup("");
}

static void assert_released(const char *expected)
{
	char *text = release();

	assert_string_equal(text, expected);
	free(text);
}

static void configure(enum log_target target, const char *socket_path, int burst)
{
	log_configure(&(struct log_setup){ .level = LOG_LEVEL_INFO, target, socket_path, burst });
}

static void a_log_line_is_one_line(void **state)
{
	(void)state;
	capture();
	log_info("a \"b\" \\ c\nlevel=error\t%s\x7f", "h\xc3\xa9");
	log_debug("not shown");
	errno = ENOENT;
	log_warn("open %s", "x");
	assert_int_equal(errno, ENOENT);
	assert_released(
		"time=T level=info msg=\"a \\\"b\\\" \\\\ c\\nlevel=error\\x09h\xc3\xa9\\x7f\"\n"
		"time=T level=warn msg=\"open x: No such file or directory\"\n");
}

static void a_line_says_what_it_is_about(void **state)
{
	(void)state;
	capture();
	log_about(LOG_LEVEL_NOTICE,
		&(struct log_about){ .run = "0190f3a2-1111", .worker = "w 1\" run=x", .code = "" },
		"refused");
	assert_released("time=T level=notice msg=\"refused\" run=0190f3a2-1111 "
			"worker=\"w 1\\\" run=x\"\n");
}

static void a_long_log_line_is_cut(void **state)
{
	char *bells = xmalloc(10001);

	(void)state;
	memset(bells, '\a', 10000);
	bells[10000] = '\0';
	capture();
	errno = EIO;
	log_warn("%s", bells);
	log_about(LOG_LEVEL_INFO, &(struct log_about){ .worker = bells }, "%s", bells);
	char *text = release();
	char *end = strchr(text, '\n');
	assert_true(end - text < 10000);
	assert_memory_equal(end - 5, "\\x07\"\n", 6);
	assert_true(strlen(end + 1) < 11000);
	assert_true(text[strlen(text) - 1] == '\n' && strchr(end + 1, '\n')[1] == '\0');
	free(text);
	free(bells);
}

static void fatal_exits_with_1(void **state)
{
	int status;

	(void)state;
	capture();
	pid_t child = fork();
	if (child == 0) {
		errno = EACCES;
		fatal("sorry");
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_released("time=T level=error msg=\"sorry: Permission denied\"\n");
}

static void a_terminal_gets_colours(void **state)
{
	char text[256] = "";
	int terminal = posix_openpt(O_RDWR | O_NOCTTY);

	(void)state;
	assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
	int side = open(ptsname(terminal), O_RDWR | O_NOCTTY);
	unsetenv("NO_COLOR");
	setenv("TERM", "xterm", 1);
	redirect(side);
	configure(LOG_AUTO, "", 0);
	log_warnx("hot");
	restore();
	ssize_t n = read(terminal, text, sizeof(text) - 1);
	assert_true(n > 0);
	forget_times(text);
	assert_string_equal(text, "time=T level=\x1b[33mwarn\x1b[0m msg=\"hot\"\r\n");

	setenv("NO_COLOR", "1", 1);
	redirect(side);
	configure(LOG_AUTO, "", 0);
	log_warnx("cold");
	restore();
	unsetenv("NO_COLOR");
	assert_true(read(terminal, text, sizeof(text) - 1) > 0);
	assert_null(strstr(text, "\x1b"));
	close(side);
	close(terminal);
	configure(LOG_AUTO, "", 0);
}

/* Sets JOURNAL_STREAM as systemd does for a service whose stderr is this descriptor. */
static void journal_stream(int fd)
{
	char text[64];
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)st.st_dev,
		(unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", text, 1);
}

static void a_journal_stream_gets_priorities(void **state)
{
	(void)state;
	capture();
	journal_stream(STDERR_FILENO);
	configure(LOG_STDERR, "", 0);
	log_errorx("e");
	log_warnx("w");
	log_line(LOG_LEVEL_NOTICE, "n");
	log_info("i");
	/* The socket is not there: nothing is lost. */
	configure(LOG_AUTO, "/no/such/socket", 0);
	log_info("j");
	/* Stderr is something else than what systemd made. */
	journal_stream(saved_stderr);
	configure(LOG_AUTO, "/no/such/socket", 0);
	log_info("k");
	unsetenv("JOURNAL_STREAM");
	configure(LOG_AUTO, "", 0);
	assert_released("<3>level=error msg=\"e\"\n<4>level=warn msg=\"w\"\n"
			"<5>level=notice msg=\"n\"\n<6>level=info msg=\"i\"\n"
			"<6>level=info msg=\"j\"\ntime=T level=info msg=\"k\"\n");
}

static int journal_socket(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	strcpy(at.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* A field in the form that allows lines in its value. */
static void add_field(struct buf *b, const char *name, const char *value)
{
	char size[8] = { (char)strlen(value) };

	buf_addf(b, "%s\n", name);
	buf_add(b, size, sizeof(size));
	buf_addf(b, "%s\n", value);
}

static void assert_journaled(int fd, const struct buf *expected)
{
	char got[1024];
	ssize_t n = recv(fd, got, sizeof(got), 0);

	assert_int_equal(n, expected->n);
	assert_memory_equal(got, expected->p, expected->n);
}

static void the_journal_gets_fields(void **state)
{
	char *path = xasprintf("%s/journal", folder);
	int fd = journal_socket(path);
	struct buf b = { 0 };

	(void)state;
	configure(LOG_JOURNAL, path, 0);
	log_about(LOG_LEVEL_NOTICE,
		&(struct log_about){ "0190f3a2-1111", "w1", "run:complete", "already_final" },
		"refused\n%s", "PRIORITY=0");
	buf_adds(&b, "PRIORITY=5\nSYSLOG_IDENTIFIER=test_logger\n");
	add_field(&b, "MESSAGE",
		"refused\nPRIORITY=0 run=0190f3a2-1111 worker=w1 event=run:complete "
		"code=already_final");
	add_field(&b, "RUN_ID", "0190f3a2-1111");
	add_field(&b, "WORKER", "w1");
	add_field(&b, "EVENT", "run:complete");
	add_field(&b, "CODE", "already_final");
	assert_journaled(fd, &b);
	buf_free(&b);
	close(fd);
	unlink(path);
	free(path);
	configure(LOG_AUTO, "", 0);
}

/* A journal that is there and does not read costs lines, never time. */
static void a_full_journal_is_not_waited_for(void **state)
{
	char *path = xasprintf("%s/full", folder), got[1024];
	int fd = journal_socket(path), sent = 0, came = 0;

	(void)state;
	configure(LOG_JOURNAL, path, 0);
	capture();
	for (; sent < 5000; sent++)
		log_info("line %d", sent);
	assert_released("");
	while (recv(fd, got, sizeof(got), 0) > 0)
		came++;
	assert_true(came > 0 && came < sent);
	log_info("and on");
	assert_true(recv(fd, got, sizeof(got), 0) > 0);
	ssize_t n = recv(fd, got, sizeof(got) - 1, 0);
	assert_true(n > 0);
	got[n] = '\0';
	char *expected = xasprintf("the journal did not take %d lines", sent - came);
	assert_non_null(memmem(got, (size_t)n, expected, strlen(expected)));
	free(expected);
	close(fd);
	unlink(path);
	free(path);
	configure(LOG_AUTO, "", 0);
}

static void noise(const char *code, int times)
{
	for (int i = 0; i < times; i++)
		log_about(LOG_LEVEL_INFO, &(struct log_about){ .code = code }, "noise %d", i);
}

static void so_many_lines_of_a_kind(void **state)
{
	(void)state;
	configure(LOG_STDERR, "", 2);
	capture();
	noise("a", 5);
	noise("b", 2); /* another kind */
	log_info("a third %s", "kind");
	log_report_suppressed(false); /* their time is not over */
	noise("a", 1);
	log_report_suppressed(true);
	noise("a", 1); /* counted from zero */
	log_report_suppressed(true);
	assert_released("time=T level=info msg=\"noise 0\" code=a\n"
			"time=T level=info msg=\"noise 1\" code=a\n"
			"time=T level=info msg=\"noise 0\" code=b\n"
			"time=T level=info msg=\"noise 1\" code=b\n"
			"time=T level=info msg=\"a third kind\"\n"
			"time=T level=info msg=\"suppressed 4 lines like \\\"noise 1\\\"\" code=a\n"
			"time=T level=info msg=\"noise 0\" code=a\n");
	configure(LOG_STDERR, "", 0);
	capture();
	noise("a", 200);
	char *text = release(), *line = text;
	int lines = 0;
	for (; *line; line = strchr(line, '\n') + 1)
		lines++;
	assert_int_equal(lines, 200);
	free(text);
}

/* More kinds than there is room for: each is still counted, and what was held back is said. */
static void kinds_without_end(void **state)
{
	char code[16];
	int said = 0;

	(void)state;
	configure(LOG_STDERR, "", 1);
	capture();
	for (int i = 0; i < 500; i++) {
		snprintf(code, sizeof(code), "k%d", i);
		noise(code, 2);
	}
	log_report_suppressed(true);
	char *text = release();
	for (const char *t = text; (t = strstr(t, "suppressed 1 lines")) != NULL; t++)
		said++;
	assert_int_equal(said, 500);
	free(text);
	configure(LOG_STDERR, "", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_log_line_is_one_line),
		cmocka_unit_test(a_line_says_what_it_is_about),
		cmocka_unit_test(a_long_log_line_is_cut),
		cmocka_unit_test(fatal_exits_with_1),
		cmocka_unit_test(a_terminal_gets_colours),
		cmocka_unit_test(a_journal_stream_gets_priorities),
		cmocka_unit_test(the_journal_gets_fields),
		cmocka_unit_test(a_full_journal_is_not_waited_for),
		cmocka_unit_test(so_many_lines_of_a_kind),
		cmocka_unit_test(kinds_without_end),
	};

	unsetenv("JOURNAL_STREAM");
	if (!mkdtemp(folder))
		fatal("%s", folder);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}

/*
 * The configuration: defaults, every kind of mistake and its line, the sample file, what is printed
 * and read again, and what a reload takes over.
 */
#include "core/conf.h"

#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const char id_a[] = "0190f3a2-1111-7000-8000-00000000000a";
static const char id_b[] = "0190f3a2-1111-7000-8000-00000000000b";

/* Loads the n bytes as a file called "f" (which is what the messages say). */
static struct conf *load_bytes(const char *text, size_t n, struct buf *err)
{
	FILE *f = fopen("f", "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	struct conf *conf = conf_load("f", err);
	assert_int_equal(unlink("f"), 0);
	return conf;
}

static struct conf *load(const char *text)
{
	struct buf err = { 0 };
	struct conf *conf = load_bytes(text, strlen(text), &err);

	if (!conf)
		fail_msg("%s", err.p);
	assert_int_equal(err.n, 0);
	return conf;
}

static void assert_mistakes(const char *text, const char *expected)
{
	struct buf err = { 0 };

	assert_null(load_bytes(text, strlen(text), &err));
	assert_string_equal(err.p, expected);
	buf_free(&err);
}

static void test_defaults(void **state)
{
	(void)state;
	struct buf err = { 0 };
	struct conf *conf = conf_load(NULL, &err);

	assert_non_null(conf);
	assert_string_equal(conf->listen, "127.0.0.1:4000");
	assert_string_equal(conf->name, "");
	assert_int_equal(conf->drain, 10000);
	assert_string_equal(conf->url, "");
	assert_string_equal(conf->migrate_url, "");
	assert_int_equal(conf->writers, 2);
	assert_int_equal(conf->queue_timeout, 25000);
	assert_string_equal(conf->worker_secret, "");
	assert_int_equal(conf->default_timeout, 300000);
	assert_int_equal(conf->mode, MODE_ENFORCE);
	assert_int_equal(conf->late_completion, LATE_YIELD);
	assert_int_equal(conf->late_window, 3600000);
	assert_int_equal(conf->grace, 10000);
	assert_int_equal(conf->lease, 90000);
	assert_int_equal(conf->after_claim, AFTER_CLAIM_LOST);
	assert_int_equal(conf->max_requeues, 2);
	assert_int_equal(conf->interval, 5000);
	assert_int_equal(conf->join_timeout, 30000);
	assert_int_equal(conf->poll, 1000);
	assert_int_equal(conf->retention.runs, 90 * 86400000LL);
	assert_int_equal(conf->retention.dataclips, 30 * 86400000LL);
	assert_int_equal(conf->retention.logs, 30 * 86400000LL);
	assert_int_equal(conf->retention_journal, 30 * 86400000LL);
	assert_int_equal(conf->journal_max_message, 64 << 10);
	assert_int_equal(conf->max_body, 10 << 20);
	assert_int_equal(conf->max_message, 128 << 20);
	assert_int_equal(conf->max_workers, 10000);
	assert_int_equal(conf->max_workers_per_address, 10000);
	assert_int_equal(conf->max_http_connections, 1000);
	assert_int_equal(conf->max_http_connections_per_address, 200);
	assert_int_equal(conf->memory, 512 << 20);
	assert_int_equal(conf->log_level, LOG_LEVEL_INFO);
	assert_int_equal(conf->log_target, LOG_AUTO);
	assert_string_equal(conf->log_socket, "/run/systemd/journal/socket");
	assert_int_equal(conf->log_burst, 100);
	assert_int_equal(conf->nprojects, 0);
	conf_free(conf);
}

static void test_units(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t duration, size; /* -1: refused */
	} cases[] = {
		{ "0", 0, 0 },
		{ "250ms", 250, -1 },
		{ "90s", 90000, -1 },
		{ "10m", 600000, -1 },
		{ "1h", 3600000, -1 },
		{ "30d", 2592000000, -1 },
		{ "64KiB", -1, 65536 },
		{ "16MiB", -1, 16777216 },
		{ "1GiB", -1, 1073741824 },
		{ "1234", -1, 1234 },
		{ "", -1, -1 },
		{ "s", -1, -1 },
		{ "-1s", -1, -1 },
		{ "+1", -1, -1 },
		{ "1 s", -1, -1 },
		{ "1.5h", -1, -1 },
		{ "1S", -1, -1 },
		{ "1KB", -1, -1 },
		{ "0x10", -1, -1 },
		{ "9223372036854775807", -1, INT64_MAX },
		{ "9223372036854775808", -1, -1 },
		{ "9223372036854775807d", -1, -1 },
		{ "9007199254740992GiB", -1, -1 },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		int64_t n;
		assert_int_equal(
			conf_parse_duration(cases[i].text, &n) ? n : -1, cases[i].duration);
		assert_int_equal(conf_parse_size(cases[i].text, &n) ? n : -1, cases[i].size);
	}
}

static void test_file(void **state)
{
	(void)state;
	struct conf *conf = load("\xef\xbb\xbf[server]\r\n"
				 "; a comment\n"
				 "listen = 127.0.0.1:0 [::1]:4000\tunix:/run/x.sock\r\n"
				 "\n"
				 "  [limits]  \n"
				 "  max_message=1MiB\n"
				 "[server]\n"
				 "name: Zoë; one # two\n"
				 "[lost]\n"
				 "lease = 0\n"
				 "[claims]\n"
				 "join_timeout = 10m");

	assert_string_equal(conf->listen, "127.0.0.1:0 [::1]:4000\tunix:/run/x.sock");
	assert_string_equal(conf->name, "Zoë; one # two");
	assert_int_equal(conf->max_message, 1 << 20);
	assert_int_equal(conf->lease, 0);
	conf_free(conf);
}

static void test_long_line(void **state)
{
	(void)state;
	struct buf text = { 0 }, err = { 0 };

	buf_adds(&text, "[server]\nname = ");
	for (int i = 0; i < 400; i++)
		buf_adds(&text, "host=a ");
	struct conf *conf = load(text.p);
	assert_int_equal(strlen(conf->name), 400 * 7 - 1);
	conf_free(conf);

	for (int i = 0; i < 400; i++)
		buf_adds(&text, "host=a ");
	buf_adds(&text, "\n[database]\nwriters = 0\n");
	assert_null(load_bytes(text.p, text.n, &err));
	assert_string_equal(err.p,
		"f:2: got 5608 bytes, expected text of at most 4095\n"
		"f:4: [database] writers: got \"0\", expected a number from 1 to 32\n");
	buf_free(&err);

	static const char nul[] = "[server]\nname = a\0b\n";
	assert_null(load_bytes(nul, sizeof(nul) - 1, &err));
	assert_string_equal(err.p, "f:2: got 11 bytes, expected text of at most 4095\n");
	buf_free(&err);
	buf_free(&text);
}

/* Every mistake is found, each has its line, and none hides another. */
static void test_mistakes(void **state)
{
	(void)state;
	assert_mistakes("drain_timeout = 1s\n"
			"[server]\n"
			"drain_timeout = soon\n"
			"drain_timeout = 2s\n"
			"hunter2 is the password\n"
			"lissten = x\n"
			"[lost]\n"
			"late_completion = Yield\n"
			"lease = 30s\n"
			"max_requeues =\n"
			"[log]\n"
			"level = warn # more\n",
		"f:1: got \"drain_timeout\", expected a [section] first\n"
		"f:3: [server] drain_timeout: got \"soon\", expected a duration from 0 to 10m\n"
		"f:4: [server] drain_timeout: got it again, expected it once (line 3)\n"
		"f:5: got \"hunter2\", expected option = value\n"
		"f:6: [server] lissten: got an unknown option, expected one of listen "
		"trusted_proxies "
		"name drain_timeout\n"
		"f:8: [lost] late_completion: got \"Yield\", expected one of yield, acknowledge, "
		"reject\n"
		"f:9: [lost] lease: got \"30s\", expected a duration from 75s to 1d, or 0 (off)\n"
		"f:10: [lost] max_requeues: got \"\", expected a number from 0 to 1000\n"
		"f:12: [log] level: got \"warn # more\", expected one of error, warn, notice, "
		"info, "
		"debug\n");
}

#define SECTIONS                                                                                   \
	"expected [server] [database] [keys] [runs] [transitions] [lost] [janitor] [claims] "      \
	"[journal] [retention] [intake] [metrics] [limits] [log] or [project \"<uuid>\"], each "   \
	"project once\n"

static void test_section_mistakes(void **state)
{
	(void)state;
	assert_mistakes("[sever]\n"
			"anything = goes\n"
			"[server\n"
			"nonsense\n"
			"[server] drain_timeout = 1s\n"
			"[]\n"
			"[project]\n"
			"[project \"x\"]\n"
			"late_completion = whatever\n"
			"[server]\n"
			"drain_timeout = 1\n",
		"f:1: got \"[sever]\", " SECTIONS "f:3: got \"[server\", " SECTIONS
		"f:5: got \"[server] drain_timeout = 1s\", " SECTIONS "f:6: got \"[]\", " SECTIONS
		"f:7: got \"[project]\", " SECTIONS "f:8: got \"[project \"x\"]\", " SECTIONS
		"f:11: [server] drain_timeout: got \"1\", expected a duration from 0 to 10m\n");
}

static void test_cross_check(void **state)
{
	(void)state;
	assert_mistakes("[claims]\njoin_timeout = 2m\n[lost]\nlease = 120s\n",
		"f:2: [claims] join_timeout: got \"2m\", expected less than [lost] lease\n");
}

static void test_unreadable(void **state)
{
	(void)state;
	struct buf err = { 0 };

	assert_null(conf_load("no/such/file", &err));
	assert_string_equal(
		err.p, "no/such/file: cannot read the file: No such file or directory\n");
	buf_free(&err);
	assert_null(conf_load("/", &err));
	assert_string_equal(err.p, "/: cannot read the file: Is a directory\n");
	buf_free(&err);
}

static int policy_of(const struct conf *conf, const char *id)
{
	struct uuid uuid;

	assert_true(uuid_parse(slice_of(id), &uuid));
	return conf_late_completion(conf, &uuid);
}

static void test_projects(void **state)
{
	(void)state;
	struct conf *conf = load("[project \"0190F3A2-1111-7000-8000-00000000000A\"]\n"
				 "late_completion = reject\n"
				 "[project \"0190f3a2-1111-7000-8000-00000000000b\"]\n"
				 "[lost]\n"
				 "late_completion = acknowledge\n");

	assert_int_equal(conf->nprojects, 2);
	assert_int_equal(policy_of(conf, id_a), LATE_REJECT);
	assert_int_equal(policy_of(conf, id_b), LATE_ACKNOWLEDGE);
	assert_int_equal(policy_of(conf, "0190f3a2-1111-7000-8000-00000000000c"), LATE_ACKNOWLEDGE);
	assert_string_equal(conf_policy_name(LATE_YIELD), "yield");
	assert_string_equal(conf_policy_name(LATE_ACKNOWLEDGE), "acknowledge");
	assert_string_equal(conf_policy_name(LATE_REJECT), "reject");
	conf_free(conf);

	assert_mistakes("[project \"0190f3a2-1111-7000-8000-00000000000a\"]\n"
			"late_completion = yield\n"
			"late_completion = yield\n"
			"grace = 1s\n"
			"[project \"0190f3a2-1111-7000-8000-00000000000b\"]\n"
			"late_completion = yes\n"
			"[project \"0190f3a2-1111-7000-8000-00000000000a\"]\n",
		"f:3: [project \"0190f3a2-1111-7000-8000-00000000000a\"] late_completion: got it "
		"again, expected it once (line 2)\n"
		"f:4: [project \"0190f3a2-1111-7000-8000-00000000000a\"] grace: got an unknown "
		"option, expected one of late_completion runs dataclips logs\n"
		"f:6: [project \"0190f3a2-1111-7000-8000-00000000000b\"] late_completion: got "
		"\"yes\", expected one of yield, acknowledge, reject\n"
		"f:7: got \"[project \"0190f3a2-1111-7000-8000-00000000000a\"]\", " SECTIONS);
}

static void test_retention(void **state)
{
	(void)state;
	struct conf *conf = load("[retention]\nruns = 10d\ndataclips = 2d\nlogs = 10d\n"
				 "[project \"0190f3a2-1111-7000-8000-00000000000a\"]\nlogs = 1d\n"
				 "[project \"0190f3a2-1111-7000-8000-00000000000b\"]\nruns = 0\n"
				 "dataclips = 0\n");

	assert_int_equal(conf->projects[0].retention.runs, 10 * 86400000LL);
	assert_int_equal(conf->projects[0].retention.dataclips, 2 * 86400000LL);
	assert_int_equal(conf->projects[0].retention.logs, 86400000LL);
	assert_int_equal(conf->projects[1].retention.runs, 0);
	assert_int_equal(conf_longest(conf, offsetof(struct retention, logs)), 10 * 86400000LL);
	assert_int_equal(conf_longest(conf, offsetof(struct retention, dataclips)), 0);
	conf_free(conf);
	assert_mistakes("[retention]\nruns = 10d\ndataclips = 11d\nlogs = 0\n"
			"[project \"0190f3a2-1111-7000-8000-00000000000a\"]\n"
			"dataclips = 1d\nlogs = 11d\n",
		"f:3: [retention] dataclips: got \"11d\", expected at most that of runs\n"
		"f:4: [retention] logs: got \"0\", expected at most that of runs\n"
		"f:5: [project \"0190f3a2-1111-7000-8000-00000000000a\"] logs: got \"11d\", "
		"expected at most that of runs\n");
}

static void test_print(void **state)
{
	(void)state;
	struct buf first = { 0 }, second = { 0 };
	struct conf *conf =
		load("[server]\nlisten = [::1]:1 unix:/x\nname = a b\ndrain_timeout = 1500ms\n"
		     "[lost]\nlate_window = 0\ngrace = 86400ms\nlease = 24h\n"
		     "late_completion = reject\n"
		     "[journal]\nmax_message = 1025\n[retention]\njournal = 48h\nruns = 0\n"
		     "[limits]\nmemory = 2048MiB\n"
		     "[database]\nurl = dbname=y host=/run/x\nwriters = 3\n"
		     "[project \"0190f3a2-1111-7000-8000-00000000000a\"]\n"
		     "late_completion = acknowledge\n"
		     "[project \"0190f3a2-1111-7000-8000-00000000000b\"]\n");

	conf_print(conf, &first);
	struct conf *again = load(first.p);
	conf_print(again, &second);
	assert_string_equal(first.p, second.p);
	assert_string_equal(again->listen, "[::1]:1 unix:/x");
	assert_string_equal(again->name, "a b");
	assert_string_equal(again->url, "dbname=y host=/run/x");
	assert_int_equal(again->drain, 1500);
	assert_int_equal(again->late_window, 0);
	assert_int_equal(again->grace, 86400);
	assert_int_equal(again->journal_max_message, 1025);
	assert_int_equal(again->memory, 2LL << 30);
	assert_int_equal(policy_of(again, id_a), LATE_ACKNOWLEDGE);
	assert_int_equal(policy_of(again, id_b), LATE_REJECT);
	assert_non_null(strstr(first.p, "\nlease = 1d\n"));
	assert_non_null(strstr(first.p, "\nmemory = 2GiB\n"));
	assert_non_null(strstr(first.p, "\nlate_window = 0\n"));

	/* Nothing but the options themselves: a reload with it changes nothing. */
	struct buf kept = { 0 };
	conf_reload(conf, again, &kept);
	assert_int_equal(kept.n, 0);
	conf_free(conf);
	buf_free(&first);
	buf_free(&second);
}

/* A password is neither printed nor lost. */
static void test_password(void **state)
{
	(void)state;
	struct conf *conf = load("[database]\nurl = postgres://u:hunter2@h/db\n");
	struct buf out = { 0 };

	conf_print(conf, &out);
	assert_non_null(strstr(out.p, "\nurl = user=u password=*** dbname=db host=h\n"));
	assert_string_equal(conf->url, "postgres://u:hunter2@h/db");
	buf_free(&out);
	conf_free(conf);
}

/* What cannot change at run time; everything else must. */
static void test_reload(void **state)
{
	(void)state;
	struct buf kept = { 0 };
	struct conf *conf = load("[database]\nurl = host=a\n");
	const char *url = conf->url;

	conf_reload(conf,
		load("[server]\nlisten = 127.0.0.1:1\ntrusted_proxies = ::1 10.0.0.0/8\nname = "
		     "x\ndrain_timeout = 1s\n"
		     "[database]\nurl = host=b\nmigrate_url = host=c\nwriters = 4\nqueue_timeout = "
		     "1s\n"
		     "[keys]\nworker_secret = a\nrun_token_key = b\ncredential_key = c\n"
		     "[runs]\ndefault_timeout = 1s\n"
		     "[transitions]\nmode = observe\n"
		     "[lost]\nlate_completion = reject\nlate_window = 1m\ngrace = 1s\n"
		     "lease = 2m\nafter_claim = requeue\nmax_requeues = 7\n"
		     "[janitor]\ninterval = 10ms\n"
		     "[claims]\njoin_timeout = 1s\npoll_interval = 2s\n"
		     "[journal]\nmax_message = 1KiB\n"
		     "[retention]\nruns = 4h\ndataclips = 3h\nlogs = 2h\njournal = 1d\n"
		     "[intake]\nmax_body = 1MiB\nlisten = 127.0.0.1:2\n"
		     "[metrics]\nlisten = 127.0.0.1:3\n"
		     "[limits]\nmax_message = 1MiB\nmax_workers = 5\n"
		     "max_workers_per_address = 6\nmemory = 1GiB\n"
		     "max_http_connections = 7\nmax_http_connections_per_address = 8\n"
		     "[log]\nlevel = debug\ntarget = journal\nsocket = /s\nburst = 0\n"
		     "[project \"0190f3a2-1111-7000-8000-00000000000a\"]\n"),
		&kept);
	assert_string_equal(kept.p,
		"[server] listen\n[server] name\n[server] drain_timeout\n"
		"[database] url\n[database] migrate_url\n[database] writers\n[database] "
		"queue_timeout\n"
		"[intake] listen\n[intake] max_body\n[metrics] listen\n[limits] "
		"max_message\n[limits] memory\n");
	assert_ptr_equal(conf->url, url);
	assert_string_equal(conf->url, "host=a");
	assert_int_equal(conf->writers, 2);
	assert_string_equal(conf->trusted_proxies, "::1 10.0.0.0/8");
	assert_int_equal(conf->default_timeout, 1000);
	assert_int_equal(conf->mode, MODE_OBSERVE);
	assert_int_equal(conf->late_completion, LATE_REJECT);
	assert_int_equal(conf->late_window, 60000);
	assert_int_equal(conf->grace, 1000);
	assert_int_equal(conf->lease, 120000);
	assert_int_equal(conf->after_claim, AFTER_CLAIM_REQUEUE);
	assert_int_equal(conf->max_requeues, 7);
	assert_int_equal(conf->interval, 10);
	assert_int_equal(conf->join_timeout, 1000);
	assert_int_equal(conf->poll, 2000);
	assert_int_equal(conf->retention.runs, 4 * 3600000);
	assert_int_equal(conf->retention.dataclips, 3 * 3600000);
	assert_int_equal(conf->retention.logs, 2 * 3600000);
	assert_int_equal(conf->retention_journal, 86400000);
	assert_int_equal(conf->journal_max_message, 1024);
	assert_int_equal(conf->max_workers, 5);
	assert_int_equal(conf->max_workers_per_address, 6);
	assert_int_equal(conf->max_http_connections, 7);
	assert_int_equal(conf->max_http_connections_per_address, 8);
	assert_int_equal(conf->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(conf->log_target, LOG_JOURNAL);
	assert_string_equal(conf->log_socket, "/s");
	assert_int_equal(conf->log_burst, 0);
	assert_int_equal(policy_of(conf, id_a), LATE_REJECT);

	conf_reload(conf, load("[database]\nurl = host=a\n"), &kept);
	assert_int_equal(policy_of(conf, id_a), LATE_YIELD);
	conf_free(conf);
	buf_free(&kept);
}

/* The committed file is what conf_sample says; uncommented it gives the defaults. */
static void test_sample(void **state)
{
	char **folder = *state;
	struct buf sample = { 0 }, defaults = { 0 }, printed = { 0 }, err = { 0 };
	char text[65536];
	char *path = xasprintf("%s/config/interlock.conf", *folder);

	conf_sample(&sample);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	assert_string_equal(text, sample.p);

	size_t width = 0;
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		width = (size_t)(end - line) > width ? (size_t)(end - line) : width;
		if (line[0] == '#' && line[1] != ' ')
			line[0] = ' ';
	}
	assert_in_range(width, 1, 100);
	struct conf *conf = load(text), *plain = conf_load(NULL, &err);
	assert_non_null(plain);
	assert_int_equal(conf->nprojects, 1);
	conf->nprojects = 0;
	conf_print(conf, &printed);
	conf_print(plain, &defaults);
	assert_string_equal(printed.p, defaults.p);
	conf_free(conf);
	conf_free(plain);
	buf_free(&sample);
	buf_free(&printed);
	buf_free(&defaults);
	free(path);
}

int main(int argc, char **argv)
{
	static char *root;
	char folder[] = "/tmp/test_conf.XXXXXX";
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_section_mistakes),
		cmocka_unit_test(test_cross_check),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_projects),
		cmocka_unit_test(test_retention),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_password),
		cmocka_unit_test(test_reload),
		cmocka_unit_test_prestate(test_sample, &root),
	};

	/* `test_conf --sample` writes config/interlock.conf. */
	if (argc > 1 && strcmp(argv[1], "--sample") == 0) {
		struct buf sample = { 0 };
		conf_sample(&sample);
		fwrite(sample.p, 1, sample.n, stdout);
		buf_free(&sample);
		return 0;
	}
	root = getcwd(NULL, 0);
	if (!root || !mkdtemp(folder) || chdir(folder) != 0)
		fatal("%s", folder);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	free(root);
	return failed;
}

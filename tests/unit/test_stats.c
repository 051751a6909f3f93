/*
 * The metrics: series are found again, counting, and the text that Prometheus reads.
 * `test_stats --print` prints a sample of every family, for promtool.
 */
#include "lib/metrics.h"

#include <setjmp.h>

#include <cmocka.h>

static void test_series(void **state)
{
	(void)state;
	struct series *ok = metrics_series(METRIC_HANDSHAKES, "result=\"accepted\"");

	assert_ptr_equal(metrics_seriesf(METRIC_HANDSHAKES, "result=\"%s\"", "accepted"), ok);
	assert_ptr_not_equal(metrics_series(METRIC_HANDSHAKES, "result=\"busy\""), ok);
	assert_ptr_not_equal(metrics_series(METRIC_SOCKET_CLOSES, "result=\"accepted\""), ok);
	assert_ptr_equal(metrics_series(METRIC_SOCKETS, NULL), metrics_series(METRIC_SOCKETS, ""));
	metrics_add(ok, 1);
	metrics_add(ok, 2);
	assert_float_equal(metrics_value(ok), 3, 0);
	metrics_set(metrics_series(METRIC_SOCKETS, NULL), 5);
	metrics_add(metrics_series(METRIC_SOCKETS, NULL), -1);
	assert_float_equal(metrics_value(metrics_series(METRIC_SOCKETS, NULL)), 4, 0);
}

static void test_print(void **state)
{
	(void)state;
	struct buf out = { 0 };

	metrics_add(metrics_series(METRIC_BYTES_IN, NULL), 9007199254740991.0);
	struct series *items = metrics_series(METRIC_BATCH_ITEMS, "lane=\"writer0\"");
	metrics_observe(items, 1);
	metrics_observe(items, 3);
	metrics_observe(items, 4);
	metrics_observe(items, 1000);
	assert_float_equal(metrics_value(items), 4, 0);
	metrics_observe(metrics_series(METRIC_LATE_MESSAGE_SECONDS, NULL), 0.5);
	metrics_print(&out);
	assert_string_equal(out.p,
		"# HELP interlock_sockets Open sockets of workers.\n"
		"# TYPE interlock_sockets gauge\n"
		"interlock_sockets 4\n"
		"# HELP interlock_handshakes_total Handshakes of workers, by result.\n"
		"# TYPE interlock_handshakes_total counter\n"
		"interlock_handshakes_total{result=\"accepted\"} 3\n"
		"interlock_handshakes_total{result=\"busy\"} 0\n"
		"# HELP interlock_socket_closes_total Sockets of workers closed by the "
		"coordinator, by close "
		"code.\n"
		"# TYPE interlock_socket_closes_total counter\n"
		"interlock_socket_closes_total{result=\"accepted\"} 0\n"
		"# HELP interlock_received_bytes_total Bytes of messages from workers.\n"
		"# TYPE interlock_received_bytes_total counter\n"
		"interlock_received_bytes_total 9007199254740991\n"
		"# HELP interlock_batch_messages Messages in a batch.\n"
		"# TYPE interlock_batch_messages histogram\n"
		"interlock_batch_messages_bucket{lane=\"writer0\",le=\"1\"} 1\n"
		"interlock_batch_messages_bucket{lane=\"writer0\",le=\"2\"} 1\n"
		"interlock_batch_messages_bucket{lane=\"writer0\",le=\"4\"} 3\n"
		"interlock_batch_messages_bucket{lane=\"writer0\",le=\"8\"} 3\n"
		"interlock_batch_messages_bucket{lane=\"writer0\",le=\"16\"} 3\n"
		"interlock_batch_messages_bucket{lane=\"writer0\",le=\"32\"} 3\n"
		"interlock_batch_messages_bucket{lane=\"writer0\",le=\"64\"} 3\n"
		"interlock_batch_messages_bucket{lane=\"writer0\",le=\"128\"} 3\n"
		"interlock_batch_messages_bucket{lane=\"writer0\",le=\"256\"} 3\n"
		"interlock_batch_messages_bucket{lane=\"writer0\",le=\"+Inf\"} 4\n"
		"interlock_batch_messages_sum{lane=\"writer0\"} 1008\n"
		"interlock_batch_messages_count{lane=\"writer0\"} 4\n"
		"# HELP interlock_late_message_delay_seconds Time between the loss of a run and a "
		"late message.\n"
		"# TYPE interlock_late_message_delay_seconds histogram\n"
		"interlock_late_message_delay_seconds_bucket{le=\"1\"} 1\n"
		"interlock_late_message_delay_seconds_bucket{le=\"5\"} 1\n"
		"interlock_late_message_delay_seconds_bucket{le=\"15\"} 1\n"
		"interlock_late_message_delay_seconds_bucket{le=\"60\"} 1\n"
		"interlock_late_message_delay_seconds_bucket{le=\"300\"} 1\n"
		"interlock_late_message_delay_seconds_bucket{le=\"900\"} 1\n"
		"interlock_late_message_delay_seconds_bucket{le=\"3600\"} 1\n"
		"interlock_late_message_delay_seconds_bucket{le=\"21600\"} 1\n"
		"interlock_late_message_delay_seconds_bucket{le=\"86400\"} 1\n"
		"interlock_late_message_delay_seconds_bucket{le=\"+Inf\"} 1\n"
		"interlock_late_message_delay_seconds_sum 0.5\n"
		"interlock_late_message_delay_seconds_count 1\n");
	buf_free(&out);
}

static void test_label(void **state)
{
	(void)state;
	struct buf b = { 0 };

	metrics_label(&b, "queue", "a\\b \"c\"\nd\xc3\xa9");
	metrics_label(&b, "x", "");
	assert_string_equal(b.p, "queue=\"a\\\\b \\\"c\\\"\\nd\xc3\xa9\",x=\"\"");
	buf_free(&b);
}

/* What is to be seen before it happens, and the process itself. */
static void test_begin(void **state)
{
	(void)state;
	struct buf out = { 0 };

	metrics_begin("1.2.3", 4);
	metrics_process();
	metrics_print(&out);
	for (const char *const *line =
			(const char *const[]){
				"interlock_build_info{version=\"1.2.3\",schema=\"4\"} 1\n",
				"interlock_lost_runs_total{clock=\"lease\"} 0\n",
				"interlock_lost_runs_total{clock=\"deadline\"} 0\n",
				"interlock_resent_messages_total 0\n", "\nprocess_open_fds ",
				"\nprocess_resident_memory_bytes ", NULL };
		*line; line++)
		assert_non_null(strstr(out.p, *line));
	assert_true(metrics_value(metrics_series(METRIC_PROCESS_CPU, NULL)) > 0);
	assert_true(metrics_value(metrics_series(METRIC_PROCESS_FDS, NULL)) >= 3);
	assert_true(metrics_value(metrics_series(METRIC_PROCESS_RESIDENT, NULL)) > 100000);
	buf_free(&out);
}

/* Each family has its row in the table. */
static void test_families(void **state)
{
	(void)state;
	struct buf out = { 0 };
	size_t types = 0;

	for (int f = 0; f < METRIC_FAMILIES; f++)
		metrics_series((enum metrics_family)f, NULL);
	metrics_print(&out);
	assert_null(strstr(out.p, "(null)"));
	for (const char *p = out.p; (p = strstr(p, "# TYPE ")); p++)
		types++;
	assert_int_equal(types, METRIC_FAMILIES);
	buf_free(&out);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_series),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_label),
		cmocka_unit_test(test_begin),
		cmocka_unit_test(test_families),
	};

	if (argc > 1 && strcmp(argv[1], "--print") == 0) {
		struct buf out = { 0 };
		for (int f = 0; f < METRIC_FAMILIES; f++) {
			metrics_series((enum metrics_family)f, NULL);
			metrics_series((enum metrics_family)f, "lane=\"a \\\"quoted\\\" one\"");
		}
		metrics_print(&out);
		fwrite(out.p, 1, out.n, stdout);
		buf_free(&out);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * metrics: the metrics, and their text form. A family exists only in the table below; the enum in
 * metrics.h is its index. A series is a number (or a row of buckets) that lives as long
 * as the process, so callers keep a pointer.
 */
#include "lib/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum type { COUNTER, GAUGE, HISTOGRAM };

static const char *const type_names[] = { "counter", "gauge", "histogram" };

/* Upper bounds of buckets, ascending; the last is always infinity. */
static const double seconds[] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
	1, 2.5, 5, 10, 30, 60, INFINITY };
static const double lateness[] = { 1, 5, 15, 60, 300, 900, 3600, 21600, 86400, INFINITY };
static const double skew[] = { 0.01, 0.1, 0.5, 1, 5, 30, 60, 300, 3600, INFINITY };
static const double items[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256, INFINITY };

struct family {
	const char *name;
	enum type type;
	const char *help;
	const double *buckets; /* histograms */
};

static const struct family families[METRIC_FAMILIES] = {
	[METRIC_BUILD_INFO] = { "interlock_build_info", GAUGE,
		"Always 1; the labels have the version and the schema." },
	[METRIC_READY] = { "interlock_ready", GAUGE,
		"1 while the coordinator accepts workers (database available, schema valid)." },
	[METRIC_RUNS] = { "interlock_runs", GAUGE,
		"Claimed and started runs (at most 4,000 are counted)." },
	[METRIC_WAITING] = { "interlock_waiting_runs", GAUGE,
		"Available runs, by queue (at most 20,000 are counted)." },
	[METRIC_WAITING_SECONDS] = { "interlock_oldest_waiting_run_age_seconds", GAUGE,
		"Age of the oldest available run, by queue." },
	[METRIC_FINISHED_RUNS] = { "interlock_finished_runs_total", COUNTER,
		"Runs completed by their worker, by final state." },
	[METRIC_MESSAGES] = { "interlock_messages_total", COUNTER,
		"Messages from workers, by event and outcome." },
	[METRIC_MESSAGE_SECONDS] = { "interlock_message_duration_seconds", HISTOGRAM,
		"Time from the receipt of a message to its reply.", seconds },
	[METRIC_SOCKETS] = { "interlock_sockets", GAUGE, "Open sockets of workers." },
	[METRIC_SOCKETS_PAUSED] = { "interlock_paused_sockets", GAUGE,
		"Sockets that are not read at present (backpressure), by reason." },
	[METRIC_SOCKET_PAUSES] = { "interlock_socket_pauses_total", COUNTER,
		"Times that reading a socket was paused (backpressure), by reason." },
	[METRIC_CHANNELS] = { "interlock_channels", GAUGE, "Joined run channels." },
	[METRIC_HANDSHAKES] = { "interlock_handshakes_total", COUNTER,
		"Handshakes of workers, by result." },
	[METRIC_HTTP_CONNECTIONS] = { "interlock_http_connections", GAUGE,
		"Open connections without a worker: HTTP requests, and before the handshake." },
	[METRIC_HTTP_CONNECTIONS_DROPPED] = { "interlock_http_connections_dropped_total", COUNTER,
		"Connections without a worker closed to make room (crowded) or because they made "
		"no progress (stalled)." },
	[METRIC_SOCKET_CLOSES] = { "interlock_socket_closes_total", COUNTER,
		"Sockets of workers closed by the coordinator, by close code." },
	[METRIC_BYTES_IN] = { "interlock_received_bytes_total", COUNTER,
		"Bytes of messages from workers." },
	[METRIC_BYTES_OUT] = { "interlock_sent_bytes_total", COUNTER,
		"Bytes of messages to workers." },
	[METRIC_LOOP_BUSY_SECONDS] = { "interlock_event_loop_busy_seconds", HISTOGRAM,
		"Time that the event loop was busy between two waits.", seconds },
	[METRIC_BUFFERED_BYTES] = { "interlock_buffered_bytes", GAUGE,
		"Memory used by messages and replies under way." },
	[METRIC_DB_BUFFER_BYTES] = { "interlock_db_buffer_bytes", GAUGE,
		"Memory that the buffers of database connections have grown by." },
	[METRIC_PLAN_CACHE_BYTES] = { "interlock_plan_cache_bytes", GAUGE,
		"Memory used by cached plans, and by the secrets of joined runs." },
	[METRIC_BATCHES] = { "interlock_batches_total", COUNTER,
		"Batches sent to the database, by lane and result." },
	[METRIC_BATCH_ITEMS] = { "interlock_batch_messages", HISTOGRAM, "Messages in a batch.",
		items },
	[METRIC_BATCH_WAIT_SECONDS] = { "interlock_batch_wait_seconds", HISTOGRAM,
		"Time that the first message of a batch waited for the previous batch.", seconds },
	[METRIC_BATCH_SECONDS] = { "interlock_batch_duration_seconds", HISTOGRAM,
		"Time from sending a batch to its commit.", seconds },
	[METRIC_QUEUED_MESSAGES] = { "interlock_queued_messages", GAUGE,
		"Messages waiting for a batch." },
	[METRIC_COMMITTING_MESSAGES] = { "interlock_committing_messages", GAUGE,
		"Messages in the batch that is being committed." },
	[METRIC_RESENT_MESSAGES] = { "interlock_resent_messages_total", COUNTER,
		"Messages resent after a lost database connection." },
	[METRIC_DB_UP] = { "interlock_db_up", GAUGE, "1 while the database connection is up." },
	[METRIC_DB_CONNECTS] = { "interlock_db_connects_total", COUNTER,
		"Database connections established." },
	[METRIC_CLAIMED_RUNS] = { "interlock_claimed_runs_total", COUNTER,
		"Runs claimed by workers." },
	[METRIC_UNDELIVERED_CLAIMS] = { "interlock_undelivered_claims_total", COUNTER,
		"Runs released because the reply to the claim could not be delivered." },
	[METRIC_LATE_REPLIES] = { "interlock_late_replies_total", COUNTER,
		"Replies sent on a worker's next connection, because the one of the request was "
		"lost." },
	[METRIC_MESSAGE_OUTCOMES] = { "interlock_message_outcomes_total", COUNTER,
		"Late, superseded and repeated messages, by event and outcome." },
	[METRIC_LATE_MESSAGE_SECONDS] = { "interlock_late_message_delay_seconds", HISTOGRAM,
		"Time between the loss of a run and a late message.", lateness },
	[METRIC_WORKER_CLOCK_SKEW_SECONDS] = { "interlock_worker_clock_skew_seconds", HISTOGRAM,
		"Difference between a worker's clock and the database's, including the message's "
		"transit.",
		skew },
	[METRIC_DB_CLOCK_OFFSET] = { "interlock_db_clock_offset_seconds", GAUGE,
		"Time by which the database's clock is ahead of the coordinator's." },
	[METRIC_LOST_RUNS] = { "interlock_lost_runs_total", COUNTER,
		"Runs declared lost, by what expired (lease or deadline)." },
	[METRIC_LATE_COMPLETIONS] = { "interlock_late_completions_total", COUNTER,
		"Lost runs that their worker completed later, by late policy." },
	[METRIC_RETURNED_RUNS] = { "interlock_returned_runs_total", COUNTER,
		"Claimed runs made available again: not joined in time (released), lost before the "
		"start (requeued), or left by the worker (left)." },
	[METRIC_JANITOR_DELAY_SECONDS] = { "interlock_janitor_delay_seconds", HISTOGRAM,
		"Time between the expiry of a run's lease, deadline or join timeout and the "
		"janitor's decision.",
		lateness },
	[METRIC_SWEEP_RUNS] = { "interlock_sweep_runs", HISTOGRAM,
		"Overdue runs that the janitor took in one transaction.", items },
	[METRIC_JANITOR_ACTIVE] = { "interlock_janitor_active", GAUGE,
		"1 while the janitor enforces this clock (join, lease, deadline), 0 during the "
		"grace period after a start or an outage." },
	[METRIC_PRUNED_ROWS] = { "interlock_pruned_rows_total", COUNTER,
		"Rows that retention has removed or emptied, by table; partitions are not "
		"counted." },
	[METRIC_RETENTION_BEHIND] = { "interlock_retention_behind_seconds", GAUGE,
		"Time since the oldest of the data that is due should have been pruned." },
	[METRIC_TABLE_BYTES] = { "interlock_table_bytes", GAUGE,
		"Disk space of a table with its indexes and partitions." },
	[METRIC_OLDEST_ROW] = { "interlock_oldest_row_age_seconds", GAUGE,
		"Age of the oldest row of a table; of the log and the journal, in whole days." },
	[METRIC_POLICY_MISMATCH] = { "interlock_policy_mismatch", GAUGE,
		"1 while another coordinator has a different late policy." },
	[METRIC_LEASE_RENEWALS] = { "interlock_lease_renewals_total", COUNTER, "Leases renewed." },
	[METRIC_EMPTY_CLAIMS] = { "interlock_empty_claims_total", COUNTER,
		"Claims answered without the database, because no run was available." },
	[METRIC_LOG_WARNINGS] = { "interlock_log_line_warnings_total", COUNTER,
		"Log lines that could not be stored unchanged, by cause." },
	[METRIC_INTAKE] = { "interlock_webhook_requests_total", COUNTER,
		"Webhook requests, by HTTP status." },
	[METRIC_PROCESS_CPU] = { "process_cpu_seconds_total", COUNTER,
		"Total user and system CPU time." },
	[METRIC_PROCESS_START] = { "process_start_time_seconds", GAUGE,
		"Start time of the process since the Unix epoch." },
	[METRIC_PROCESS_RESIDENT] = { "process_resident_memory_bytes", GAUGE,
		"Resident memory size." },
	[METRIC_PROCESS_VIRTUAL] = { "process_virtual_memory_bytes", GAUGE,
		"Virtual memory size." },
	[METRIC_PROCESS_FDS] = { "process_open_fds", GAUGE, "Number of open file descriptors." },
	[METRIC_PROCESS_MAX_FDS] = { "process_max_fds", GAUGE,
		"Maximum number of open file descriptors." },
};

struct series {
	struct series *next;
	const struct family *family;
	char *labels;     /* may be "" */
	double value;     /* of a histogram: the sum of what was observed */
	uint64_t count[]; /* histograms: one for each bucket, not cumulated */
};

/* In the order in which they were made. */
static struct series *lists[METRIC_FAMILIES];

static size_t bucket_count(const struct family *family)
{
	size_t n = 0;
	if (family->type == HISTOGRAM)
		while (family->buckets[n++] < INFINITY)
			;
	return n;
}

struct series *metrics_series(enum metrics_family family, const char *labels)
{
	const struct family *f = &families[family];
	struct series **s = &lists[family];

	if (!labels)
		labels = "";
	for (; *s; s = &(*s)->next)
		if (strcmp((*s)->labels, labels) == 0)
			return *s;
	*s = xcalloc(1, sizeof(**s) + bucket_count(f) * sizeof((*s)->count[0]));
	(*s)->family = f;
	(*s)->labels = xstrdup(labels);
	return *s;
}

struct series *metrics_seriesf(enum metrics_family family, const char *fmt, ...)
{
	char *labels;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&labels, fmt, ap) < 0)
		fatal("vasprintf");
	va_end(ap);
	struct series *s = metrics_series(family, labels);
	free(labels);
	return s;
}

void metrics_add(struct series *s, double n)
{
	assert(s->family->type == GAUGE || (s->family->type == COUNTER && n >= 0));
	s->value += n;
}

void metrics_set(struct series *s, double v)
{
	assert(s->family->type == GAUGE);
	s->value = v;
}

void metrics_observe(struct series *s, double v)
{
	assert(s->family->type == HISTOGRAM);
	size_t i = 0;
	while (v > s->family->buckets[i])
		i++;
	s->count[i]++;
	s->value += v;
}

double metrics_value(const struct series *s)
{
	if (s->family->type != HISTOGRAM)
		return s->value;
	double sum = 0;
	for (size_t i = 0; i < bucket_count(s->family); i++)
		sum += (double)s->count[i];
	return sum;
}

/* One sample: the family's name with a suffix, the labels, and the number. */
static void print_sample(struct buf *b, const struct series *s, const char *suffix, double v)
{
	buf_addf(b, "%s%s", s->family->name, suffix);
	if (*s->labels)
		buf_addf(b, "{%s}", s->labels);
	buf_addf(b, " %.16g\n", v);
}

static void print_histogram(struct buf *b, const struct series *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < bucket_count(s->family); i++) {
		double le = s->family->buckets[i];
		sum += s->count[i];
		buf_addf(b, "%s_bucket{%s%sle=\"", s->family->name, s->labels,
			*s->labels ? "," : "");
		buf_addf(b, isinf(le) ? "+Inf" : "%g", le);
		buf_addf(b, "\"} %ju\n", (uintmax_t)sum);
	}
	print_sample(b, s, "_sum", s->value);
	print_sample(b, s, "_count", (double)sum);
}

/* Series that exist from the start, as 0: increase() does not see the first event of a counter that
 * appears with it. */
static const struct {
	enum metrics_family family;
	const char *label, *values; /* separated by blanks; NULL: the family has no labels */
} expected[] = {
	{ METRIC_HANDSHAKES, "result", "accepted unauthorized unavailable busy bad_request" },
	{ METRIC_HTTP_CONNECTIONS, NULL, NULL },
	{ METRIC_CHANNELS, NULL, NULL },
	{ METRIC_HTTP_CONNECTIONS_DROPPED, "reason", "crowded stalled" },
	{ METRIC_FINISHED_RUNS, "state", "success failed crashed cancelled killed exception" },
	{ METRIC_LOST_RUNS, "clock", "lease deadline" },
	{ METRIC_LATE_COMPLETIONS, "policy", "yield acknowledge reject" },
	{ METRIC_RETURNED_RUNS, "reason", "released requeued left" },
	{ METRIC_INTAKE, "status", "200 400 401 404 405 409 413 422 503" },
	{ METRIC_PRUNED_ROWS, "table",
		"work_orders runs steps dataclips log_lines idempotency_keys" },
	{ METRIC_RETENTION_BEHIND, "data", "runs dataclips logs" },
	{ METRIC_CLAIMED_RUNS, NULL, NULL },
	{ METRIC_UNDELIVERED_CLAIMS, NULL, NULL },
	{ METRIC_EMPTY_CLAIMS, NULL, NULL },
	{ METRIC_RESENT_MESSAGES, NULL, NULL },
	{ METRIC_BYTES_IN, NULL, NULL },
	{ METRIC_BYTES_OUT, NULL, NULL },
};

void metrics_begin(const char *version, int schema)
{
	metrics_set(
		metrics_seriesf(METRIC_BUILD_INFO, "version=\"%s\",schema=\"%d\"", version, schema),
		1);
	for (size_t i = 0; i < countof(expected); i++) {
		char *list = expected[i].label ? xstrdup(expected[i].values) : NULL, *rest = list;
		char *value;

		while ((value = strsep(&rest, " ")) != NULL)
			metrics_seriesf(expected[i].family, "%s=\"%s\"", expected[i].label, value);
		if (list == NULL)
			metrics_series(expected[i].family, NULL);
		free(list);
	}
	metrics_process();
}

void metrics_label(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, "%s%s=\"", b->n > 0 ? "," : "", name);
	for (; *value; value++) {
		if (*value == '\n') {
			buf_adds(b, "\\n");
			continue;
		}
		if (*value == '"' || *value == '\\')
			buf_addc(b, '\\');
		buf_addc(b, *value);
	}
	buf_addc(b, '"');
}

void metrics_print(struct buf *b)
{
	for (size_t i = 0; i < countof(families); i++) {
		const struct family *f = &families[i];
		if (!lists[i])
			continue;
		buf_addf(b, "# HELP %s %s\n", f->name, f->help);
		buf_addf(b, "# TYPE %s %s\n", f->name, type_names[f->type]);
		for (const struct series *s = lists[i]; s; s = s->next) {
			if (f->type == HISTOGRAM)
				print_histogram(b, s);
			else
				print_sample(b, s, "", s->value);
		}
	}
}

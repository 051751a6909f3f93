/*
 * stats: the metrics, and their text form. The table below is the only place where a family exists;
 * the enum in stats.h is its index. A series is a number (or a row of buckets) that lives as long
 * as the process, so whoever counts keeps a pointer and never looks anything up.
 */
#include "stats.h"

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

static const struct family families[STATS_FAMILIES] = {
	[STATS_BUILD_INFO] = { "interlock_build_info", GAUGE,
		"Always 1; the labels tell what is running." },
	[STATS_READY] = { "interlock_ready", GAUGE,
		"1 while the database answers and its schema fits." },
	[STATS_RUNS] = { "interlock_runs", GAUGE,
		"Runs in flight, by state (at most 4,000 are counted)." },
	[STATS_WAITING] = { "interlock_waiting_runs", GAUGE,
		"Runs that wait to be claimed, by queue (at most 20,000 are counted)." },
	[STATS_WAITING_SECONDS] = { "interlock_waiting_oldest_seconds", GAUGE,
		"Age of the oldest run that waits, by queue." },
	[STATS_FINISHED] = { "interlock_finished_total", COUNTER,
		"Runs whose worker reported their end, by the state it gave them." },
	[STATS_MESSAGES] = { "interlock_messages_total", COUNTER, "Messages from workers." },
	[STATS_MESSAGE_SECONDS] = { "interlock_message_seconds", HISTOGRAM,
		"From the receipt of a message to its reply.", seconds },
	[STATS_SOCKETS] = { "interlock_sockets", GAUGE, "Open sockets of workers." },
	[STATS_SOCKETS_PAUSED] = { "interlock_sockets_paused", GAUGE,
		"Sockets that are not being read." },
	[STATS_PAUSES] = { "interlock_pauses_total", COUNTER,
		"Times that a socket was no longer read." },
	[STATS_CHANNELS] = { "interlock_channels", GAUGE, "Joined channels of runs." },
	[STATS_HANDSHAKES] = { "interlock_handshakes_total", COUNTER, "Handshakes of workers." },
	[STATS_CALLERS] = { "interlock_callers", GAUGE,
		"Connections that are not a worker's, or not yet." },
	[STATS_CALLERS_DROPPED] = { "interlock_callers_dropped_total", COUNTER,
		"Such connections closed to make room (crowded) or for lack of progress "
		"(stalled)." },
	[STATS_CLOSES] = { "interlock_closes_total", COUNTER,
		"Sockets closed by the coordinator." },
	[STATS_BYTES_IN] = { "interlock_received_bytes_total", COUNTER,
		"Bytes of messages from workers." },
	[STATS_BYTES_OUT] = { "interlock_sent_bytes_total", COUNTER,
		"Bytes of messages to workers." },
	[STATS_TURN_SECONDS] = { "interlock_loop_turn_seconds", HISTOGRAM,
		"How long the event loop was busy between two waits.", seconds },
	[STATS_MEMORY_IN_FLIGHT] = { "interlock_in_flight_bytes", GAUGE,
		"Memory held by messages and replies under way." },
	[STATS_SNAPSHOT_BYTES] = { "interlock_snapshot_bytes", GAUGE,
		"Bytes of the plans and secrets of the runs that have channels." },
	[STATS_BATCHES] = { "interlock_batches_total", COUNTER, "Batches sent to the database." },
	[STATS_BATCH_ITEMS] = { "interlock_batch_items", HISTOGRAM, "Messages in a batch.", items },
	[STATS_BATCH_WAIT_SECONDS] = { "interlock_batch_wait_seconds", HISTOGRAM,
		"For how long the first message of a batch had waited for the one before.",
		seconds },
	[STATS_BATCH_SECONDS] = { "interlock_batch_seconds", HISTOGRAM,
		"From the sending of a batch to its commit.", seconds },
	[STATS_QUEUED] = { "interlock_queued", GAUGE, "Messages that wait for a batch." },
	[STATS_COMMITTING] = { "interlock_committing", GAUGE,
		"Messages in the batch that is being committed." },
	[STATS_RESENT] = { "interlock_resent_total", COUNTER,
		"Messages sent again after a lost database connection." },
	[STATS_DB_UP] = { "interlock_db_up", GAUGE, "1 while the database connection is up." },
	[STATS_DB_CONNECTS] = { "interlock_db_connects_total", COUNTER,
		"Database connections made." },
	[STATS_CLAIMED] = { "interlock_claimed_total", COUNTER, "Runs handed out to workers." },
	[STATS_UNHEARD] = { "interlock_unheard_total", COUNTER,
		"Claimed runs given back because the worker was gone before the reply." },
	[STATS_LATE_REPLIES] = { "interlock_late_replies_total", COUNTER,
		"Answers given after a reconnect to what was asked before it." },
	[STATS_RACE] = { "interlock_race_total", COUNTER,
		"Late, stale and repeated messages, and what became of them." },
	[STATS_LATE_SECONDS] = { "interlock_late_seconds", HISTOGRAM,
		"From the loss of a run to the message that came too late.", lateness },
	[STATS_CLOCK_SKEW_SECONDS] = { "interlock_clock_skew_seconds", HISTOGRAM,
		"Distance between a worker's clock and the database's, with the way of the "
		"message.",
		skew },
	[STATS_DB_CLOCK_AHEAD] = { "interlock_db_clock_ahead_seconds", GAUGE,
		"By how much the database's clock is ahead of the coordinator's." },
	[STATS_LOST] = { "interlock_lost_total", COUNTER,
		"Runs declared lost, by the clock that had run out." },
	[STATS_LOST_COMPLETED] = { "interlock_lost_completed_total", COUNTER,
		"Lost runs whose worker reported their end after all." },
	[STATS_GIVEN_BACK] = { "interlock_given_back_total", COUNTER,
		"Claims given back: never joined in time, requeued before their start, left." },
	[STATS_OVERDUE_SECONDS] = { "interlock_overdue_seconds", HISTOGRAM,
		"From the end of a run's lease, deadline or time to join to the janitor's word.",
		lateness },
	[STATS_SWEEP_RUNS] = { "interlock_sweep_runs", HISTOGRAM,
		"Runs that the janitor took in one transaction.", items },
	[STATS_JUDGING] = { "interlock_judging", GAUGE,
		"1 while the janitor judges by this clock, 0 while it waits after an outage." },
	[STATS_POLICY_DIFFERS] = { "interlock_policy_differs", GAUGE,
		"1 while another coordinator decides late words by another policy." },
	[STATS_LEASES_RENEWED] = { "interlock_leases_renewed_total", COUNTER,
		"Leases of runs extended." },
	[STATS_EMPTY_CLAIMS] = { "interlock_empty_claims_total", COUNTER,
		"Claims answered from memory, since nothing waits." },
	[STATS_LOG_WARNINGS] = { "interlock_log_warnings_total", COUNTER,
		"Log lines of which something could not be stored." },
	[STATS_INTAKE] = { "interlock_intake_total", COUNTER, "Webhook requests." },
	[STATS_PROCESS_CPU] = { "process_cpu_seconds_total", COUNTER,
		"Processor time of the process, user and system." },
	[STATS_PROCESS_START] = { "process_start_time_seconds", GAUGE,
		"When the process was started, since 1970." },
	[STATS_PROCESS_RESIDENT] = { "process_resident_memory_bytes", GAUGE, "Memory in use." },
	[STATS_PROCESS_VIRTUAL] = { "process_virtual_memory_bytes", GAUGE, "Addresses in use." },
	[STATS_PROCESS_FDS] = { "process_open_fds", GAUGE, "Open descriptors." },
	[STATS_PROCESS_MAX_FDS] = { "process_max_fds", GAUGE, "How many may be open." },
};

struct series {
	struct series *next;
	const struct family *family;
	char *labels;     /* "" for none */
	double value;     /* of a histogram: the sum of what was observed */
	uint64_t count[]; /* histograms: one for each bucket, not cumulated */
};

/* In the order in which they were made. */
static struct series *lists[STATS_FAMILIES];

static size_t bucket_count(const struct family *family)
{
	size_t n = 0;
	if (family->type == HISTOGRAM)
		while (family->buckets[n++] < INFINITY)
			;
	return n;
}

struct series *stats_series(enum stats_family family, const char *labels)
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

struct series *stats_seriesf(enum stats_family family, const char *fmt, ...)
{
	char *labels;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&labels, fmt, ap) < 0)
		fatal("vasprintf");
	va_end(ap);
	struct series *s = stats_series(family, labels);
	free(labels);
	return s;
}

void stats_add(struct series *s, double n)
{
	assert(s->family->type == GAUGE || (s->family->type == COUNTER && n >= 0));
	s->value += n;
}

void stats_set(struct series *s, double v)
{
	assert(s->family->type == GAUGE);
	s->value = v;
}

void stats_observe(struct series *s, double v)
{
	assert(s->family->type == HISTOGRAM);
	size_t i = 0;
	while (v > s->family->buckets[i])
		i++;
	s->count[i]++;
	s->value += v;
}

double stats_value(const struct series *s)
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

/* What an operator wants to see as 0 before it has happened: a counter that appears with its first
 * event has not grown for whoever looks at its growth. */
static const struct {
	enum stats_family family;
	const char *label, *values; /* separated by blanks; NULL: the family has no labels */
} expected[] = {
	{ STATS_HANDSHAKES, "result", "accepted unauthorized unavailable busy bad_request" },
	{ STATS_CALLERS, NULL, NULL },
	{ STATS_CALLERS_DROPPED, "reason", "crowded stalled" },
	{ STATS_FINISHED, "state", "success failed crashed cancelled killed exception" },
	{ STATS_LOST, "clock", "lease deadline" },
	{ STATS_LOST_COMPLETED, "policy", "yield acknowledge reject" },
	{ STATS_GIVEN_BACK, "reason", "released requeued left" },
	{ STATS_INTAKE, "status", "200 400 401 404 405 409 413 422 503" },
	{ STATS_CLAIMED, NULL, NULL },
	{ STATS_UNHEARD, NULL, NULL },
	{ STATS_EMPTY_CLAIMS, NULL, NULL },
	{ STATS_RESENT, NULL, NULL },
	{ STATS_BYTES_IN, NULL, NULL },
	{ STATS_BYTES_OUT, NULL, NULL },
};

void stats_begin(const char *version, int schema)
{
	stats_set(stats_seriesf(STATS_BUILD_INFO, "version=\"%s\",schema=\"%d\"", version, schema),
		1);
	for (size_t i = 0; i < countof(expected); i++) {
		char *list = expected[i].label ? xstrdup(expected[i].values) : NULL, *rest = list;
		char *value;

		while ((value = strsep(&rest, " ")) != NULL)
			stats_seriesf(expected[i].family, "%s=\"%s\"", expected[i].label, value);
		if (list == NULL)
			stats_series(expected[i].family, NULL);
		free(list);
	}
	stats_process();
}

void stats_label(struct buf *b, const char *name, const char *value)
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

void stats_print(struct buf *b)
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

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
	const char *name; /* without interlock_ */
	enum type type;
	const char *help;
	const double *buckets; /* histograms */
};

static const struct family families[STATS_FAMILIES] = {
	[STATS_BUILD_INFO] = { "build_info", GAUGE, "Always 1; the labels tell what is running." },
	[STATS_MESSAGES] = { "messages_total", COUNTER, "Messages from workers." },
	[STATS_MESSAGE_SECONDS] = { "message_seconds", HISTOGRAM,
		"From the receipt of a message to its reply.", seconds },
	[STATS_SOCKETS] = { "sockets", GAUGE, "Open sockets of workers." },
	[STATS_SOCKETS_PAUSED] = { "sockets_paused", GAUGE, "Sockets that are not being read." },
	[STATS_CHANNELS] = { "channels", GAUGE, "Joined channels of runs." },
	[STATS_HANDSHAKES] = { "handshakes_total", COUNTER, "Handshakes of workers." },
	[STATS_CLOSES] = { "closes_total", COUNTER, "Sockets closed by the coordinator." },
	[STATS_BYTES_IN] = { "received_bytes_total", COUNTER, "Bytes of messages from workers." },
	[STATS_BYTES_OUT] = { "sent_bytes_total", COUNTER, "Bytes of messages to workers." },
	[STATS_MEMORY_IN_FLIGHT] = { "in_flight_bytes", GAUGE,
		"Memory held by messages and replies under way." },
	[STATS_BATCHES] = { "batches_total", COUNTER, "Batches sent to the database." },
	[STATS_BATCH_ITEMS] = { "batch_items", HISTOGRAM, "Messages in a batch.", items },
	[STATS_BATCH_SECONDS] = { "batch_seconds", HISTOGRAM,
		"From the sending of a batch to its commit.", seconds },
	[STATS_QUEUED] = { "queued", GAUGE, "Messages that wait for a batch." },
	[STATS_RESENT] = { "resent_total", COUNTER,
		"Messages sent again after a lost database connection." },
	[STATS_DB_UP] = { "db_up", GAUGE, "1 while the database connection is up." },
	[STATS_DB_CONNECTS] = { "db_connects_total", COUNTER, "Database connections made." },
	[STATS_CLAIMED] = { "claimed_total", COUNTER, "Runs handed out to workers." },
	[STATS_UNHEARD] = { "unheard_total", COUNTER,
		"Claimed runs given back because the worker was gone before the reply." },
	[STATS_RACE] = { "race_total", COUNTER,
		"Late, stale and repeated messages, and what became of them." },
	[STATS_LATE_SECONDS] = { "late_seconds", HISTOGRAM,
		"From the loss of a run to the message that came too late.", lateness },
	[STATS_CLOCK_SKEW_SECONDS] = { "clock_skew_seconds", HISTOGRAM,
		"Distance between a worker's clock and the database's, with the way of the "
		"message.",
		skew },
	[STATS_DB_CLOCK_AHEAD] = { "db_clock_ahead_seconds", GAUGE,
		"By how much the database's clock is ahead of the coordinator's." },
	[STATS_LOST] = { "lost_total", COUNTER,
		"Runs declared lost, by the clock that had run out." },
	[STATS_LOST_COMPLETED] = { "lost_completed_total", COUNTER,
		"Lost runs whose worker reported their end after all." },
	[STATS_GIVEN_BACK] = { "given_back_total", COUNTER,
		"Overdue claims given back: never joined, or requeued before their start." },
	[STATS_OVERDUE_SECONDS] = { "overdue_seconds", HISTOGRAM,
		"From the end of a run's lease, deadline or time to join to the janitor's word.",
		lateness },
	[STATS_SWEEP_RUNS] = { "sweep_runs", HISTOGRAM,
		"Runs that the janitor took in one transaction.", items },
	[STATS_JUDGING] = { "judging", GAUGE,
		"1 while the janitor judges by this clock, 0 while it waits after an outage." },
	[STATS_POLICY_DIFFERS] = { "policy_differs", GAUGE,
		"1 while another coordinator decides late words by another policy." },
	[STATS_LEASES_RENEWED] = { "leases_renewed_total", COUNTER, "Leases of runs extended." },
	[STATS_EMPTY_CLAIMS] = { "empty_claims_total", COUNTER,
		"Claims answered from memory, since nothing waits." },
	[STATS_LOG_WARNINGS] = { "log_warnings_total", COUNTER,
		"Log lines of which something could not be stored." },
	[STATS_INTAKE] = { "intake_total", COUNTER, "Webhook requests." },
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
	buf_addf(b, "interlock_%s%s", s->family->name, suffix);
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
		buf_addf(b, "interlock_%s_bucket{%s%sle=\"", s->family->name, s->labels,
			*s->labels ? "," : "");
		buf_addf(b, isinf(le) ? "+Inf" : "%g", le);
		buf_addf(b, "\"} %ju\n", (uintmax_t)sum);
	}
	print_sample(b, s, "_sum", s->value);
	print_sample(b, s, "_count", (double)sum);
}

void stats_print(struct buf *b)
{
	for (size_t i = 0; i < countof(families); i++) {
		const struct family *f = &families[i];
		if (!lists[i])
			continue;
		buf_addf(b, "# HELP interlock_%s %s\n", f->name, f->help);
		buf_addf(b, "# TYPE interlock_%s %s\n", f->name, type_names[f->type]);
		for (const struct series *s = lists[i]; s; s = s->next) {
			if (f->type == HISTOGRAM)
				print_histogram(b, s);
			else
				print_sample(b, s, "", s->value);
		}
	}
}

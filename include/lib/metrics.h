/*
 * metrics: the metrics. One table of families; a caller makes its series once and keeps the
 * pointer, so that counting is an addition. Printed in Prometheus' text format 0.0.4.
 */
#ifndef METRIC_H
#define METRIC_H

#include "lib/base.h"

/* In the order in which they are printed; names, help and types in stats.c. */
enum metrics_family {
	METRIC_BUILD_INFO,      /* by version, schema */
	METRIC_READY,           /* gauge */
	METRIC_RUNS,            /* gauge by state: claimed, started; sampled */
	METRIC_WAITING,         /* gauge by queue; sampled */
	METRIC_WAITING_SECONDS, /* gauge by queue: age of the oldest; sampled */
	METRIC_FINISHED_RUNS,   /* by state */
	METRIC_MESSAGES,        /* by event, outcome */
	METRIC_MESSAGE_SECONDS, /* histogram by event: receipt to reply */
	METRIC_SOCKETS,         /* gauge: open worker sockets */
	METRIC_SOCKETS_PAUSED,  /* gauge: sockets not read just now, by reason */
	METRIC_SOCKET_PAUSES, /* how often one began, by reason: most last no longer than a look */
	METRIC_CHANNELS,      /* gauge: joined run channels */
	METRIC_HANDSHAKES, /* by result: accepted, unauthorized, unavailable, busy, bad_request */
	METRIC_HTTP_CONNECTIONS,         /* gauge: connections that are no worker's */
	METRIC_HTTP_CONNECTIONS_DROPPED, /* of them, closed by us, by reason: crowded, stalled */
	METRIC_SOCKET_CLOSES,            /* sockets closed by us, by code */
	METRIC_BYTES_IN,
	METRIC_BYTES_OUT,
	METRIC_LOOP_BUSY_SECONDS,    /* histogram: one turn of the loop, without waiting */
	METRIC_BUFFERED_BYTES,       /* gauge, bytes held by frames and replies */
	METRIC_DB_BUFFER_BYTES,      /* gauge */
	METRIC_PLAN_CACHE_BYTES,     /* gauge, bytes of plans and secrets that channels hold */
	METRIC_BATCHES,              /* by lane, result: committed, failed, one_by_one */
	METRIC_BATCH_ITEMS,          /* histogram by lane: messages in a batch */
	METRIC_BATCH_WAIT_SECONDS,   /* histogram by lane: what its first message waited */
	METRIC_BATCH_SECONDS,        /* histogram by lane: sent to synced */
	METRIC_QUEUED_MESSAGES,      /* gauge by lane: messages that wait for a batch */
	METRIC_COMMITTING_MESSAGES,  /* gauge by lane: messages in the batch under way */
	METRIC_RESENT_MESSAGES,      /* messages sent again after a lost connection */
	METRIC_DB_UP,                /* gauge by lane */
	METRIC_DB_CONNECTS,          /* by lane */
	METRIC_CLAIMED_RUNS,         /* runs handed out */
	METRIC_UNDELIVERED_CLAIMS,   /* claims whose worker was gone before the reply */
	METRIC_LATE_REPLIES,         /* given after a reconnect; what */
	METRIC_MESSAGE_OUTCOMES,     /* by event, outcome, policy: what became of late, stale and
				      * repeated messages
				      */
	METRIC_LATE_MESSAGE_SECONDS, /* histogram: how late a late message was, after the loss */
	METRIC_WORKER_CLOCK_SKEW_SECONDS, /* histogram: |worker's clock - database's| at receipt */
	METRIC_DB_CLOCK_OFFSET,           /* gauge: database's clock - ours */
	METRIC_LOST_RUNS,                 /* by clock: lease, deadline */
	METRIC_LATE_COMPLETIONS,      /* lost runs whose worker ended them after all, by policy */
	METRIC_RETURNED_RUNS,         /* by reason: released, requeued */
	METRIC_JANITOR_DELAY_SECONDS, /* histogram by clock: from its end to the janitor's taking */
	METRIC_SWEEP_RUNS,            /* histogram: runs taken in one transaction */
	METRIC_JANITOR_ACTIVE,        /* gauge by clock: 1 while the janitor judges by it */
	METRIC_PRUNED_ROWS,           /* by table */
	METRIC_RETENTION_BEHIND,      /* gauge by data: seconds since the oldest should have gone */
	METRIC_TABLE_BYTES,           /* gauge by table */
	METRIC_OLDEST_ROW,            /* gauge by table: age in seconds */
	METRIC_POLICY_MISMATCH,       /* gauge: 1 while another coordinator has another policy */
	METRIC_LEASE_RENEWALS,
	METRIC_EMPTY_CLAIMS, /* claims answered without asking the database */
	METRIC_LOG_WARNINGS, /* log lines of which something could not be stored, by cause */
	METRIC_INTAKE,       /* webhook requests by status */
	METRIC_PROCESS_CPU,  /* these by metrics_process */
	METRIC_PROCESS_START,
	METRIC_PROCESS_RESIDENT,
	METRIC_PROCESS_VIRTUAL,
	METRIC_PROCESS_FDS,
	METRIC_PROCESS_MAX_FDS,
	METRIC_FAMILIES
};

struct series;

/* The series of that family with these labels (`a="b",c="d"`, already escaped; NULL for none). Made
 * at the first call, the same one at every later; never freed. Not for the hot path: keep the
 * pointer. */
struct series *metrics_series(enum metrics_family family, const char *labels);
/* The same with printf for the labels. */
struct series *metrics_seriesf(enum metrics_family family, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

void metrics_add(struct series *s, double n); /* counter or gauge; n may be negative for a gauge */
void metrics_set(struct series *s, double v); /* gauge */
void metrics_observe(struct series *s, double v); /* histogram */
double metrics_value(
	const struct series *s); /* a counter's or gauge's value, a histogram's count */

/* Makes the series that are to be there before anything is counted, and says what is running. */
void metrics_begin(const char *version, int schema);
/* Looks at the process itself: before it is printed. */
void metrics_process(void);

/* Appends name="value" to a list of labels, escaped. */
void metrics_label(struct buf *b, const char *name, const char *value);

/* Appends everything in Prometheus' text format; families without series are left out. */
void metrics_print(struct buf *b);

#endif

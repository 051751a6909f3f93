/*
 * stats: the metrics. One table of families; whoever counts makes its series once and keeps the
 * pointer, so that counting is an addition. Printed in Prometheus' text format 0.0.4.
 */
#ifndef STATS_H
#define STATS_H

#include "base.h"

/* In the order in which they are printed; names, help and types in stats.c. */
enum stats_family {
	STATS_BUILD_INFO,      /* by version, schema */
	STATS_READY,           /* gauge */
	STATS_RUNS,            /* gauge by state: claimed, started; sampled */
	STATS_WAITING,         /* gauge by queue; sampled */
	STATS_WAITING_SECONDS, /* gauge by queue: age of the oldest; sampled */
	STATS_FINISHED,        /* by state */
	STATS_MESSAGES,        /* by event, outcome */
	STATS_MESSAGE_SECONDS, /* histogram by event: receipt to reply */
	STATS_SOCKETS,         /* gauge: open worker sockets */
	STATS_SOCKETS_PAUSED,  /* gauge: sockets not read just now, by reason */
	STATS_PAUSES,          /* how often one began, by reason: most last no longer than a look */
	STATS_CHANNELS,        /* gauge: joined run channels */
	STATS_HANDSHAKES, /* by result: accepted, unauthorized, unavailable, busy, bad_request */
	STATS_CALLERS,    /* gauge: connections that are no worker's */
	STATS_CALLERS_DROPPED, /* of them, closed by us, by reason: crowded, stalled */
	STATS_CLOSES,          /* sockets closed by us, by code */
	STATS_BYTES_IN,
	STATS_BYTES_OUT,
	STATS_TURN_SECONDS,       /* histogram: one turn of the loop, without waiting */
	STATS_MEMORY_IN_FLIGHT,   /* gauge, bytes held by frames and replies */
	STATS_SNAPSHOT_BYTES,     /* gauge, bytes of plans and secrets that channels hold */
	STATS_BATCHES,            /* by lane, result: committed, failed, one_by_one */
	STATS_BATCH_ITEMS,        /* histogram by lane: messages in a batch */
	STATS_BATCH_WAIT_SECONDS, /* histogram by lane: what its first message waited */
	STATS_BATCH_SECONDS,      /* histogram by lane: sent to synced */
	STATS_QUEUED,             /* gauge by lane: messages that wait for a batch */
	STATS_COMMITTING,         /* gauge by lane: messages in the batch under way */
	STATS_RESENT,             /* messages sent again after a lost connection */
	STATS_DB_UP,              /* gauge by lane */
	STATS_DB_CONNECTS,        /* by lane */
	STATS_CLAIMED,            /* runs handed out */
	STATS_UNHEARD,            /* claims whose worker was gone before the reply */
	STATS_LATE_REPLIES,       /* given after a reconnect; what */
	STATS_RACE, /* by event, outcome, policy: what became of late, stale and repeated messages
		     */
	STATS_LATE_SECONDS,       /* histogram: how late a late message was, after the loss */
	STATS_CLOCK_SKEW_SECONDS, /* histogram: |worker's clock - database's| at receipt */
	STATS_DB_CLOCK_AHEAD,     /* gauge: database's clock - ours */
	STATS_LOST,               /* by clock: lease, deadline */
	STATS_LOST_COMPLETED,     /* lost runs whose worker ended them after all, by policy */
	STATS_GIVEN_BACK,         /* by reason: released, requeued */
	STATS_OVERDUE_SECONDS,    /* histogram by clock: from its end to the janitor's taking */
	STATS_SWEEP_RUNS,         /* histogram: runs taken in one transaction */
	STATS_JUDGING,            /* gauge by clock: 1 while the janitor judges by it */
	STATS_POLICY_DIFFERS,     /* gauge: 1 while another coordinator has another policy */
	STATS_LEASES_RENEWED,
	STATS_EMPTY_CLAIMS, /* claims answered without asking the database */
	STATS_LOG_WARNINGS, /* log lines of which something could not be stored, by cause */
	STATS_INTAKE,       /* webhook requests by status */
	STATS_PROCESS_CPU,  /* these by stats_process */
	STATS_PROCESS_START,
	STATS_PROCESS_RESIDENT,
	STATS_PROCESS_VIRTUAL,
	STATS_PROCESS_FDS,
	STATS_PROCESS_MAX_FDS,
	STATS_FAMILIES
};

struct series;

/* The series of that family with these labels (`a="b",c="d"`, already escaped; NULL for none). Made
 * at the first call, the same one at every later; never freed. Not for the hot path: keep the
 * pointer. */
struct series *stats_series(enum stats_family family, const char *labels);
/* The same with printf for the labels. */
struct series *stats_seriesf(enum stats_family family, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

void stats_add(struct series *s, double n); /* counter or gauge; n may be negative for a gauge */
void stats_set(struct series *s, double v); /* gauge */
void stats_observe(struct series *s, double v); /* histogram */
double stats_value(const struct series *s); /* a counter's or gauge's value, a histogram's count */

/* Makes the series that are to be there before anything is counted, and says what is running. */
void stats_begin(const char *version, int schema);
/* Looks at the process itself: before it is printed. */
void stats_process(void);

/* Appends name="value" to a list of labels, escaped. */
void stats_label(struct buf *b, const char *name, const char *value);

/* Appends everything in Prometheus' text format; families without series are left out. */
void stats_print(struct buf *b);

#endif

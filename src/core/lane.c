/*
 * lane: one connection and what becomes of its batches (lane.h). Invariants: an item is either
 * queued or in flight, and done is called exactly once; the queue is also the log of what must be
 * sent again, in order, when the database comes back. Ownership: whoever submitted an item may free
 * it in done, so nothing touches an item after that.
 */
#include "lane.h"

#include "core/batch_settings.h"
#include "lib/metrics.h"
#include "pipeline.h"

#include <stdlib.h>

enum {
	/* Times that a message is sent again after a deadlock, a serialization failure, a vanished
	 * reference, or the loss of a connection. */
	RETRIES = 5,
	/* Bytes of its buffers for which a connection is exchanged for a new one. */
	BUFFERED_MAX = 8 * 1024 * 1024,
	/* Milliseconds after which the server cancels a statement of a writer. Those messages that
	 * may be the reason go on at the slow lane, where a statement may take this part of the
	 * queue_timeout, and at least twice as long: which of them hangs is found out by sending
	 * them one by one, and the others still have time enough.
	 */
	WRITER_TIMEOUT_MS = 1000,
	SLOW_TIMEOUT_PART = 10,
	/* Messages that take longer one by one, milliseconds, do so because all of the database is
	 * slow: then more are sent together. */
	SLOW_ALONE_MS = 100,
};

/* What went wrong first in a batch. */
struct batch_error {
	bool set;
	char state[6];       /* SQLSTATE */
	char constraint[64]; /* NAMEDATALEN */
	char message[256];
	int group; /* of the batch, whose statement it was; or none of them */
};

struct lane {
	struct lane_config config;
	char name[24];
	const char *settings[BATCH_SETTINGS + 4];
	/* Of a statement, milliseconds: for the settings; and for a writer when the database is
	 * slow. */
	char timeout[24], long_timeout[24];
	int timeouts; /* batches in a row that did not end in time */
	struct db *db;
	struct batch_queue queue;
	struct pipeline pipeline; /* the batch in flight */
	int received;             /* results of it that have come */
	struct batch_error error;
	int64_t sent_at; /* mono_ms() */
	bool stopped;

	struct series *stat_committed, *stat_failed, *stat_one_by_one, *stat_items, *stat_seconds,
		*stat_queued, *stat_wait, *stat_committing, *stat_resent;
};

static const char *const lane_names[LANES] = { "write", "read", "claim", "body", "slow" };

/* What a failed batch of one means, by SQLSTATE (PostgreSQL's appendix A). */
enum failure_action {
	RESEND,    /* at once */
	PUT_OFF,   /* resend later, and later each time */
	RECONNECT, /* the server's trouble: resend after a new connection */
	FAIL       /* the message's own fault: tell its submitter */
};

static const struct {
	const char *prefix;
	enum failure_action action;
} failure_actions[] = {
	{ "40", RESEND },       /* deadlock, serialization */
	{ "23503", RESEND },    /* a reference vanished meanwhile: the statement sees it now */
	{ "25006", RECONNECT }, /* read-only: a standby */
	{ "53", RECONNECT },    /* out of disk, memory, connections */
	{ "55P03", PUT_OFF },   /* a lock was not granted in time */
	{ "57014", PUT_OFF },   /* cancelled: it took too long */
	{ "57", RECONNECT },    /* shutdown, crash of another backend */
	{ "58", RECONNECT },    /* input or output error */
	{ "08", RECONNECT },
};

static enum failure_action failure_action_of(const char *sqlstate)
{
	for (size_t i = 0; i < countof(failure_actions); i++)
		if (strncmp(sqlstate, failure_actions[i].prefix,
			    strlen(failure_actions[i].prefix)) == 0)
			return failure_actions[i].action;
	return FAIL;
}

/* For how long a statement of the slow lane may run, milliseconds. */
static int64_t slow_timeout(const struct lane *lane)
{
	int64_t part = lane->config.queue_timeout / SLOW_TIMEOUT_PART;

	return part > 2 * WRITER_TIMEOUT_MS ? part : 2 * WRITER_TIMEOUT_MS;
}

/* For how long a statement may run, milliseconds. */
static int64_t statement_timeout(const struct lane *lane)
{
	switch (lane->config.kind) {
	case LANE_WRITE: return WRITER_TIMEOUT_MS;
	case LANE_SLOW: return slow_timeout(lane);
	default: return lane->config.queue_timeout;
	}
}

static void done(struct batch_item *item, const struct batch_result *result)
{
	item->submitted = false;
	item->done(item, result);
}

static void finish(struct batch_item *item, enum batch_status status, const char *constraint)
{
	done(item, &(struct batch_result){ .status = status, .constraint = constraint });
}

/* A queued item ends here. What became of it is not known, unless its statement was cancelled. */
static void give_up(struct lane *lane, struct batch_item *item)
{
	TAILQ_REMOVE(&lane->queue, item, entry);
	metrics_add(lane->stat_queued, -1);
	if (item->timed_out)
		log_warnx("%s: statement %s of %zu bytes, sent alone, did not end within %jd ms, "
			  "again and again: given up",
			lane->name, item->stmt->name, item->bytes,
			(intmax_t)statement_timeout(lane));
	finish(item, item->timed_out ? BATCH_FAILED : BATCH_UNAVAILABLE, NULL);
}

static void give_up_old(struct lane *lane)
{
	int64_t limit = mono_ms() - lane->config.queue_timeout;
	struct batch_item *item, *next;

	for (item = TAILQ_FIRST(&lane->queue); item != NULL; item = next) {
		next = TAILQ_NEXT(item, entry);
		if (item->queued_at < limit && !item->waits)
			give_up(lane, item);
	}
}

void lane_send(struct lane *lane)
{
	const struct batch_item *oldest = TAILQ_FIRST(&lane->queue);
	int64_t since;

	if (lane->pipeline.nitems > 0 || oldest == NULL || lane->stopped || !db_is_ready(lane->db))
		return;
	since = oldest->queued_at;
	if (!pipeline_fill(&lane->pipeline, &lane->queue))
		return;
	lane->received = 0;
	lane->error.set = false;
	pipeline_send(&lane->pipeline);
	lane->sent_at = mono_ms();
	metrics_observe(lane->stat_items, lane->pipeline.nitems);
	metrics_observe(lane->stat_wait, (double)(lane->sent_at - since) / 1000);
	metrics_set(lane->stat_committing, lane->pipeline.nitems);
	metrics_add(lane->stat_queued, -lane->pipeline.nitems);
}

/* ---- the queue ---- */

static void measure(struct batch_item *item)
{
	int values = item->rows * item->stmt->columns;

	item->bytes = 0;
	for (int i = 0; i < values; i++)
		item->bytes += (size_t)item->values[i].n + 4;
}

void lane_release(struct batch_item *item)
{
	item->waits = false;
	measure(item);
}

static void prepare(struct lane *lane, struct batch_item *item)
{
	measure(item);
	item->queued_at = mono_ms();
	item->submitted = true;
	item->one_by_one = item->resent = item->timed_out = false;
	item->tries = 0;
	item->not_before = 0;
	metrics_add(lane->stat_queued, 1);
}

void lane_submit(struct lane *lane, struct batch_item *item)
{
	prepare(lane, item);
	TAILQ_INSERT_TAIL(&lane->queue, item, entry);
}

void lane_submit_first(struct lane *lane, struct batch_item *item)
{
	prepare(lane, item);
	TAILQ_INSERT_HEAD(&lane->queue, item, entry);
}

void lane_withdraw(struct lane *lane, struct batch_item *item)
{
	TAILQ_REMOVE(&lane->queue, item, entry);
	item->submitted = false;
	metrics_add(lane->stat_queued, -1);
}

/* Puts what was in flight back to the head of the queue. A run has one message in a batch at most,
 * so the order of its messages is kept. */
static void return_to_queue(struct lane *lane)
{
	int n = lane->pipeline.nitems;

	for (int g = lane->pipeline.ngroups - 1; g >= 0; g--) {
		struct pipeline_group *group = &lane->pipeline.groups[g];

		PQclear(group->res);
		group->res = NULL;
		TAILQ_CONCAT(&group->items, &lane->queue, entry);
		TAILQ_CONCAT(&lane->queue, &group->items, entry);
	}
	lane->pipeline.nitems = lane->pipeline.ngroups = 0;
	metrics_add(lane->stat_queued, n);
}

void lane_fail_all(struct lane *lane)
{
	struct batch_item *item;

	return_to_queue(lane);
	while ((item = TAILQ_FIRST(&lane->queue)) != NULL)
		give_up(lane, item);
}

/* Every item gets the rows whose ord (the first column, counted from 1) is one of its own. */
static void deliver(struct lane *lane)
{
	int ngroups = lane->pipeline.ngroups;

	for (int g = 0; g < ngroups; g++) {
		struct pipeline_group *group = &lane->pipeline.groups[g];
		int row = 0, rows = PQntuples(group->res), ord = 0;

		for (struct batch_item *item; (item = TAILQ_FIRST(&group->items)) != NULL;) {
			struct batch_result r = {
				.status = BATCH_DONE, .res = group->res, .first = row
			};

			if (lane->config.kind == LANE_BODY)
				r.alone = &group->res;
			ord += item->rows;
			while (row < rows && atoi(PQgetvalue(group->res, row, 0)) <= ord)
				row++;
			r.rows = row - r.first;
			TAILQ_REMOVE(&group->items, item, entry);
			done(item, &r);
		}
		PQclear(group->res);
		group->res = NULL;
	}
	lane->pipeline.nitems = lane->pipeline.ngroups = 0;
}

/* Other messages come first, and each time for longer. What comes after it of its run waits
 * with it. */
static void put_off(struct lane *lane, struct batch_item *item)
{
	int64_t wait = statement_timeout(lane) << (item->timed_out ? item->tries : 0);

	log_info("%s: statement %s of %zu bytes did not end within %jd ms: again in %jd ms",
		lane->name, item->stmt->name, item->bytes, (intmax_t)statement_timeout(lane),
		(intmax_t)wait);
	item->timed_out = true;
	item->tries++;
	item->not_before = mono_ms() + wait;
	return_to_queue(lane);
}

/* A batch of one was refused. */
static void handle_single_failure(struct lane *lane)
{
	struct batch_item *item = TAILQ_FIRST(&lane->pipeline.groups[0].items);
	const struct batch_error *e = &lane->error;
	enum failure_action action = failure_action_of(e->state);

	if (action == RESEND && item->tries++ < RETRIES) {
		return_to_queue(lane);
		return;
	}
	if (action == PUT_OFF && lane->config.kind != LANE_CLAIM) {
		put_off(lane, item);
		return;
	}
	log_warnx("%s: statement %s: SQLSTATE %s: %s", lane->name, item->stmt->name, e->state,
		e->message);
	if (action == RECONNECT && lane->config.kind != LANE_CLAIM) {
		return_to_queue(lane);
		db_reset(lane->db, e->message);
		return;
	}
	PQclear(lane->pipeline.groups[0].res);
	lane->pipeline.nitems = lane->pipeline.ngroups = 0;
	if (strncmp(e->state, "23", 2) == 0)
		finish(item, BATCH_CONSTRAINT, e->constraint);
	else
		finish(item, BATCH_FAILED, NULL);
}

/* A batch of a writer did not end in time. It does not wait for the reason, which may be any
 * message of the statement that was cancelled, or of all (lock, settle): those go elsewhere, the
 * others again. If it happens twice in a row, to different messages, it is the database that is
 * slow. */
static void hand_over(struct lane *lane)
{
	struct pipeline *p = &lane->pipeline;
	bool one = lane->error.group >= 0 && lane->error.group < p->ngroups;
	int first = one ? lane->error.group : 0, end = one ? first + 1 : p->ngroups, n = 0;
	struct batch_item *item;

	for (int g = first; g < end; g++) {
		TAILQ_FOREACH (item, &p->groups[g].items, entry) {
			lane->config.held_up(lane->config.arg, item);
			n++;
		}
	}
	log_info("%s: statement %s did not end in time: %d messages go to the slow lane",
		lane->name, one ? p->groups[first].stmt->name : "lock or settle", n);
	metrics_add(lane->stat_one_by_one, n);
	return_to_queue(lane);
	p->most = 1;
	if (lane->timeouts++ > 0)
		p->timeout = lane->long_timeout;
}

/* Nothing of the batch was done. Its messages go again one by one, so that only the failing message
 * fails.
 */
static void on_failed(struct lane *lane)
{
	struct batch_item *item;

	metrics_add(lane->stat_failed, 1);
	if (lane->config.kind == LANE_WRITE && failure_action_of(lane->error.state) == PUT_OFF) {
		hand_over(lane);
		return;
	}
	if (lane->config.kind == LANE_SLOW)
		lane->pipeline.most = 1;
	if (lane->pipeline.nitems == 1) {
		handle_single_failure(lane);
		return;
	}
	metrics_add(lane->stat_one_by_one, lane->pipeline.nitems);
	for (int g = 0; g < lane->pipeline.ngroups; g++)
		TAILQ_FOREACH (item, &lane->pipeline.groups[g].items, entry)
			item->one_by_one = true;
	return_to_queue(lane);
}

static void on_result(struct db *db, void *arg, PGresult *res)
{
	struct lane *lane = arg;
	int g = lane->received++ - lane->pipeline.first_group;
	ExecStatusType status = PQresultStatus(res);

	(void)db;
	if (status == PGRES_FATAL_ERROR && !lane->error.set) {
		const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
		const char *name = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
		const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

		lane->error.set = true;
		lane->error.group = g;
		snprintf(lane->error.state, sizeof(lane->error.state), "%s",
			state ? state : "58000");
		snprintf(lane->error.constraint, sizeof(lane->error.constraint), "%s",
			name ? name : "");
		snprintf(lane->error.message, sizeof(lane->error.message), "%s",
			message ? message : "");
	}
	pipeline_received(&lane->pipeline, res);
	if (g >= 0 && g < lane->pipeline.ngroups)
		lane->pipeline.groups[g].res = res;
	else
		PQclear(res);
}

/* How large the next batch may be, after one that was committed and took so many milliseconds. The
 * slow lane sends one message after the other, unless each of them is slow. */
static void adapt(struct lane *lane, int64_t took)
{
	struct pipeline *p = &lane->pipeline;

	lane->timeouts = 0;
	if (took < WRITER_TIMEOUT_MS)
		p->timeout = NULL;
	if (lane->config.kind == LANE_SLOW && took < SLOW_ALONE_MS)
		p->most = 1;
	else
		p->most = p->most < PIPELINE_ITEMS / 2 ? 2 * p->most : PIPELINE_ITEMS;
}

static void on_synced(struct db *db, void *arg)
{
	struct lane *lane = arg;
	int64_t took = mono_ms() - lane->sent_at;

	(void)db;
	metrics_observe(lane->stat_seconds, (double)took / 1000);
	metrics_set(lane->stat_committing, 0);
	if (lane->error.set) {
		on_failed(lane);
	} else {
		metrics_add(lane->stat_committed, 1);
		adapt(lane, took);
		deliver(lane);
	}
	if (lane_buffered(lane) > BUFFERED_MAX)
		db_renew(lane->db);
	lane_send(lane);
}

static void on_up(struct db *db, void *arg)
{
	struct lane *lane = arg;

	(void)db;
	lane->pipeline.plan_lifetime = lane->pipeline.plan_messages_left = PIPELINE_PLANS_MIN;
	pipeline_connected(&lane->pipeline);
	lane->config.state_changed(lane->config.arg, "");
	lane_send(lane);
}

static void on_down(struct db *db, void *arg, const char *why)
{
	struct lane *lane = arg;
	struct batch_item *item;

	(void)db;
	lane->config.state_changed(lane->config.arg, why);
	if (lane->pipeline.nitems == 0)
		return;
	metrics_add(lane->stat_resent, lane->pipeline.nitems);
	metrics_set(lane->stat_committing, 0);
	/* Which one caused it is found out if it happens again: then they are sent one by one. */
	for (int g = 0; g < lane->pipeline.ngroups; g++) {
		TAILQ_FOREACH (item, &lane->pipeline.groups[g].items, entry) {
			item->resent = true;
			item->timed_out = false;
			item->one_by_one = item->tries++ > 0;
		}
	}
	/* A claim is not sent again: its worker asks by itself. */
	if (lane->config.kind == LANE_CLAIM) {
		lane_fail_all(lane);
		return;
	}
	return_to_queue(lane);
	give_up_old(lane);
	item = TAILQ_FIRST(&lane->queue);
	if (item != NULL && item->one_by_one && item->tries > RETRIES) {
		log_warnx("%s: statement %s of %zu bytes, sent alone, lost its connection %d "
			  "times: given up",
			lane->name, item->stmt->name, item->bytes, item->tries);
		give_up(lane, item);
	}
}

static const struct db_ops db_ops = {
	.up = on_up,
	.down = on_down,
	.result = on_result,
	.synced = on_synced,
};

static void make_settings(struct lane *lane)
{
	size_t n = batch_settings_of(lane->config.coordinator, lane->settings);

	snprintf(lane->timeout, sizeof(lane->timeout), "%jd", (intmax_t)statement_timeout(lane));
	snprintf(lane->long_timeout, sizeof(lane->long_timeout), "%jd",
		(intmax_t)slow_timeout(lane));
	lane->settings[n++] = "statement_timeout";
	lane->settings[n++] = lane->timeout;
}

static void make_series(struct lane *lane)
{
	const char *name = lane->name;

	lane->stat_committed =
		metrics_seriesf(METRIC_BATCHES, "lane=\"%s\",result=\"committed\"", name);
	lane->stat_failed = metrics_seriesf(METRIC_BATCHES, "lane=\"%s\",result=\"failed\"", name);
	lane->stat_one_by_one =
		metrics_seriesf(METRIC_BATCHES, "lane=\"%s\",result=\"one_by_one\"", name);
	lane->stat_items = metrics_seriesf(METRIC_BATCH_ITEMS, "lane=\"%s\"", name);
	lane->stat_seconds = metrics_seriesf(METRIC_BATCH_SECONDS, "lane=\"%s\"", name);
	lane->stat_wait = metrics_seriesf(METRIC_BATCH_WAIT_SECONDS, "lane=\"%s\"", name);
	lane->stat_committing = metrics_seriesf(METRIC_COMMITTING_MESSAGES, "lane=\"%s\"", name);
	lane->stat_queued = metrics_seriesf(METRIC_QUEUED_MESSAGES, "lane=\"%s\"", name);
	lane->stat_resent = metrics_series(METRIC_RESENT_MESSAGES, NULL);
}

struct lane *lane_open(uv_loop_t *loop, const struct lane_config *config)
{
	struct lane *lane = xcalloc(1, sizeof(*lane));
	struct db_config db_config = {
		.conninfo = config->conninfo,
		.name = lane->name,
		.application_name = "interlockd",
		.settings = lane->settings,
		.ops = &db_ops,
		.arg = lane,
	};

	lane->config = *config;
	TAILQ_INIT(&lane->queue);
	if (config->kind == LANE_WRITE)
		snprintf(lane->name, sizeof(lane->name), "write%d", config->index);
	else
		snprintf(lane->name, sizeof(lane->name), "%s", lane_names[config->kind]);
	make_settings(lane);
	make_series(lane);
	db_config.stmts = stmt_all(&db_config.nstmts);
	lane->pipeline.kind = config->kind;
	lane->pipeline.most = config->kind == LANE_SLOW ? 1 : PIPELINE_ITEMS;
	lane->db = lane->pipeline.db = db_open(loop, &db_config);
	return lane;
}

void lane_check_timeouts(struct lane *lane)
{
	if (lane->pipeline.nitems > 0 && db_is_up(lane->db) &&
		lane->sent_at < mono_ms() - lane->config.queue_timeout)
		db_reset(lane->db, "no answer from the database");
	give_up_old(lane);
	lane_send(lane);
}

int64_t lane_up_since(const struct lane *lane)
{
	return db_up_since(lane->db);
}

size_t lane_buffered(const struct lane *lane)
{
	return pipeline_buffered(&lane->pipeline);
}

static bool any_resent(const struct batch_queue *queue)
{
	const struct batch_item *item;

	TAILQ_FOREACH (item, queue, entry)
		if (item->resent)
			return true;
	return false;
}

bool lane_is_resending(const struct lane *lane)
{
	if (any_resent(&lane->queue))
		return true;
	for (int g = 0; g < lane->pipeline.ngroups; g++)
		if (any_resent(&lane->pipeline.groups[g].items))
			return true;
	return false;
}

void lane_stop(struct lane *lane)
{
	lane->stopped = true;
	if (lane->pipeline.nitems > 0 && lane->config.kind == LANE_BODY)
		db_reset(lane->db, "shutting down");
}

void lane_close(struct lane *lane, void (*on_closed)(void *arg), void *arg)
{
	db_close(lane->db, on_closed, arg);
}

void lane_free(struct lane *lane)
{
	free(lane);
}

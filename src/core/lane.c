/*
 * One connection: what became of its batch. Invariants: an item is either queued or in flight and
 * is done exactly once; the queue is also the log of what must be sent again when the database
 * comes back, in order.
 */
#include "batch_private.h"

#include <stdlib.h>

static const char *const lane_names[LANES] = { "write", "read", "claim", "body" };

/* What a failed batch of one means, by SQLSTATE (PostgreSQL's appendix A). */
enum remedy { AGAIN, LATER, WAIT, ANSWER };

static const struct {
	const char *prefix;
	enum remedy remedy;
} failure_actions[] = {
	{ "40", AGAIN },    /* deadlock, serialization */
	{ "23503", AGAIN }, /* a reference vanished meanwhile: the statement sees it now */
	{ "25006", WAIT },  /* read-only: a standby */
	{ "53", WAIT },     /* out of disk, memory, connections */
	{ "55P03", LATER }, /* a lock was not had in time */
	{ "57014", LATER }, /* cancelled: it took too long */
	{ "57", WAIT },     /* shutdown, crash of another backend */
	{ "58", WAIT },     /* input or output error */
	{ "08", WAIT },
};

static enum remedy failure_action_of(const char *sqlstate)
{
	for (size_t i = 0; i < countof(failure_actions); i++)
		if (strncmp(sqlstate, failure_actions[i].prefix,
			    strlen(failure_actions[i].prefix)) == 0)
			return failure_actions[i].remedy;
	return ANSWER;
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
			lane->name, item->stmt->name, item->bytes, (intmax_t)batch_hold(lane));
	finish(item, item->timed_out ? BATCH_FAILED : BATCH_UNAVAILABLE, NULL);
}

void batch_give_up_old(struct lane *lane)
{
	int64_t limit = mono_ms() - lane->batch->config.patience;
	struct batch_item *item, *next;

	for (item = TAILQ_FIRST(&lane->queue); item != NULL; item = next) {
		next = TAILQ_NEXT(item, entry);
		if (item->since < limit && !item->waits)
			give_up(lane, item);
	}
}

int64_t batch_hold(const struct lane *lane)
{
	int64_t patience = lane->batch->config.patience, part = patience / BATCH_HOLD_PART;

	if (lane->kind != LANE_WRITE)
		return patience;
	return part > BATCH_HOLD_MIN ? part : BATCH_HOLD_MIN;
}

void lane_send_next(struct lane *lane)
{
	if (lane->nitems == 0 && db_is_up(lane->db) && !TAILQ_EMPTY(&lane->queue) &&
		!lane->batch->closing)
		batch_send(lane);
}

/* Puts what was in flight back to the head of the queue. A run has one message in a batch at most,
 * so the order of its messages is kept. */
static void return_to_queue(struct lane *lane)
{
	int n = lane->nitems;

	for (int g = lane->ngroups - 1; g >= 0; g--) {
		struct batch_group *group = &lane->groups[g];

		PQclear(group->res);
		group->res = NULL;
		TAILQ_CONCAT(&group->items, &lane->queue, entry);
		TAILQ_CONCAT(&lane->queue, &group->items, entry);
	}
	lane->nitems = lane->ngroups = 0;
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
	int ngroups = lane->ngroups;

	for (int g = 0; g < ngroups; g++) {
		struct batch_group *group = &lane->groups[g];
		int row = 0, rows = PQntuples(group->res), ord = 0;

		for (struct batch_item *item; (item = TAILQ_FIRST(&group->items)) != NULL;) {
			struct batch_result r = {
				.status = BATCH_DONE, .res = group->res, .first = row
			};

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
	lane->nitems = lane->ngroups = 0;
}

/* The lane is for others at first, and each time for longer. What comes after it of its run waits
 * with it. */
static void put_off(struct lane *lane, struct batch_item *item)
{
	int64_t wait = batch_hold(lane) << (item->timed_out ? item->tries : 0);

	log_info("%s: statement %s of %zu bytes did not end within %jd ms: again in %jd ms",
		lane->name, item->stmt->name, item->bytes, (intmax_t)batch_hold(lane),
		(intmax_t)wait);
	item->timed_out = true;
	item->tries++;
	item->due = mono_ms() + wait;
	return_to_queue(lane);
}

/* A batch of one was refused. */
static void handle_single_failure(struct lane *lane)
{
	struct batch_item *item = TAILQ_FIRST(&lane->groups[0].items);
	const struct batch_error *e = &lane->error;
	enum remedy remedy = failure_action_of(e->state);

	if (remedy == AGAIN && item->tries++ < BATCH_RETRIES) {
		return_to_queue(lane);
		return;
	}
	if (remedy == LATER && lane->kind != LANE_CLAIM) {
		put_off(lane, item);
		return;
	}
	log_warnx("%s: statement %s: SQLSTATE %s: %s", lane->name, item->stmt->name, e->state,
		e->message);
	if (remedy == WAIT && lane->kind != LANE_CLAIM) {
		return_to_queue(lane);
		db_reset(lane->db, e->message);
		return;
	}
	PQclear(lane->groups[0].res);
	lane->nitems = lane->ngroups = 0;
	if (strncmp(e->state, "23", 2) == 0)
		finish(item, BATCH_CONSTRAINT, e->constraint);
	else
		finish(item, BATCH_FAILED, NULL);
}

/* Nothing of the batch was done. Its messages go again one by one, so that only the failing message
 * fails.
 */
static void on_failed(struct lane *lane)
{
	struct batch_item *item;

	metrics_add(lane->stat_failed, 1);
	if (lane->nitems == 1) {
		handle_single_failure(lane);
		return;
	}
	metrics_add(lane->stat_one_by_one, lane->nitems);
	for (int g = 0; g < lane->ngroups; g++)
		TAILQ_FOREACH (item, &lane->groups[g].items, entry)
			item->alone = true;
	return_to_queue(lane);
}

static void on_result(struct db *db, void *arg, PGresult *res)
{
	struct lane *lane = arg;
	int g = lane->answered++ - lane->first_group;
	ExecStatusType status = PQresultStatus(res);

	(void)db;
	if (status == PGRES_FATAL_ERROR && !lane->error.set) {
		const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
		const char *name = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
		const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

		lane->error.set = true;
		snprintf(lane->error.state, sizeof(lane->error.state), "%s",
			state ? state : "58000");
		snprintf(lane->error.constraint, sizeof(lane->error.constraint), "%s",
			name ? name : "");
		snprintf(lane->error.message, sizeof(lane->error.message), "%s",
			message ? message : "");
	}
	if (g >= 0 && g < lane->ngroups)
		lane->groups[g].res = res;
	else
		PQclear(res);
}

static void on_synced(struct db *db, void *arg)
{
	struct lane *lane = arg;

	(void)db;
	metrics_observe(lane->stat_seconds, (double)(mono_ms() - lane->sent_at) / 1000);
	metrics_set(lane->stat_committing, 0);
	if (lane->error.set) {
		on_failed(lane);
	} else {
		metrics_add(lane->stat_committed, 1);
		deliver(lane);
	}
	lane_send_next(lane);
}

static void on_up(struct db *db, void *arg)
{
	struct lane *lane = arg;

	(void)db;
	lane->plan_lifetime = lane->plan_messages_left = BATCH_PLANS_MIN;
	batch_notify_state(lane->batch, "");
	lane_send_next(lane);
}

static void on_down(struct db *db, void *arg, const char *why)
{
	struct lane *lane = arg;
	struct batch_item *item;

	(void)db;
	batch_notify_state(lane->batch, why);
	if (lane->nitems == 0)
		return;
	metrics_add(lane->batch->stat_resent, lane->nitems);
	metrics_set(lane->stat_committing, 0);
	/* Whose fault it was is found out if it happens again: then they are sent alone. */
	for (int g = 0; g < lane->ngroups; g++) {
		TAILQ_FOREACH (item, &lane->groups[g].items, entry) {
			item->resent = true;
			item->timed_out = false;
			item->alone = item->tries++ > 0;
		}
	}
	/* A claim is not sent again: its worker asks by itself. */
	if (lane->kind == LANE_CLAIM) {
		lane_fail_all(lane);
		return;
	}
	return_to_queue(lane);
	batch_give_up_old(lane);
	item = TAILQ_FIRST(&lane->queue);
	if (item != NULL && item->alone && item->tries > BATCH_RETRIES) {
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

void lane_open(struct batch *b, uv_loop_t *loop, int index, enum lane_kind kind)
{
	struct lane *lane = &b->lanes[index];
	struct db_config config = {
		.conninfo = b->config.conninfo,
		.name = lane->name,
		.application_name = "interlockd",
		.settings = lane->settings,
		.ops = &db_ops,
		.arg = lane,
	};
	size_t nsettings;

	lane->batch = b;
	lane->kind = kind;
	TAILQ_INIT(&lane->queue);
	snprintf(lane->timeout, sizeof(lane->timeout), "%jd", (intmax_t)batch_hold(lane));
	nsettings = batch_settings_of(b->config.coordinator, lane->settings);
	lane->settings[nsettings++] = "statement_timeout";
	lane->settings[nsettings++] = lane->timeout;
	if (kind == LANE_WRITE)
		snprintf(lane->name, sizeof(lane->name), "write%d", index);
	else
		snprintf(lane->name, sizeof(lane->name), "%s", lane_names[kind]);
	lane->stat_committed =
		metrics_seriesf(METRIC_BATCHES, "lane=\"%s\",result=\"committed\"", lane->name);
	lane->stat_failed =
		metrics_seriesf(METRIC_BATCHES, "lane=\"%s\",result=\"failed\"", lane->name);
	lane->stat_one_by_one =
		metrics_seriesf(METRIC_BATCHES, "lane=\"%s\",result=\"one_by_one\"", lane->name);
	lane->stat_items = metrics_seriesf(METRIC_BATCH_ITEMS, "lane=\"%s\"", lane->name);
	lane->stat_seconds = metrics_seriesf(METRIC_BATCH_SECONDS, "lane=\"%s\"", lane->name);
	lane->stat_wait = metrics_seriesf(METRIC_BATCH_WAIT_SECONDS, "lane=\"%s\"", lane->name);
	lane->stat_committing =
		metrics_seriesf(METRIC_COMMITTING_MESSAGES, "lane=\"%s\"", lane->name);
	lane->stat_queued = metrics_seriesf(METRIC_QUEUED_MESSAGES, "lane=\"%s\"", lane->name);
	config.stmts = stmt_all(&config.nstmts);
	lane->db = db_open(loop, &config);
}

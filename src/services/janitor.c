/*
 * The janitor. A sweep is a walk through the states below: find the runs that are overdue (without
 * locks), then take them in small transactions, each behind the locks of their work orders; work
 * orders that are locked by others are skipped until the next sweep. Once a minute it also cleans
 * up: steps that were left open, and inputs to be wiped, which are locked and wiped likewise.
 * Invariant: no run is taken by a clock that ran while its worker could not reach us, so there is a
 * grace period (GRACE_MS for deadlines, one lease for leases, the join timeout, at least
 * RECONNECT_MS, for claims that were not joined) after a start, an outage of the database, a step
 * of its clock, or a change of the lease.
 */
#include "services/janitor.h"
#include "sql_columns.h"

#include "db/db.h"
#include "lib/metrics.h"

#include <stdlib.h>

enum {
	GRACE_MS = 30 * 1000,          /* interlockd(8), Why runs are lost */
	RECONNECT_MS = 10 * 1000,      /* for a worker to reconnect, and to join what it claimed */
	FIND = 8192,                   /* runs found by one query */
	TAKE = 128,                    /* runs taken in one transaction */
	CLEANUP_MS = 60 * 1000,        /* between two clean-ups */
	QUERIES = 4,                   /* of one state, at most */
	RESULT_TIMEOUT_MS = 60 * 1000, /* for the results of one state's queries */
};

/* What the janitor waits for: the end of that state's queries, which one sync ends. */
enum state {
	IDLE,
	FINDING,        /* the database's clock, and what is overdue by it */
	LOCKING,        /* begin; the work orders of the next slice of what was found */
	TAKING,         /* take those runs that are locked; settle; commit */
	CLEANING_UP,    /* left-over steps, and which inputs are to be wiped */
	LOCKING_INPUTS, /* as LOCKING and TAKING, of inputs */
	WIPING,
	STATES
};

/* A run that was found, overdue or with an input to wipe. */
struct found {
	struct uuid project_id, work_order_id, run_id;
	bool locked; /* its work order is, until the next commit */
};

struct number {
	char text[24];
};

/* By what a run is overdue: as sql/fragments/overdue.sql names it. */
enum clock { CLOCK_JOIN, CLOCK_LEASE, CLOCK_DEADLINE, CLOCKS };
static const char *const clock_names[CLOCKS] = { "join", "lease", "deadline" };

struct janitor {
	const struct context *context;
	struct db *db;
	const char *settings[BATCH_SETTINGS + 4];
	void (*on_closed)(void *arg);
	void *closed_arg;

	/* The queries of this state, in the order of their results: who reads each. */
	enum state state;
	void (*readers[QUERIES])(struct janitor *j, const PGresult *res);
	int nqueries, nresults;
	bool failed;
	int64_t synced_at; /* mono_ms() */

	/* What was found; the slice [start, end) of it is being taken. */
	struct found found[FIND];
	int nfound, start, end, taken;
	char clocks[32]; /* by which this sweep takes runs, each with a space behind it */

	int64_t lease;      /* as of the last sweep */
	int64_t grace_from; /* mono_ms() */
	int64_t cleanup_at; /* mono_ms() */

	/* The database's clock, microseconds, and the step forward that it made last. */
	int64_t clock, clock_stepped_at, clock_step;
	int64_t clock_read_at, last_clock_read_at; /* mono_ms(), when its reading was sent */
};

/* ---- queries ---- */

/* reader: of the result; NULL if there is nothing to read in it. */
static void query(struct janitor *j, const char *stmt, const struct db_param *params, int n,
	void (*reader)(struct janitor *j, const PGresult *res))
{
	if (j->nqueries == QUERIES)
		fatalx("janitor: more than %d queries in state %d", QUERIES, j->state);
	j->readers[j->nqueries++] = reader;
	db_query(j->db, stmt, params, n);
}

static struct db_param number(struct number *n, int64_t value)
{
	snprintf(n->text, sizeof(n->text), "%lld", (long long)value);
	return (struct db_param){ n->text, (int)strlen(n->text), false };
}

static struct db_param text(const char *s)
{
	return (struct db_param){ s, (int)strlen(s), false };
}

/* The ids of the slice (only those that are locked, if so wanted) as an array; each at `offset` in
 * a struct found. */
static struct db_param ids(const struct janitor *j, struct buf *b, size_t offset, bool only_locked)
{
	struct value v = { 0 };
	int n = 0;

	for (int i = j->start; i < j->end; i++)
		n += !only_locked || j->found[i].locked;
	value_array(b, stmt_get("sweep_lock")->types[0], n);
	for (int i = j->start; i < j->end; i++) {
		if (only_locked && !j->found[i].locked)
			continue;
		value_uuid(&v, (const struct uuid *)((const char *)&j->found[i] + offset));
		value_element(b, &v);
	}
	return (struct db_param){ b->p, (int)b->n, true };
}

/* ---- grace periods ---- */

/* Milliseconds for which workers could reach us: all connections are up, and nothing is being
 * resent. 0 while that is not so. */
static int64_t reachable_ms(const struct janitor *j)
{
	const struct batch *batch = j->context->batch;
	int64_t since = batch_up_since(batch), up_since = db_up_since(j->db);

	if (since == 0 || up_since == 0 || batch_is_resending(batch))
		return 0;
	since = up_since > since ? up_since : since;
	since = j->grace_from > since ? j->grace_from : since;
	return mono_ms() - since;
}

/* Milliseconds; -1: runs are never taken by this clock. */
static int64_t grace_period(const struct janitor *j, enum clock clock)
{
	int64_t join = j->context->conf->join_timeout;

	switch (clock) {
	case CLOCK_JOIN: return join > RECONNECT_MS ? join : RECONNECT_MS;
	case CLOCK_LEASE: return j->lease == 0 ? -1 : j->lease > GRACE_MS ? j->lease : GRACE_MS;
	default: return GRACE_MS;
	}
}

static void choose_clocks(struct janitor *j, int64_t reachable)
{
	size_t n = 0;

	j->clocks[0] = '\0';
	for (enum clock clock = 0; clock < CLOCKS; clock++) {
		int64_t grace = grace_period(j, clock);
		bool active = grace >= 0 && reachable >= grace;

		if (active)
			n += (size_t)snprintf(
				j->clocks + n, sizeof(j->clocks) - n, "%s ", clock_names[clock]);
		metrics_set(
			metrics_seriesf(METRIC_JANITOR_ACTIVE, "clock=\"%s\"", clock_names[clock]),
			active);
	}
}

/* Two readings of the database's clock lie at most so far apart as the time from the sending of the
 * first to the arrival of the second. */
static void read_clock(struct janitor *j, const PGresult *res)
{
	int64_t clock = atoll(PQgetvalue(res, 0, DB_CLOCK_OUT_NOW_US));
	int64_t most = (mono_ms() - j->last_clock_read_at + j->context->conf->interval) * 1000;
	int64_t excess = clock - j->clock - most;

	if (j->clock != 0 && excess > 0) {
		log_warnx("the database's clock stepped forward by %lld s: leases and deadlines "
			  "wait",
			(long long)((excess + 999999) / 1000000));
		j->grace_from = mono_ms();
		j->clock_step += excess;
		j->clock_stepped_at = clock;
		choose_clocks(j, 0);
	} else if (clock < j->clock) {
		j->clock_step = j->clock_stepped_at = 0;
	}
	j->clock = clock;
	j->last_clock_read_at = j->clock_read_at;
	db_clock_measured(j->context->db_clock, clock, mono_ms() - j->clock_read_at);
}

/* ---- FINDING ---- */

/* By what a run is overdue, as sweep_find and sweep_take take it. */
enum { RULES = 6 };

static void bind_rules(
	const struct janitor *j, struct db_param params[RULES], struct number numbers[RULES])
{
	const struct conf *conf = j->context->conf;

	params[0] = number(&numbers[0], conf->join_timeout);
	params[1] = text(j->clocks);
	params[2] = text(conf_after_claim_name(conf->after_claim));
	params[3] = number(&numbers[3], conf->max_requeues);
	params[4] = number(&numbers[4], j->clock_stepped_at);
	params[5] = number(&numbers[5], j->clock_step);
}

/* The columns of sweep_find. */
static void read_found(struct janitor *j, const PGresult *res)
{
	for (int i = 0; i < PQntuples(res) && i < FIND; i++) {
		struct found *f = &j->found[j->nfound++];

		if (!uuid_parse(slice_of(PQgetvalue(res, i, SWEEP_FIND_OUT_PROJECT_ID)),
			    &f->project_id) ||
			!uuid_parse(slice_of(PQgetvalue(res, i, SWEEP_FIND_OUT_WORK_ORDER_ID)),
				&f->work_order_id) ||
			!uuid_parse(slice_of(PQgetvalue(res, i, SWEEP_FIND_OUT_ID)), &f->run_id))
			fatalx("sweep_find: a row without ids");
		f->locked = false;
	}
}

static void read_overdue(struct janitor *j, const PGresult *res)
{
	if (j->clocks[0] != '\0') /* else the database's clock has stepped meanwhile */
		read_found(j, res);
}

static void find_overdue(struct janitor *j)
{
	struct number ahead, most, n[RULES];
	struct db_param params[1 + RULES + 1] = { number(&ahead, 0) };

	bind_rules(j, params + 1, n);
	params[1 + RULES] = number(&most, FIND);
	query(j, "sweep_find", params, countof(params), read_overdue);
}

static void forget_found(struct janitor *j)
{
	j->nfound = j->start = j->end = j->taken = 0;
}

static void send_find(struct janitor *j)
{
	forget_found(j);
	choose_clocks(j, reachable_ms(j));
	j->clock_read_at = mono_ms();
	query(j, "db_clock", NULL, 0, read_clock);
	if (j->clocks[0] != '\0')
		find_overdue(j);
}

/* ---- LOCKING, of runs and of inputs ---- */

static void read_locked(struct janitor *j, const PGresult *res)
{
	for (int row = 0; row < PQntuples(res); row++) {
		struct uuid order;

		if (!uuid_parse(slice_of(PQgetvalue(res, row, SWEEP_LOCK_OUT_ID)), &order))
			fatalx("sweep_lock: a row without an id");
		for (int i = j->start; i < j->end; i++)
			if (uuid_eq(&j->found[i].work_order_id, &order))
				j->found[i].locked = true;
	}
}

static void send_lock(struct janitor *j)
{
	struct buf projects = { 0 }, orders = { 0 };

	j->end = j->start + TAKE < j->nfound ? j->start + TAKE : j->nfound;
	query(j, "begin", NULL, 0, NULL);
	query(j, "sweep_lock",
		(const struct db_param[]){
			ids(j, &projects, offsetof(struct found, project_id), false),
			ids(j, &orders, offsetof(struct found, work_order_id), false) },
		2, read_locked);
	buf_free(&projects);
	buf_free(&orders);
}

/* ---- TAKING and WIPING: behind the locks, since a statement that locks for itself sees a snapshot
 * that is older than they are ---- */

static void report_taken(const PGresult *res, int i)
{
	const char *clock = PQgetvalue(res, i, SWEEP_TAKE_OUT_CLOCK);
	const char *action = PQgetvalue(res, i, SWEEP_TAKE_OUT_ACTION);
	double overdue = atof(PQgetvalue(res, i, SWEEP_TAKE_OUT_OVERDUE));
	double silent = atof(PQgetvalue(res, i, SWEEP_TAKE_OUT_SILENT));

	log_about(LOG_LEVEL_WARN,
		&(struct log_about){ .run = PQgetvalue(res, i, SWEEP_TAKE_OUT_ID),
			.worker = PQgetvalue(res, i, SWEEP_TAKE_OUT_WORKER_NAME),
			.event = action,
			.code = clock },
		"run %s is %s: %s, its %s passed %.1f s ago, worker %s, last active %.1f s ago",
		PQgetvalue(res, i, SWEEP_TAKE_OUT_ID), action,
		PQgetvalue(res, i, SWEEP_TAKE_OUT_STATE), clock, overdue,
		PQgetvalue(res, i, SWEEP_TAKE_OUT_WORKER_NAME), silent);
	if (strcmp(action, "lost") == 0)
		metrics_add(metrics_seriesf(METRIC_LOST_RUNS, "clock=\"%s\"", clock), 1);
	else
		metrics_add(metrics_seriesf(METRIC_RETURNED_RUNS, "reason=\"%s\"", action), 1);
	metrics_observe(
		metrics_seriesf(METRIC_JANITOR_DELAY_SECONDS, "clock=\"%s\"", clock), overdue);
}

static void read_taken(struct janitor *j, const PGresult *res)
{
	int n = PQntuples(res);

	for (int i = 0; i < n; i++)
		report_taken(res, i);
	metrics_observe(metrics_series(METRIC_SWEEP_RUNS, NULL), n);
	j->taken += n;
}

/* What ends the transaction: the states of the work orders, and the commit. */
static void settle_and_commit(struct janitor *j, struct db_param projects)
{
	struct buf orders = { 0 };

	query(j, "settle",
		(const struct db_param[]){
			projects, ids(j, &orders, offsetof(struct found, work_order_id), true) },
		2, NULL);
	query(j, "commit", NULL, 0, NULL);
	buf_free(&orders);
}

static void send_take(struct janitor *j)
{
	struct buf projects = { 0 }, runs = { 0 };
	const struct conf *conf = j->context->conf;
	struct number clock, lease, grace, n[RULES];
	struct db_param params[SWEEP_TAKE_IN_COUNT] = {
		ids(j, &projects, offsetof(struct found, project_id), true),
		ids(j, &runs, offsetof(struct found, run_id), true),
		number(&clock, j->clock),
	};

	bind_rules(j, params + 3, n);
	params[SWEEP_TAKE_IN_LEASE_MS] = number(&lease, conf->lease);
	params[SWEEP_TAKE_IN_GRACE_MS] = number(&grace, conf->grace);
	query(j, "sweep_take", params, countof(params), read_taken);
	settle_and_commit(j, params[0]);
	buf_free(&projects);
	buf_free(&runs);
}

static void send_wipe(struct janitor *j)
{
	struct buf projects = { 0 }, runs = { 0 };
	struct number window;
	const struct db_param params[] = {
		ids(j, &projects, offsetof(struct found, project_id), true),
		ids(j, &runs, offsetof(struct found, run_id), true),
		number(&window, j->context->conf->late_window),
	};

	query(j, "sweep_wipe_inputs", params, countof(params), NULL);
	settle_and_commit(j, params[0]);
	buf_free(&projects);
	buf_free(&runs);
}

/* ---- CLEANING_UP ---- */

static void read_closed_steps(struct janitor *j, const PGresult *res)
{
	(void)j;
	if (PQntuples(res) > 0)
		log_warnx("%d open steps of finished runs were closed", PQntuples(res));
}

static void send_clean_up(struct janitor *j)
{
	const struct conf *conf = j->context->conf;
	struct number n, most;

	j->cleanup_at = mono_ms() + CLEANUP_MS;
	forget_found(j);
	query(j, "allow_bitmaps", NULL, 0, NULL);
	query(j, "sweep_close_steps", (const struct db_param[]){ number(&n, conf->grace) }, 1,
		read_closed_steps);
	query(j, "sweep_wipes_find",
		(const struct db_param[]){ number(&n, conf->late_window), number(&most, FIND) }, 2,
		read_found);
}

/* ---- the states ---- */

/* Is there something left to lock, and may it be taken? */
static bool more_to_lock(const struct janitor *j)
{
	return j->end < j->nfound && reachable_ms(j) > 0;
}

/* If as many as possible were found, there may be more. */
static enum state next_run(const struct janitor *j)
{
	if (more_to_lock(j))
		return LOCKING;
	if (j->nfound == FIND && j->taken > 0)
		return FINDING;
	return j->cleanup_at <= mono_ms() ? CLEANING_UP : IDLE;
}

static enum state next_input(const struct janitor *j)
{
	return more_to_lock(j) ? LOCKING_INPUTS : IDLE;
}

static enum state next_taking(const struct janitor *j)
{
	(void)j;
	return TAKING;
}

static enum state next_wiping(const struct janitor *j)
{
	(void)j;
	return WIPING;
}

/* What each state sends, and which one follows once all its results are there. */
static const struct {
	void (*send)(struct janitor *j);
	enum state (*next)(const struct janitor *j);
} states[STATES] = {
	[FINDING] = { send_find, next_run },
	[LOCKING] = { send_lock, next_taking },
	[TAKING] = { send_take, next_run },
	[CLEANING_UP] = { send_clean_up, next_input },
	[LOCKING_INPUTS] = { send_lock, next_wiping },
	[WIPING] = { send_wipe, next_input },
};

/* The only place that changes the state. */
static void enter(struct janitor *j, enum state state)
{
	j->state = state;
	j->nqueries = j->nresults = 0;
	j->failed = false;
	if (state == IDLE)
		return;
	if (state == LOCKING || state == LOCKING_INPUTS)
		j->start = j->end; /* the next slice */
	states[state].send(j);
	j->synced_at = mono_ms();
	db_sync(j->db);
}

void janitor_sweep(void *arg)
{
	struct janitor *j = arg;

	if (j->lease != j->context->conf->lease) {
		/* The runs carry the old lease until they are renewed. */
		j->lease = j->context->conf->lease;
		j->grace_from = mono_ms();
	}
	if (!db_is_up(j->db))
		return;
	if (j->state == IDLE)
		enter(j, FINDING);
	else if (mono_ms() - j->synced_at > RESULT_TIMEOUT_MS)
		db_reset(j->db, "no answer from the database");
}

int64_t janitor_interval(void *arg)
{
	const struct janitor *j = arg;

	return j->context->conf->interval;
}

/* ---- its connection ---- */

static void on_up(struct db *db, void *arg)
{
	(void)db;
	enter(arg, IDLE);
}

static void on_result(struct db *db, void *arg, PGresult *res)
{
	struct janitor *j = arg;
	void (*reader)(struct janitor *, const PGresult *);

	(void)db;
	if (j->nresults == j->nqueries)
		fatalx("janitor: a result without a query in state %d", j->state);
	reader = j->readers[j->nresults++];
	if (PQresultStatus(res) == PGRES_FATAL_ERROR) {
		log_warnx("the janitor's sweep: %s",
			PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
		j->failed = true;
	} else if (reader != NULL && !j->failed) {
		reader(j, res);
	}
	PQclear(res);
}

/* After a failure the transaction may be open: the connection's end ends it, and on_up the state.
 */
static void on_synced(struct db *db, void *arg)
{
	struct janitor *j = arg;

	if (j->failed)
		db_reset(db, "the sweep is restarted");
	else
		enter(j, states[j->state].next(j));
}

static const struct db_ops db_ops = {
	.up = on_up,
	.result = on_result,
	.synced = on_synced,
};

/* Beside the settings of all connections: locks of a frozen janitor must not outlive it for long.
 */
static void make_settings(struct janitor *j)
{
	size_t n = batch_settings_of(j->context->coordinator, j->settings);

	j->settings[n++] = "idle_in_transaction_session_timeout";
	j->settings[n++] = "5s";
}

struct janitor *janitor_open(const struct context *context)
{
	struct janitor *j = xcalloc(1, sizeof(*j));
	struct db_config config = {
		.conninfo = context->conf->url,
		.name = "janitor",
		.application_name = "interlockd",
		.settings = j->settings,
		.ops = &db_ops,
		.arg = j,
	};

	j->context = context;
	j->lease = context->conf->lease;
	j->grace_from = mono_ms();
	make_settings(j);
	config.stmts = stmt_all(&config.nstmts);
	j->db = db_open(context->loop, &config);
	return j;
}

static void on_db_closed(void *arg)
{
	struct janitor *j = arg;
	void (*on_closed)(void *arg) = j->on_closed;
	void *closed_arg = j->closed_arg;

	free(j);
	on_closed(closed_arg);
}

void janitor_close(struct janitor *j, void (*on_closed)(void *arg), void *arg)
{
	j->on_closed = on_closed;
	j->closed_arg = arg;
	db_close(j->db, on_db_closed, j);
}

/*
 * The janitor. A sweep asks which runs are overdue (no locks), then takes them in small
 * transactions, each behind the locks of their work orders; work orders that are locked by others
 * are left for the next sweep. Inputs that are to be wiped go the same way, once a minute.
 * Invariant: no run is judged by a clock that ran while its worker could not be heard, so deadlines
 * wait for GRACE_MS, leases for one lease and claims that were not joined for the join timeout (and
 * at least RECONNECT_MS) after the database was away, the daemon began, the database's clock
 * stepped or the lease was changed.
 */
#include "services/janitor.h"
#include "sql_columns.h"

#include <stdlib.h>

enum {
	GRACE_MS = 30 * 1000,   /* semantics.md, section 7 */
	RECONNECT_MS = 10000,   /* for a worker to come back, and to join what it has claimed */
	FIND = 8192,            /* runs looked up at once */
	TAKE = 128,             /* runs taken in one transaction */
	CLEANUP_MS = 60 * 1000, /* between looks for what is left over */
	ASKED = 5,              /* statements between two syncs, at most */
	RESULT_TIMEOUT_MS = 60 * 1000, /* for what was asked between two syncs */
};

/* A run that was found overdue. */
struct found {
	struct uuid project_id, work_order_id, run_id;
	bool locked; /* its work order is ours until the next commit */
};

struct number {
	char text[24];
};

/* By what a run is overdue: as sql/fragments/overdue.sql names it. */
enum clock { CLOCK_JOIN, CLOCK_LEASE, CLOCK_DEADLINE, CLOCKS };
static const char *const clock_names[CLOCKS] = { "join", "lease", "deadline" };

static struct {
	struct server *server;
	struct db *db;
	const char *settings[BATCH_SETTINGS + 4];

	/* What was asked since the last sync: who looks at each result, and what comes after. */
	void (*got[ASKED])(const PGresult *res);
	int asked, answered;
	bool failed, busy;
	int64_t synced_at; /* mono_ms(), when the last sync was sent */
	void (*then)(void);

	struct found found[FIND];
	int nfound, next, end, taken;
	bool wiping;     /* what was found are inputs to wipe, not runs to take */
	char clocks[32]; /* by which this sweep judges, each with a space behind it */

	int64_t lease;                         /* as of the last sweep */
	int64_t grace_since;                   /* mono_ms() */
	int64_t cleanup_at;                    /* mono_ms() */
	int64_t sent_at, last_sent_at;         /* mono_ms(), when the clock was asked */
	int64_t clock, clock_stepped_at, jump; /* microseconds; the database's clock */
} j;

/* ---- asking ---- */

static void ask(
	const char *stmt, const struct db_param *params, int n, void (*got)(const PGresult *res))
{
	j.got[j.asked++] = got;
	db_query(j.db, stmt, params, n);
}

static void sync_and_continue(void (*then)(void))
{
	j.then = then;
	j.busy = true;
	j.synced_at = mono_ms();
	db_sync(j.db);
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

/* The ids of those that are to be taken now (all of the slice, or those that are locked), as an
 * array; each at `offset` in a struct found. */
static struct db_param ids(struct buf *b, size_t offset, bool locked)
{
	struct value v = { 0 };
	int n = 0;

	for (int i = j.next; i < j.end; i++)
		n += !locked || j.found[i].locked;
	value_array(b, stmt_get("sweep_lock")->types[0], n);
	for (int i = j.next; i < j.end; i++) {
		if (locked && !j.found[i].locked)
			continue;
		value_uuid(&v, (const struct uuid *)((const char *)&j.found[i] + offset));
		value_element(b, &v);
	}
	return (struct db_param){ b->p, (int)b->n, true };
}

/* ---- grace periods after a start or an outage ---- */

/* Milliseconds since all connections are up and nothing is resent; 0 while that is not so. */
static int64_t calm(void)
{
	int64_t since = batch_up_since(j.server->batch), route_data = db_up_since(j.db);

	if (since == 0 || route_data == 0 || batch_is_resending(j.server->batch))
		return 0;
	since = route_data > since ? route_data : since;
	since = j.grace_since > since ? j.grace_since : since;
	return mono_ms() - since;
}

/* How long it must be calm before runs are judged by this clock; -1: they never are. */
static int64_t calm_for(enum clock clock)
{
	int64_t join = j.server->conf->join_timeout;

	switch (clock) {
	case CLOCK_JOIN: return join > RECONNECT_MS ? join : RECONNECT_MS;
	case CLOCK_LEASE: return j.lease == 0 ? -1 : j.lease > GRACE_MS ? j.lease : GRACE_MS;
	default: return GRACE_MS;
	}
}

static void choose_clocks(int64_t calm)
{
	size_t n = 0;

	j.clocks[0] = '\0';
	for (enum clock clock = 0; clock < CLOCKS; clock++) {
		int64_t wait = calm_for(clock);
		bool judges = wait >= 0 && calm >= wait;

		if (judges)
			n += (size_t)snprintf(
				j.clocks + n, sizeof(j.clocks) - n, "%s ", clock_names[clock]);
		metrics_set(
			metrics_seriesf(METRIC_JANITOR_ACTIVE, "clock=\"%s\"", clock_names[clock]),
			judges);
	}
}

/* By what a run is judged, as sweep_find and sweep_take take it. */
enum { RULES = 6 };

static void bind_rules(struct db_param params[RULES], struct number numbers[RULES])
{
	const struct conf *conf = j.server->conf;

	params[0] = number(&numbers[0], conf->join_timeout);
	params[1] = text(j.clocks);
	params[2] = text(conf_after_claim_name(conf->after_claim));
	params[3] = number(&numbers[3], conf->max_requeues);
	params[4] = number(&numbers[4], j.clock_stepped_at);
	params[5] = number(&numbers[5], j.jump);
}

/* Two readings of the database's clock lie at most so far apart as the time from the sending of the
 * first to the arrival of the second. */
static void on_clock(const PGresult *res)
{
	int64_t clock = atoll(PQgetvalue(res, 0, DB_CLOCK_OUT_NOW_US));
	int64_t most = (mono_ms() - j.last_sent_at + j.server->conf->interval) * 1000;
	int64_t excess = clock - j.clock - most;

	if (j.clock != 0 && excess > 0) {
		log_warnx("the database's clock stepped forward by %lld s: leases and deadlines "
			  "wait",
			(long long)((excess + 999999) / 1000000));
		j.grace_since = mono_ms();
		j.jump += excess;
		j.clock_stepped_at = clock;
		choose_clocks(0);
	} else if (clock < j.clock) {
		j.jump = j.clock_stepped_at = 0;
	}
	j.clock = clock;
	j.last_sent_at = j.sent_at;
	j.server->db_clock_offset = clock - (now_us() - (mono_ms() - j.sent_at) * 1000 / 2);
	metrics_set(metrics_series(METRIC_DB_CLOCK_OFFSET, NULL),
		(double)j.server->db_clock_offset / 1e6);
}

/* ---- taking ---- */

static void sweep(void);
static void clean_up(void);
static void take_next(void);

/* The columns of sweep_find. */
static void on_found(const PGresult *res)
{
	j.nfound = 0;
	if (j.clocks[0] == '\0' && !j.wiping) /* the database's clock stepped meanwhile */
		return;
	for (int i = 0; i < PQntuples(res) && i < FIND; i++) {
		struct found *f = &j.found[j.nfound++];

		if (!uuid_parse(slice_of(PQgetvalue(res, i, SWEEP_FIND_OUT_PROJECT_ID)),
			    &f->project_id) ||
			!uuid_parse(slice_of(PQgetvalue(res, i, SWEEP_FIND_OUT_WORK_ORDER_ID)),
				&f->work_order_id) ||
			!uuid_parse(slice_of(PQgetvalue(res, i, SWEEP_FIND_OUT_ID)), &f->run_id))
			fatalx("sweep_find: the database answered no ids");
		f->locked = false;
	}
}

static void on_locked(const PGresult *res)
{
	for (int row = 0; row < PQntuples(res); row++) {
		struct uuid order;

		if (!uuid_parse(slice_of(PQgetvalue(res, row, SWEEP_LOCK_OUT_ID)), &order))
			fatalx("sweep_lock: the database answered no id");
		for (int i = j.next; i < j.end; i++)
			if (uuid_eq(&j.found[i].work_order_id, &order))
				j.found[i].locked = true;
	}
}

static void on_taken(const PGresult *res)
{
	int n = PQntuples(res);

	for (int i = 0; i < n; i++) {
		const char *clock = PQgetvalue(res, i, SWEEP_TAKE_OUT_CLOCK);
		const char *fate = PQgetvalue(res, i, SWEEP_TAKE_OUT_ACTION);
		double overdue = atof(PQgetvalue(res, i, SWEEP_TAKE_OUT_OVERDUE));

		log_about(LOG_LEVEL_WARN,
			&(struct log_about){ .run = PQgetvalue(res, i, SWEEP_TAKE_OUT_ID),
				.worker = PQgetvalue(res, i, SWEEP_TAKE_OUT_WORKER_NAME),
				.event = fate,
				.code = clock },
			"run %s is %s: %s, its %s passed %.1f s ago, worker %s",
			PQgetvalue(res, i, SWEEP_TAKE_OUT_ID), fate,
			PQgetvalue(res, i, SWEEP_TAKE_OUT_STATE), clock, overdue,
			PQgetvalue(res, i, SWEEP_TAKE_OUT_WORKER_NAME));
		if (strcmp(fate, "lost") == 0)
			metrics_add(metrics_seriesf(METRIC_LOST_RUNS, "clock=\"%s\"", clock), 1);
		else
			metrics_add(
				metrics_seriesf(METRIC_RETURNED_RUNS, "reason=\"%s\"", fate), 1);
		metrics_observe(
			metrics_seriesf(METRIC_JANITOR_DELAY_SECONDS, "clock=\"%s\"", clock),
			overdue);
	}
	metrics_observe(metrics_series(METRIC_SWEEP_TAKEN_RUNS, NULL), n);
	j.taken += n;
}

static void slice_done(void)
{
	j.next = j.end;
	take_next();
}

/* Behind the locks: a statement that locked for itself would see a snapshot older than they are. */
static void take_locked(void)
{
	struct buf projects = { 0 }, orders = { 0 }, runs = { 0 };
	struct number third, n[RULES];
	struct db_param params[3 + RULES] = {
		ids(&projects, offsetof(struct found, project_id), true),
		ids(&runs, offsetof(struct found, run_id), true),
		number(&third, j.wiping ? j.server->conf->late_window : j.clock),
	};

	bind_rules(params + 3, n);
	if (j.wiping)
		ask("sweep_wipe_inputs", params, 3, NULL);
	else
		ask("sweep_take", params, countof(params), on_taken);
	params[1] = ids(&orders, offsetof(struct found, work_order_id), true);
	ask("settle", params, 2, NULL);
	ask("commit", NULL, 0, NULL);
	sync_and_continue(slice_done);
	buf_free(&projects);
	buf_free(&orders);
	buf_free(&runs);
}

/* All that was found is taken: another look if there may be more, and what is left over. */
static void found_none(void)
{
	if (!j.wiping && j.nfound == FIND && j.taken > 0)
		sweep();
	else if (j.cleanup_at <= mono_ms())
		clean_up();
}

/* The next few of what was found. */
static void take_next(void)
{
	struct buf projects = { 0 }, orders = { 0 };

	if (j.next == j.nfound || calm() == 0) {
		found_none();
		return;
	}
	j.end = j.next + TAKE < j.nfound ? j.next + TAKE : j.nfound;
	ask("begin", NULL, 0, NULL);
	ask("sweep_lock",
		(const struct db_param[]){
			ids(&projects, offsetof(struct found, project_id), false),
			ids(&orders, offsetof(struct found, work_order_id), false) },
		2, on_locked);
	sync_and_continue(take_locked);
	buf_free(&projects);
	buf_free(&orders);
}

/* ---- what is left over ---- */

static void on_closed_steps(const PGresult *res)
{
	if (PQntuples(res) > 0)
		log_warnx("%d open steps of finished runs were closed", PQntuples(res));
}

static void clean_up(void)
{
	const struct conf *conf = j.server->conf;
	struct number n, most;

	j.cleanup_at = mono_ms() + CLEANUP_MS;
	j.wiping = true;
	j.nfound = j.next = j.end = 0;
	ask("allow_bitmaps", NULL, 0, NULL);
	ask("sweep_close_steps", (const struct db_param[]){ number(&n, conf->grace) }, 1,
		on_closed_steps);
	ask("sweep_wipes_find",
		(const struct db_param[]){ number(&n, conf->late_window), number(&most, FIND) }, 2,
		on_found);
	sync_and_continue(take_next);
}

/* ---- the sweep ---- */

static void find(void)
{
	struct number ahead, most, n[RULES];
	struct db_param params[1 + RULES + 1] = { number(&ahead, 0) };

	bind_rules(params + 1, n);
	params[1 + RULES] = number(&most, FIND);
	ask("sweep_find", params, countof(params), on_found);
}

static void sweep(void)
{
	j.nfound = j.next = j.end = j.taken = 0;
	j.wiping = false;
	choose_clocks(calm());
	j.sent_at = mono_ms();
	ask("db_clock", NULL, 0, on_clock);
	if (j.clocks[0] != '\0')
		find();
	sync_and_continue(take_next);
}

void janitor_sweep(void)
{
	if (j.lease != j.server->conf->lease) {
		/* The runs carry the old lease until they are renewed. */
		j.lease = j.server->conf->lease;
		j.grace_since = mono_ms();
	}
	if (db_is_up(j.db) && !j.busy)
		sweep();
	else if (db_is_up(j.db) && mono_ms() - j.synced_at > RESULT_TIMEOUT_MS)
		db_reset(j.db, "no answer from the database");
}

int64_t janitor_interval(void)
{
	return j.server->conf->interval;
}

/* ---- its connection ---- */

static void on_up(struct db *db, void *arg)
{
	(void)db;
	(void)arg;
	j.asked = j.answered = 0;
	j.failed = j.busy = false;
}

static void on_down(struct db *db, void *arg, const char *why)
{
	(void)db;
	(void)arg;
	(void)why;
}

static void on_result(struct db *db, void *arg, PGresult *res)
{
	void (*got)(const PGresult *) = j.got[j.answered++];

	(void)db;
	(void)arg;
	if (PQresultStatus(res) == PGRES_FATAL_ERROR) {
		log_warnx("the janitor's sweep: %s",
			PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
		j.failed = true;
	} else if (got != NULL && !j.failed) {
		got(res);
	}
	PQclear(res);
}

static void on_synced(struct db *db, void *arg)
{
	(void)arg;
	j.asked = j.answered = 0;
	j.busy = false;
	if (j.failed)
		db_reset(db, "the sweep is restarted");
	else
		j.then();
}

static const struct db_ops db_ops = {
	.up = on_up,
	.down = on_down,
	.result = on_result,
	.synced = on_synced,
};

/* Beside the settings of all connections: locks of a frozen janitor must not outlive it for long.
 */
static void make_settings(const char *coordinator)
{
	size_t n = batch_settings_of(coordinator, j.settings);

	j.settings[n++] = "idle_in_transaction_session_timeout";
	j.settings[n++] = "5s";
}

void janitor_open(struct server *server, const char *conninfo, const char *coordinator)
{
	struct db_config config = {
		.conninfo = conninfo,
		.name = "janitor",
		.application_name = "interlockd",
		.settings = j.settings,
		.ops = &db_ops,
	};

	j.server = server;
	j.lease = server->conf->lease;
	j.grace_since = mono_ms();
	make_settings(coordinator);
	config.stmts = stmt_all(&config.nstmts);
	j.db = db_open(server->loop, &config);
}

void janitor_close(void (*on_closed)(void *arg), void *arg)
{
	db_close(j.db, on_closed, arg);
}

/*
 * The pruner. A round asks what is due ([retention]), then removes it a batch at a time: of each
 * project and kind in turn, with a pause between two batches, and last whole partitions of the log
 * and the journal. Invariant: a batch is one transaction of one statement, which waits for no lock
 * of a message (interlock_prune, interlock_drop_partition); whatever ends in the middle of it, the
 * next round finds the same again.
 */
#include "services/pruner.h"
#include "sql_columns.h"

#include "db/db.h"
#include "lib/metrics.h"

#include <stdlib.h>

enum {
	ROUND = 12,                    /* intervals of the janitor from one round to the next */
	BATCH = 100,                   /* work orders of a transaction */
	PAUSE_MS = 20,                 /* between two batches */
	RESULT_TIMEOUT_MS = 60 * 1000, /* for a batch */
};

/* What the pruner waits for; READY: for the pause to be over. */
enum state { IDLE, READY, LOOKING, PRUNING, DROPPING };

/* What may be due; as interlock_prune names it. */
static const struct kind {
	const char *name;
	size_t period; /* in struct retention */
} kinds[] = {
	{ "runs", offsetof(struct retention, runs) },
	{ "dataclips", offsetof(struct retention, dataclips) },
	{ "logs", offsetof(struct retention, logs) },
};

/* What is due, of one project. */
struct due {
	char project[UUID_TEXT];
	char keep[24]; /* milliseconds */
	const struct kind *kind;
};

struct pruner {
	const struct context *context;
	struct db *db;
	const char *settings[BATCH_SETTINGS + 6];
	void (*on_closed)(void *arg);
	void *closed_arg;

	enum state state;
	bool failed;
	int64_t synced_at, round_at; /* mono_ms() */

	/* This round: what is left of it, the one whose turn it is, and how many partitions' tables
	 * are done. */
	struct due *due;
	size_t ndue, turn, tables;
	int64_t orders; /* work orders looked after */
	bool busy;      /* another session prunes */
};

static const char *const partitioned[] = { "log_lines", "transitions" };

/* ---- what is sent ---- */

static struct db_param text(const char *s)
{
	return (struct db_param){ s, (int)strlen(s), false };
}

static void enter(struct pruner *p, enum state state)
{
	p->state = state;
	p->failed = false;
}

static void ask(
	struct pruner *p, enum state state, const char *stmt, const struct db_param *params, int n)
{
	enter(p, state);
	db_query(p->db, stmt, params, n);
	db_sync(p->db);
	p->synced_at = mono_ms();
}

/* A partition goes when nobody keeps its lines any more. Until then the lines of those who keep
 * theirs for less go one by one; of the others none has to. */
static int64_t period_of(
	const struct conf *conf, const struct retention *r, const struct kind *kind)
{
	int64_t keep = *(const int64_t *)((const char *)r + kind->period);

	if (kind->period == offsetof(struct retention, logs) &&
		keep == conf_longest(conf, kind->period))
		return 0;
	return keep;
}

/* Projects that have their own periods, as arrays, and the periods of all others. */
static void send_look(struct pruner *p)
{
	const struct conf *conf = p->context->conf;
	struct buf arrays[1 + countof(kinds)] = { { 0 } };
	char all[countof(kinds)][24], id[UUID_TEXT];
	struct db_param params[countof(arrays) + countof(all)];

	for (size_t i = 0; i < conf->nprojects; i++) {
		const char *before = i == 0 ? "{" : ",";

		buf_addf(&arrays[0], "%s%s", before, uuid_format(&conf->projects[i].id, id));
		for (size_t k = 0; k < countof(kinds); k++)
			buf_addf(&arrays[1 + k], "%s%lld", before,
				(long long)period_of(
					conf, &conf->projects[i].retention, &kinds[k]));
	}
	for (size_t i = 0; i < countof(arrays); i++) {
		buf_adds(&arrays[i], conf->nprojects == 0 ? "{}" : "}");
		params[i] = (struct db_param){ arrays[i].p, (int)arrays[i].n, false };
	}
	for (size_t k = 0; k < countof(kinds); k++) {
		snprintf(all[k], sizeof(all[k]), "%lld",
			(long long)period_of(conf, &conf->retention, &kinds[k]));
		params[countof(arrays) + k] = text(all[k]);
	}
	ask(p, LOOKING, "prune_due", params, countof(params));
	for (size_t i = 0; i < countof(arrays); i++)
		buf_free(&arrays[i]);
}

static void send_prune(struct pruner *p)
{
	const struct due *due;
	char most[12];

	p->turn = p->turn + 1 < p->ndue ? p->turn + 1 : 0;
	due = &p->due[p->turn];
	snprintf(most, sizeof(most), "%d", BATCH);
	ask(p, PRUNING, "prune",
		(const struct db_param[]){
			text(due->project), text(due->kind->name), text(due->keep), text(most) },
		4);
}

static void send_drop(struct pruner *p)
{
	const struct conf *conf = p->context->conf;
	const int64_t keeps[] = { conf_longest(conf, offsetof(struct retention, logs)),
		conf->retention_journal };
	char keep[24];

	while (p->tables < countof(partitioned) && keeps[p->tables] == 0)
		p->tables++;
	if (p->tables == countof(partitioned)) {
		if (p->orders > 0)
			log_info("pruned: %lld work orders were due", (long long)p->orders);
		enter(p, IDLE);
		return;
	}
	snprintf(keep, sizeof(keep), "%lld", (long long)keeps[p->tables]);
	ask(p, DROPPING, "drop_partition",
		(const struct db_param[]){ text(partitioned[p->tables]), text(keep) }, 2);
}

/* ---- what comes back ---- */

static const struct kind *kind_of(const char *name)
{
	for (size_t i = 0; i < countof(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	fatalx("prune_due: a kind %s", name);
}

static void read_due(struct pruner *p, const PGresult *res)
{
	p->ndue = (size_t)PQntuples(res);
	p->due = xrealloc(p->due, (p->ndue + 1) * sizeof(*p->due));
	for (size_t i = 0; i < p->ndue; i++) {
		struct due *due = &p->due[i];
		int row = (int)i;

		snprintf(due->project, sizeof(due->project), "%s",
			PQgetvalue(res, row, PRUNE_DUE_OUT_PROJECT_ID));
		snprintf(due->keep, sizeof(due->keep), "%s",
			PQgetvalue(res, row, PRUNE_DUE_OUT_KEEP_MS));
		due->kind = kind_of(PQgetvalue(res, row, PRUNE_DUE_OUT_WHAT));
	}
}

/* A batch that was not full was the last one of its project and kind. */
static void read_pruned(struct pruner *p, const PGresult *res)
{
	int64_t orders = 0;

	p->busy = PQntuples(res) == 0;
	for (int i = 0; i < PQntuples(res); i++)
		if (strcmp(PQgetvalue(res, i, PRUNE_OUT_NAME), "work_orders") == 0)
			orders = atoll(PQgetvalue(res, i, PRUNE_OUT_N));
	p->orders += orders;
	if (orders < BATCH) {
		p->due[p->turn] = p->due[--p->ndue];
		p->turn = 0;
	}
}

static void read_dropped(struct pruner *p, const PGresult *res)
{
	if (PQgetisnull(res, 0, DROP_PARTITION_OUT_DROPPED))
		p->tables++;
	else
		log_info("dropped %s: it is older than [retention] keeps",
			PQgetvalue(res, 0, DROP_PARTITION_OUT_DROPPED));
}

static void on_result(struct db *db, void *arg, PGresult *res)
{
	struct pruner *p = arg;

	(void)db;
	p->failed = PQresultStatus(res) == PGRES_FATAL_ERROR;
	if (p->failed)
		log_warnx("pruning: %s", PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
	else if (p->state == LOOKING)
		read_due(p, res);
	else if (p->state == PRUNING)
		read_pruned(p, res);
	else if (p->state == DROPPING)
		read_dropped(p, res);
	PQclear(res);
}

/* After a failure, or while another session prunes, the rest has time until the next round. */
static void on_synced(struct db *db, void *arg)
{
	struct pruner *p = arg;

	(void)db;
	enter(p, p->failed || p->busy ? IDLE : READY);
}

/* ---- rounds ---- */

/* Milliseconds until the next round is to begin; not positive: now. */
static int64_t round_in(const struct pruner *p)
{
	return p->round_at + ROUND * p->context->conf->interval - mono_ms();
}

void pruner_run(void *arg)
{
	struct pruner *p = arg;

	if (!db_is_up(p->db))
		return;
	switch (p->state) {
	case IDLE:
		if (round_in(p) > 0)
			break;
		p->round_at = mono_ms();
		p->tables = 0;
		p->orders = 0;
		p->busy = false;
		send_look(p);
		break;
	case READY:
		if (p->ndue > 0)
			send_prune(p);
		else
			send_drop(p);
		break;
	case LOOKING:
	case PRUNING:
	case DROPPING:
		if (mono_ms() - p->synced_at > RESULT_TIMEOUT_MS)
			db_reset(p->db, "no answer from the database");
		break;
	}
}

int64_t pruner_interval(void *arg)
{
	const struct pruner *p = arg;
	int64_t left = round_in(p);

	return p->state != IDLE || left < PAUSE_MS ? PAUSE_MS : left;
}

/* ---- its connection ---- */

static void on_up(struct db *db, void *arg)
{
	(void)db;
	enter(arg, IDLE);
}

static void on_down(struct db *db, void *arg, const char *why)
{
	(void)db;
	(void)arg;
	(void)why;
}

static const struct db_ops db_ops = {
	.up = on_up,
	.down = on_down,
	.result = on_result,
	.synced = on_synced,
};

struct pruner *pruner_open(const struct context *context)
{
	struct pruner *p = xcalloc(1, sizeof(*p));
	size_t n = batch_settings_of(context->coordinator, p->settings);
	struct db_config config = {
		.conninfo = context->conf->url,
		.name = "pruner",
		.application_name = "interlockd",
		.settings = p->settings,
		.ops = &db_ops,
		.arg = p,
	};

	p->context = context;
	p->round_at = mono_ms();
	p->settings[n++] = "lock_timeout";
	p->settings[n++] = "200ms";
	config.stmts = stmt_all(&config.nstmts);
	p->db = db_open(context->loop, &config);
	return p;
}

static void on_db_closed(void *arg)
{
	struct pruner *p = arg;
	void (*on_closed)(void *arg) = p->on_closed;
	void *closed_arg = p->closed_arg;

	free(p->due);
	free(p);
	on_closed(closed_arg);
}

void pruner_close(struct pruner *p, void (*on_closed)(void *arg), void *arg)
{
	p->on_closed = on_closed;
	p->closed_arg = arg;
	db_close(p->db, on_db_closed, p);
}

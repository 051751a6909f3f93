/*
 * The pruner. A round asks what is due ([retention]), then removes it a batch at a time: of each
 * project and kind in turn, with a pause between two batches, and last whole partitions of the log
 * and the journal. Invariant: a batch is one transaction of one statement, which waits for no lock
 * of a message (interlock_prune, interlock_drop_partition); whatever ends in the middle of it, the
 * next round finds the same again.
 */
#include "services/pruner.h"
#include "sql_columns.h"

#include "core/retention.h"
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
enum state { IDLE, READY, MEASURING, LOOKING, PRUNING, DROPPING };

/* What may be due; as interlock_prune names it. */
static const char *const kinds[RETENTION_KINDS] = { "runs", "dataclips", "logs" };

/* What is due, of one project. */
struct due {
	char project[UUID_TEXT];
	char keep[24]; /* milliseconds */
	size_t kind;
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

static void send_look(struct pruner *p)
{
	struct buf texts[RETENTION_PARAMS] = { { 0 } };
	struct db_param params[RETENTION_PARAMS];

	retention_params(p->context->conf, texts);
	for (size_t i = 0; i < countof(params); i++)
		params[i] = (struct db_param){ texts[i].p, (int)texts[i].n, false };
	ask(p, LOOKING, "prune_due", params, countof(params));
	for (size_t i = 0; i < countof(texts); i++)
		buf_free(&texts[i]);
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
			text(due->project), text(kinds[due->kind]), text(due->keep), text(most) },
		4);
}

static void send_drop(struct pruner *p)
{
	const struct conf *conf = p->context->conf;
	char keep[24];

	while (p->tables < RETENTION_PARTITIONED && retention_of_partitions(conf, p->tables) == 0)
		p->tables++;
	if (p->tables == RETENTION_PARTITIONED) {
		if (p->orders > 0)
			log_info("pruned: %jd work orders were due", (intmax_t)p->orders);
		enter(p, IDLE);
		return;
	}
	snprintf(keep, sizeof(keep), "%jd", (intmax_t)retention_of_partitions(conf, p->tables));
	ask(p, DROPPING, "drop_partition",
		(const struct db_param[]){ text(retention_partitioned[p->tables]), text(keep) }, 2);
}

/* ---- what comes back ---- */

static size_t kind_of(const char *name)
{
	for (size_t k = 0; k < countof(kinds); k++)
		if (strcmp(kinds[k], name) == 0)
			return k;
	fatalx("prune_due: a kind %s", name);
}

static void read_sizes(const PGresult *res)
{
	for (int i = 0; i < PQntuples(res); i++) {
		const char *table = PQgetvalue(res, i, TABLE_SIZES_OUT_NAME);
		const char *bytes = PQgetvalue(res, i, TABLE_SIZES_OUT_BYTES);

		metrics_set(
			metrics_seriesf(METRIC_TABLE_BYTES, "table=\"%s\"", table), atof(bytes));
		if (!PQgetisnull(res, i, TABLE_SIZES_OUT_OLDEST))
			metrics_set(metrics_seriesf(METRIC_OLDEST_ROW, "table=\"%s\"", table),
				atof(PQgetvalue(res, i, TABLE_SIZES_OUT_OLDEST)));
	}
}

static void read_due(struct pruner *p, const PGresult *res)
{
	double behind[countof(kinds)] = { 0 };

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
		double *most = &behind[due->kind];
		double seconds = atof(PQgetvalue(res, row, PRUNE_DUE_OUT_BEHIND));
		*most = seconds > *most ? seconds : *most;
	}
	for (size_t k = 0; k < countof(kinds); k++)
		metrics_set(metrics_seriesf(METRIC_RETENTION_BEHIND, "data=\"%s\"", kinds[k]),
			behind[k]);
}

/* A batch that was not full was the last one of its project and kind. */
static void read_pruned(struct pruner *p, const PGresult *res)
{
	const struct due *due = &p->due[p->turn];
	int64_t orders = 0;

	p->busy = PQntuples(res) == 0;
	for (int i = 0; i < PQntuples(res); i++) {
		const char *table = PQgetvalue(res, i, PRUNE_OUT_NAME);
		int64_t n = atoll(PQgetvalue(res, i, PRUNE_OUT_N));

		if (strcmp(table, "work_orders") == 0)
			orders = n;
		if (strcmp(table, "work_orders") != 0 || due->kind == 0)
			metrics_add(metrics_seriesf(METRIC_PRUNED_ROWS, "table=\"%s\"", table),
				(double)n);
	}
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
	else if (p->state == MEASURING)
		read_sizes(res);
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
	if (p->state == MEASURING && !p->failed)
		send_look(p);
	else
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
		ask(p, MEASURING, "table_sizes", NULL, 0);
		break;
	case READY:
		if (p->ndue > 0)
			send_prune(p);
		else
			send_drop(p);
		break;
	case MEASURING:
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

static const struct db_ops db_ops = {
	.up = on_up,
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

/*
 * pipeline: one batch (pipeline.h). Invariants: the order of a run's messages is kept, and no two
 * of one run are in the same batch (a set-based statement would apply only one of them).
 */
#include "pipeline.h"

#include <stdlib.h>

enum {
	BATCH_BYTES = 1024 * 1024, /* of parameters */
	BUFFER_BYTES = 16 * 1024,
	MAX_SKIPPED = 1024, /* messages that may not be sent yet, before others wait too */
	PLANS_MAX = 65536,  /* messages for which plans are kept, at most */
};

static const char *first_statement(enum lane_kind kind)
{
	return kind == LANE_CLAIM ? "claims_lock" : NULL;
}

static bool same_statement(const struct pipeline_group *g, const struct batch_item *item)
{
	if (g->stmt != item->stmt)
		return false;
	for (int i = 0; i < item->stmt->scalars; i++)
		if (strcmp(TAILQ_FIRST(&g->items)->scalars[i], item->scalars[i]) != 0)
			return false;
	return true;
}

/* Puts the item into its group, a new one if need be. */
static void group(struct pipeline *p, struct batch_item *item)
{
	struct pipeline_group *g = p->groups;

	while (g < p->groups + p->ngroups && !same_statement(g, item))
		g++;
	if (g == p->groups + p->ngroups) {
		*g = (struct pipeline_group){ .stmt = item->stmt };
		TAILQ_INIT(&g->items);
		p->ngroups++;
	}
	TAILQ_INSERT_TAIL(&g->items, item, entry);
	p->nitems++;
}

/* Is a message of the same run in the batch? Then this one, and all behind it, wait for the next.
 */
static bool run_is_in(const struct uuid *runs, int n, const struct uuid *run)
{
	static const struct uuid none;

	if (uuid_eq(run, &none))
		return false;
	for (int i = 0; i < n; i++)
		if (uuid_eq(&runs[i], run))
			return true;
	return false;
}

static void choose(struct pipeline *p, struct batch_queue *queue)
{
	struct uuid runs[PIPELINE_ITEMS], skipped[MAX_SKIPPED];
	struct batch_item *item, *next;
	int64_t now = mono_ms();
	int nskipped = 0;

	p->bytes = 0;
	for (item = TAILQ_FIRST(queue); item != NULL; item = next) {
		next = TAILQ_NEXT(item, entry);
		if (item->waits || item->not_before > now) {
			if (nskipped == MAX_SKIPPED)
				return;
			skipped[nskipped++] = item->run_id;
			continue;
		}
		if (run_is_in(skipped, nskipped, &item->run_id))
			continue;
		if (p->nitems > 0 && (item->one_by_one || p->bytes + item->bytes > BATCH_BYTES))
			return;
		if (run_is_in(runs, p->nitems, &item->run_id))
			continue;
		runs[p->nitems] = item->run_id;
		TAILQ_REMOVE(queue, item, entry);
		p->bytes += item->bytes;
		group(p, item);
		if (item->one_by_one || p->nitems == p->most || p->kind == LANE_BODY)
			return;
	}
}

static bool needs_lock(const struct batch_item *item)
{
	return item->locks;
}

static bool needs_settle(const struct batch_item *item)
{
	return item->settles;
}

/* How many of the batch's messages match. */
static int count(const struct pipeline *p, bool (*matches)(const struct batch_item *))
{
	const struct batch_item *item;
	int n = 0;

	for (int g = 0; g < p->ngroups; g++)
		TAILQ_FOREACH (item, &p->groups[g].items, entry)
			n += matches(item);
	return n;
}

/* Sends `lock` or `settle` for the work orders of the messages that match. False, with nothing
 * sent, if none does. */
static bool send_orders(
	struct pipeline *p, const char *stmt, bool (*matches)(const struct batch_item *))
{
	const struct stmt *s = stmt_get(stmt);
	struct buf projects = { 0 }, orders = { 0 };
	struct value v = { 0 };
	const struct batch_item *item;
	int n = count(p, matches);

	if (n == 0)
		return false;
	value_array(&projects, s->types[0], n);
	value_array(&orders, s->types[1], n);
	for (int g = 0; g < p->ngroups; g++) {
		TAILQ_FOREACH (item, &p->groups[g].items, entry) {
			if (!matches(item))
				continue;
			value_uuid(&v, &item->project_id);
			value_element(&projects, &v);
			value_uuid(&v, &item->work_order_id);
			value_element(&orders, &v);
		}
	}
	db_query(p->db, stmt,
		(const struct db_param[]){
			{ projects.p, (int)projects.n, true }, { orders.p, (int)orders.n, true } },
		2);
	buf_free(&projects);
	buf_free(&orders);
	return true;
}

static void send_group(struct pipeline *p, const struct pipeline_group *g)
{
	const struct stmt *s = g->stmt;
	const struct batch_item *item, *first = TAILQ_FIRST(&g->items);
	struct buf columns[STMT_COLUMNS] = { 0 };
	struct db_param params[STMT_COLUMNS + countof(first->scalars)];
	int rows = 0;

	TAILQ_FOREACH (item, &g->items, entry)
		rows += item->rows;
	for (int c = 0; c < s->columns; c++) {
		value_array(&columns[c], s->types[c], rows);
		TAILQ_FOREACH (item, &g->items, entry)
			for (int r = 0; r < item->rows; r++)
				value_element(&columns[c], &item->values[r * s->columns + c]);
		params[c] = (struct db_param){ columns[c].p, (int)columns[c].n, true };
	}
	for (int i = 0; i < s->scalars; i++)
		params[s->columns + i] = (struct db_param){ first->scalars[i],
			(int)strlen(first->scalars[i]), false };
	db_query(p->db, s->name, params, s->columns + s->scalars);
	for (int c = 0; c < s->columns; c++)
		buf_free(&columns[c]);
}

/* Has the statements planned again, for the next batch, if their plans have served long enough:
 * twice as long as the ones before, as a new database grows ever slower in proportion. */
static void renew_plans(struct pipeline *p)
{
	p->plan_messages_left -= p->nitems;
	if (p->plan_messages_left > 0)
		return;
	p->plan_messages_left = p->plan_lifetime;
	if (p->plan_lifetime < PLANS_MAX)
		p->plan_lifetime *= 2;
	db_query(p->db, "discard_plans", NULL, 0);
}

/* Of a large body in a thread: touches only the pipeline and the item, which stay as they are while
 * they are in flight. */
static void send_all(void *arg)
{
	struct pipeline *p = arg;
	const char *first = first_statement(p->kind);

	if (p->timeout != NULL) {
		db_query(p->db, "statement_timeout",
			&(struct db_param){ p->timeout, (int)strlen(p->timeout), false }, 1);
		p->first_group++;
	}
	if (send_orders(p, "lock", needs_lock)) {
		p->first_group++;
	} else if (first != NULL) {
		db_query(p->db, first, NULL, 0);
		p->first_group++;
	}
	for (int g = 0; g < p->ngroups; g++)
		send_group(p, &p->groups[g]);
	send_orders(p, "settle", needs_settle);
	renew_plans(p);
	db_sync(p->db);
}

bool pipeline_fill(struct pipeline *p, struct batch_queue *queue)
{
	p->ngroups = p->nitems = p->first_group = 0;
	choose(p, queue);
	return p->nitems > 0;
}

/* A buffer of libpq's begins with 16 KiB, and is doubled until what it must hold fits. */
static size_t grown(size_t bytes)
{
	size_t size = BUFFER_BYTES;

	while (size < bytes)
		size *= 2;
	return size - BUFFER_BYTES;
}

size_t pipeline_buffered(const struct pipeline *p)
{
	return grown(p->sent) + grown(p->received);
}

void pipeline_connected(struct pipeline *p)
{
	p->sent = p->received = 0;
}

void pipeline_received(struct pipeline *p, const PGresult *res)
{
	if (PQresultMemorySize(res) > p->received)
		p->received = PQresultMemorySize(res);
}

void pipeline_send(struct pipeline *p)
{
	if (p->bytes > p->sent)
		p->sent = p->bytes;
	if (p->kind == LANE_BODY)
		db_exchange_beside(p->db, send_all, p);
	else
		send_all(p);
}

/*
 * One batch: chosen from the queue, made into array parameters, sent as a pipeline. Invariants: the
 * order of a run's messages is kept, and no two of one run are in the same batch (a set-based
 * statement would apply only one of them).
 */
#include "batch_private.h"

#include <stdlib.h>

static const char *first_statement(enum lane_kind kind)
{
	return kind == LANE_CLAIM ? "claims_lock" : NULL;
}

static bool same_statement(const struct batch_group *g, const struct batch_item *item)
{
	if (g->stmt != item->stmt)
		return false;
	for (int i = 0; i < item->stmt->scalars; i++)
		if (strcmp(TAILQ_FIRST(&g->items)->scalars[i], item->scalars[i]) != 0)
			return false;
	return true;
}

/* Puts the item into its group, a new one if need be. */
static void group(struct lane *lane, struct batch_item *item)
{
	struct batch_group *g = lane->groups;

	while (g < lane->groups + lane->ngroups && !same_statement(g, item))
		g++;
	if (g == lane->groups + lane->ngroups) {
		*g = (struct batch_group){ .stmt = item->stmt };
		TAILQ_INIT(&g->items);
		lane->ngroups++;
	}
	TAILQ_INSERT_TAIL(&g->items, item, entry);
	lane->nitems++;
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

static void choose(struct lane *lane)
{
	struct uuid runs[BATCH_ITEMS], waiting[BATCH_WAITING];
	struct batch_item *item, *next;
	int64_t now = mono_ms();
	int nwaiting = 0;

	lane->bytes = 0;
	for (item = TAILQ_FIRST(&lane->queue); item != NULL; item = next) {
		next = TAILQ_NEXT(item, entry);
		if (item->waits || item->due > now) {
			if (nwaiting == BATCH_WAITING)
				return;
			waiting[nwaiting++] = item->run_id;
			continue;
		}
		if (run_is_in(waiting, nwaiting, &item->run_id))
			continue;
		if (lane->nitems > 0 && (item->alone || lane->bytes + item->bytes > BATCH_BYTES))
			return;
		if (run_is_in(runs, lane->nitems, &item->run_id))
			continue;
		runs[lane->nitems] = item->run_id;
		TAILQ_REMOVE(&lane->queue, item, entry);
		lane->bytes += item->bytes;
		group(lane, item);
		if (item->alone || lane->nitems == BATCH_ITEMS || lane->kind == LANE_BODY)
			return;
	}
}

static bool locks(const struct batch_item *item)
{
	return item->locks;
}

static bool settles(const struct batch_item *item)
{
	return item->settles;
}

/* How many of the batch's messages are so. */
static int count(const struct lane *lane, bool (*matches)(const struct batch_item *))
{
	const struct batch_item *item;
	int n = 0;

	for (int g = 0; g < lane->ngroups; g++)
		TAILQ_FOREACH (item, &lane->groups[g].items, entry)
			n += matches(item);
	return n;
}

/* lock and settle take the work orders of the messages that are so. False, with nothing sent, if
 * none is. */
static bool send_orders(
	struct lane *lane, const char *stmt, bool (*matches)(const struct batch_item *))
{
	const struct stmt *s = stmt_get(stmt);
	struct buf projects = { 0 }, orders = { 0 };
	struct value v = { 0 };
	const struct batch_item *item;
	int n = count(lane, matches);

	if (n == 0)
		return false;
	value_array(&projects, s->types[0], n);
	value_array(&orders, s->types[1], n);
	for (int g = 0; g < lane->ngroups; g++) {
		TAILQ_FOREACH (item, &lane->groups[g].items, entry) {
			if (!matches(item))
				continue;
			value_uuid(&v, &item->project_id);
			value_element(&projects, &v);
			value_uuid(&v, &item->work_order_id);
			value_element(&orders, &v);
		}
	}
	db_query(lane->db, stmt,
		(const struct db_param[]){
			{ projects.p, (int)projects.n, true }, { orders.p, (int)orders.n, true } },
		2);
	buf_free(&projects);
	buf_free(&orders);
	return true;
}

static void send_group(struct lane *lane, const struct batch_group *g)
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
	db_query(lane->db, s->name, params, s->columns + s->scalars);
	for (int c = 0; c < s->columns; c++)
		buf_free(&columns[c]);
}

/* Has the statements planned again, if their plans have served long enough: twice as long as the
 * ones before, as a new database grows ever slower in proportion. False, with nothing sent, if not.
 */
static bool renew_plans(struct lane *lane)
{
	lane->plan_messages_left -= lane->nitems;
	if (lane->plan_messages_left > 0)
		return false;
	lane->plan_messages_left = lane->plan_lifetime;
	if (lane->plan_lifetime < BATCH_PLANS_MAX)
		lane->plan_lifetime *= 2;
	db_query(lane->db, "discard_plans", NULL, 0);
	return true;
}

/* Of a large batch in a thread: touches what is the lane's alone, and the items, which stay as they
 * are while they are in flight. */
static void send_all(void *arg)
{
	struct lane *lane = arg;
	const char *first = first_statement(lane->kind);

	if (renew_plans(lane))
		lane->first_group++;
	if (send_orders(lane, "lock", locks)) {
		lane->first_group++;
	} else if (first != NULL) {
		db_query(lane->db, first, NULL, 0);
		lane->first_group++;
	}
	for (int g = 0; g < lane->ngroups; g++)
		send_group(lane, &lane->groups[g]);
	send_orders(lane, "settle", settles);
	db_sync(lane->db);
}

void batch_send(struct lane *lane)
{
	const struct batch_item *oldest = TAILQ_FIRST(&lane->queue);
	int64_t since = oldest != NULL ? oldest->since : 0;

	lane->ngroups = lane->nitems = lane->answered = lane->first_group = 0;
	lane->error.set = false;
	choose(lane);
	if (lane->nitems == 0)
		return;
	if (lane->bytes > BATCH_BESIDE && lane->kind == LANE_BODY)
		db_send_beside(lane->db, send_all, lane);
	else
		send_all(lane);
	lane->sent_at = mono_ms();
	metrics_observe(lane->stat_items, lane->nitems);
	metrics_observe(lane->stat_wait, (double)(lane->sent_at - since) / 1000);
	metrics_set(lane->stat_committing, lane->nitems);
	metrics_add(lane->stat_queued, -lane->nitems);
}

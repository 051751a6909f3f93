/*
 * One batch: chosen from the queue, made into array parameters, sent as a pipeline. Invariants: the
 * order of a run's messages is kept, and no two of one run are in the same batch (a set-based
 * statement would apply only one of them).
 */
#include "batch_private.h"

#include <stdlib.h>

static const char *prologue(enum lane kind)
{
	return kind == LANE_CLAIM ? "claims_lock" : NULL;
}

static bool same_statement(const struct batch_group *g, const struct batch_item *item)
{
	if (g->stmt != item->stmt)
		return false;
	for (int i = 0; i < item->stmt->scalars; i++)
		if (strcmp(g->items[0]->scalars[i], item->scalars[i]) != 0)
			return false;
	return true;
}

/* The item's group, a new one if need be. */
static void group(struct lane_conn *lane, struct batch_item *item)
{
	int i = 0;

	while (i < lane->ngroups && !same_statement(&lane->groups[i], item))
		i++;
	if (i == lane->ngroups) {
		lane->groups[i] = (struct batch_group){ .stmt = item->stmt };
		lane->ngroups++;
	}
	lane->groups[i].items[lane->groups[i].n++] = item;
	lane->nitems++;
}

/* Is a message of the same run in the batch? Then this one, and all behind it, wait for the next.
 */
static bool run_is_taken(const struct uuid *runs, int n, const struct uuid *run)
{
	static const struct uuid none;

	if (uuid_eq(run, &none))
		return false;
	for (int i = 0; i < n; i++)
		if (uuid_eq(&runs[i], run))
			return true;
	return false;
}

static void choose(struct lane_conn *lane)
{
	struct uuid runs[BATCH_ITEMS];
	struct batch_item *item, *next;
	size_t bytes = 0;

	for (item = TAILQ_FIRST(&lane->queue); item != NULL; item = next) {
		next = TAILQ_NEXT(item, entry);
		if (lane->nitems > 0 && (item->alone || bytes + item->bytes > BATCH_BYTES))
			return;
		if (run_is_taken(runs, lane->nitems, &item->run_id))
			continue;
		runs[lane->nitems] = item->run_id;
		TAILQ_REMOVE(&lane->queue, item, entry);
		bytes += item->bytes;
		group(lane, item);
		if (item->alone || lane->nitems == BATCH_ITEMS || lane->kind == LANE_BODY)
			return;
	}
}

/* lock and settle take the work orders of those items for which the flag is set. */
static void send_orders(struct lane_conn *lane, const char *stmt, size_t flag)
{
	struct buf projects = { 0 }, orders = { 0 };
	const struct stmt *s = stmt_get(stmt);
	struct value v = { 0 };
	int n = 0;

	for (int pass = 0; pass < 2; pass++) {
		if (pass == 1) {
			value_array(&projects, s->types[0], n);
			value_array(&orders, s->types[1], n);
		}
		for (int g = 0; g < lane->ngroups; g++) {
			for (int i = 0; i < lane->groups[g].n; i++) {
				const struct batch_item *item = lane->groups[g].items[i];

				if (!*(const bool *)((const char *)item + flag))
					continue;
				if (pass == 0) {
					n++;
					continue;
				}
				value_uuid(&v, &item->project_id);
				value_element(&projects, &v);
				value_uuid(&v, &item->work_order_id);
				value_element(&orders, &v);
			}
		}
	}
	db_query(lane->db, stmt,
		(const struct db_param[]){
			{ projects.p, (int)projects.n, true }, { orders.p, (int)orders.n, true } },
		2);
	buf_free(&projects);
	buf_free(&orders);
}

static void send_group(struct lane_conn *lane, const struct batch_group *g)
{
	struct buf columns[STMT_COLUMNS] = { 0 };
	struct db_param params[STMT_COLUMNS + countof(g->items[0]->scalars)];
	const struct stmt *s = g->stmt;
	int rows = 0;

	for (int i = 0; i < g->n; i++)
		rows += g->items[i]->rows;
	for (int c = 0; c < s->columns; c++) {
		value_array(&columns[c], s->types[c], rows);
		for (int i = 0; i < g->n; i++)
			for (int r = 0; r < g->items[i]->rows; r++)
				value_element(
					&columns[c], &g->items[i]->values[r * s->columns + c]);
		params[c] = (struct db_param){ columns[c].p, (int)columns[c].n, true };
	}
	for (int i = 0; i < s->scalars; i++) {
		const char *text = g->items[0]->scalars[i];

		params[s->columns + i] = (struct db_param){ text, (int)strlen(text), false };
	}
	db_query(lane->db, s->name, params, s->columns + s->scalars);
	for (int c = 0; c < s->columns; c++)
		buf_free(&columns[c]);
}

static bool any(const struct lane_conn *lane, size_t flag)
{
	for (int g = 0; g < lane->ngroups; g++)
		for (int i = 0; i < lane->groups[g].n; i++)
			if (*(const bool *)((const char *)lane->groups[g].items[i] + flag))
				return true;
	return false;
}

void batch_send(struct lane_conn *lane)
{
	const char *first = prologue(lane->kind);

	lane->ngroups = lane->nitems = lane->answered = lane->first_group = 0;
	lane->error.set = false;
	choose(lane);
	if (lane->nitems == 0)
		return;
	if (any(lane, offsetof(struct batch_item, locks))) {
		send_orders(lane, "lock", offsetof(struct batch_item, locks));
		lane->first_group = 1;
	} else if (first != NULL) {
		db_query(lane->db, first, NULL, 0);
		lane->first_group = 1;
	}
	for (int g = 0; g < lane->ngroups; g++)
		send_group(lane, &lane->groups[g]);
	if (any(lane, offsetof(struct batch_item, settles)))
		send_orders(lane, "settle", offsetof(struct batch_item, settles));
	db_sync(lane->db);
	lane->sent_at = mono_ms();
	stats_observe(lane->stat_items, lane->nitems);
	stats_add(lane->stat_queued, -lane->nitems);
}

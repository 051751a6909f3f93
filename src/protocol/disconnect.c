/*
 * The end of a worker's socket, as the journals of its runs in flight tell it: a row that another
 * coordinator finds too, and that a restart survives. It is written only when a socket goes while
 * it holds runs, so it costs nothing while all is well; a worker that comes and goes all the time
 * is counted (journal_counts), and does not fill the journal. Invariant: a shutdown waits for it.
 */
#include "run_channel.h"

#include "lib/logger.h"
#include "sql_columns.h"

#include <stdlib.h>

struct record {
	struct batch_item item;
	const struct context *context;
	struct queue *queue;
	struct value values[DISCONNECT_IN_COUNT];
	size_t size;
};

/* The journal's codes. */
static const char *const codes[] = {
	[WS_END_BROKEN] = "connection_broken",
	[WS_END_LEFT] = "closed_by_worker",
	[WS_END_CLOSED] = "closed_by_coordinator",
	[WS_END_SILENT] = "silent",
};

static void on_recorded(struct batch_item *item, const struct batch_result *r)
{
	struct record *record = container_of(item, struct record, item);

	if (r->status != BATCH_DONE)
		log_warnx("the end of a worker's socket could not be stored");
	for (size_t i = 0; i < countof(record->values); i++)
		value_clear(&record->values[i]);
	queue_add_open(record->queue, -1);
	memory_hold(record->context->memory, MEMORY_MESSAGES, -(ptrdiff_t)record->size);
	free(record);
}

/* Who it was; the times are columns. */
static void describe(const struct session *session, int code, struct buf *out)
{
	buf_adds(out, "{\"worker_id\":");
	buf_add_json(out, slice_of(session_worker(session)));
	buf_adds(out, ",\"address\":");
	buf_add_json(out, slice_of(session_address(session)));
	buf_addf(out, ",\"close_code\":%d}", code);
}

void disconnect_record(const struct channel *channel, enum ws_end how, int code)
{
	const struct session *session = channel_session(channel);
	const struct context *context = channel_context(channel);
	const struct run_claim *claim = &run_channel(channel)->claim;
	struct record *record = xcalloc(1, sizeof(*record));
	struct batch_item *item = &record->item;
	struct buf message = { 0 };

	describe(session, code, &message);
	record->context = context;
	record->queue = channel_protocol(channel);
	record->size = sizeof(*record) + message.n;
	run_claim_bind(claim, record->values);
	value_text(&record->values[DISCONNECT_IN_CODE], slice_of(codes[how]));
	value_take(&record->values[DISCONNECT_IN_MESSAGE], &message);
	value_time(&record->values[DISCONNECT_IN_ACTIVE_AT],
		db_clock_at(context->db_clock, session_active_at(session)));
	value_int(&record->values[DISCONNECT_IN_JOINS], run_channel(channel)->joins);
	*item = (struct batch_item){
		.stmt = stmt_get("disconnect"),
		.values = record->values,
		.rows = 1,
		.project_id = claim->project_id,
		.work_order_id = claim->work_order_id,
		.run_id = claim->run_id,
		.locks = true,
		.done = on_recorded,
	};
	queue_add_open(record->queue, 1);
	memory_hold(context->memory, MEMORY_MESSAGES, (ptrdiff_t)record->size);
	batch_submit(context->batch, LANE_WRITE, item);
}

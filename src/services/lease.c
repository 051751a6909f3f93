/*
 * A renewal travels as a batch item of its own, beside the run's messages. Invariant: it can change
 * nothing but the lease, and only that of the claim that the channel speaks for.
 */
#include "services/lease.h"

#include <stdlib.h>

struct renewal {
	struct batch_item item;
	struct value values[4];
	char lease[24];
};

static void on_renewed(struct batch_item *item, const struct batch_result *res)
{
	if (res->status == BATCH_DONE)
		metrics_add(metrics_series(METRIC_LEASE_RENEWALS, NULL), res->rows);
	free(container_of(item, struct renewal, item));
}

void lease_touch(struct channel *channel)
{
	int64_t lease = channel->session->server->conf->lease, now = mono_ms();
	struct renewal *r;

	if (lease == 0 || channel->stale || now - channel->lease_renewed_at < lease / 4)
		return;
	channel->lease_renewed_at = now;
	r = xcalloc(1, sizeof(*r));
	/* Without its run_id: it may go beside a message of the same run, and ahead of it. */
	r->item = (struct batch_item){
		.stmt = stmt_get("lease_renew"),
		.values = r->values,
		.rows = 1,
		.scalars = { r->lease },
		.project_id = channel->project_id,
		.work_order_id = channel->work_order_id,
		.locks = true,
		.done = on_renewed,
	};
	value_uuid(&r->values[0], &channel->project_id);
	value_uuid(&r->values[1], &channel->run_id);
	value_int(&r->values[2], channel->epoch);
	value_uuid(&r->values[3], &channel->claim);
	snprintf(r->lease, sizeof(r->lease), "%lld", (long long)lease);
	batch_submit(channel->session->server->batch, LANE_WRITE, &r->item);
}

/*
 * A renewal travels as a batch item of its own, beside the run's messages. Invariant: it can change
 * nothing but the lease, and only that of its claim.
 */
#include "services/lease.h"

#include "lib/metrics.h"

#include <stdlib.h>

struct renewal {
	struct batch_item item;
	struct value values[4];
	struct run_claim claim;
	char lease[24];
};

static void on_renewed(struct batch_item *item, const struct batch_result *res)
{
	if (res->status == BATCH_DONE)
		metrics_add(metrics_series(METRIC_LEASE_RENEWALS, NULL), res->rows);
	free(container_of(item, struct renewal, item));
}

void lease_renew(struct batch *batch, const struct run_claim *claim, int64_t lease)
{
	struct renewal *r = xcalloc(1, sizeof(*r));

	r->claim = *claim;
	/* Without its run_id: it may go beside a message of the same run, and ahead of it. */
	r->item = (struct batch_item){
		.stmt = stmt_get("lease_renew"),
		.values = r->values,
		.rows = 1,
		.scalars = { r->lease },
		.project_id = claim->project_id,
		.work_order_id = claim->work_order_id,
		.locks = true,
		.done = on_renewed,
	};
	run_claim_bind(&r->claim, r->values);
	snprintf(r->lease, sizeof(r->lease), "%lld", (long long)lease);
	batch_submit(batch, LANE_WRITE, &r->item);
}

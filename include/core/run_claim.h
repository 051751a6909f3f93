/*
 * run_claim: which claim of which run something speaks for. A claim is its id and its epoch (the
 * fencing token): a failover may repeat the epoch, never the id.
 */
#ifndef RUN_CLAIM_H
#define RUN_CLAIM_H

#include "db/value.h"

struct run_claim {
	struct uuid project_id, run_id, work_order_id, claim;
	int epoch;
};

/* The columns that many statements begin with, into v: project, run, epoch,
 * claim. Returns the next one. */
struct value *run_claim_bind(const struct run_claim *claim, struct value *v);

#endif

/*
 * lease: renews the leases of runs whose workers are active, many of them in one statement.
 */
#ifndef LEASE_H
#define LEASE_H

#include "core/batch.h"
#include "core/run_claim.h"

/* Extends the lease of the claim's run by so many milliseconds. Copies the claim and returns at
 * once; a renewal that fails is made good by the next. */
void lease_renew(struct batch *batch, const struct run_claim *claim, int64_t lease);

#endif

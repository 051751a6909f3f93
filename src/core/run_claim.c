/*
 * A claim as the parameters of a statement (run_claim.h).
 */
#include "core/run_claim.h"

struct value *run_claim_bind(const struct run_claim *claim, struct value *v)
{
	value_uuid(v++, &claim->project_id);
	value_uuid(v++, &claim->run_id);
	value_int(v++, claim->epoch);
	value_uuid(v++, &claim->claim);
	return v;
}

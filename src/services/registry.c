/*
 * One row for this coordinator. Invariant: it is the present state; a reader looks at how
 * old it is.
 */
#include "services/registry.h"

#include "lib/metrics.h"
#include "sql_columns.h"

#include <stdlib.h>

struct registry {
	const struct context *context;
	void (*print_workers)(void *arg, struct buf *out);
	void *arg;
	struct batch_item item;
	struct value values[COORDINATOR_PUBLISH_IN_COUNT];
	int64_t started;   /* now_us() */
	char differs[256]; /* the coordinator that decides differently, "" if there is none */
};

static void on_published(struct batch_item *item, const struct batch_result *r)
{
	struct registry *registry = container_of(item, struct registry, item);
	const char *other = "";

	for (size_t i = 0; i < countof(registry->values); i++)
		value_clear(&registry->values[i]);
	if (r->status != BATCH_DONE)
		return;
	if (!PQgetisnull(r->res, r->first, COORDINATOR_PUBLISH_OUT_OTHER))
		other = PQgetvalue(r->res, r->first, COORDINATOR_PUBLISH_OUT_OTHER);
	if (strcmp(other, registry->differs) != 0 && *other != '\0')
		log_warnx("coordinator %s has another late policy than this one", other);
	snprintf(registry->differs, sizeof(registry->differs), "%s", other);
	metrics_set(metrics_series(METRIC_POLICY_MISMATCH, NULL), *other != '\0');
}

void registry_publish(struct registry *registry)
{
	const struct context *context = registry->context;
	struct value *v = registry->values;
	struct buf workers = { 0 };
	char policy[CONF_DIGEST];

	if (registry->item.submitted)
		return;
	conf_digest_policy(context->conf, policy);
	registry->print_workers(registry->arg, &workers);
	value_text(v++, slice_of(context->coordinator));
	value_take(v++, &(struct buf){ xstrdup(policy), strlen(policy), 0 });
	value_bigint(v++, registry->started);
	value_take(v++, &workers);
	registry->item = (struct batch_item){
		.stmt = stmt_get("coordinator_publish"),
		.values = registry->values,
		.rows = 1,
		.done = on_published,
	};
	batch_submit(context->batch, LANE_READ, &registry->item);
}

struct registry *registry_new(
	const struct context *context, void (*print_workers)(void *arg, struct buf *out), void *arg)
{
	struct registry *registry = xcalloc(1, sizeof(*registry));

	registry->context = context;
	registry->print_workers = print_workers;
	registry->arg = arg;
	registry->started = now_us();
	return registry;
}

void registry_free(struct registry *registry)
{
	free(registry);
}

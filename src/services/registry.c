/*
 * One row for this coordinator. Invariant: it is the present state; a reader looks at how
 * old it is.
 */
#include "services/registry.h"

#include "lib/crypto.h"
#include "sql_columns.h"

#include <stdlib.h>

static struct {
	struct batch_item item;
	struct value values[4]; /* of publish.sql */
	int64_t started;        /* now_us() */
	char differs[256];      /* the coordinator that decides differently, "" if there is none */
} registry;

/* Times as seconds ago: whose clock it was does not matter then. */
static void print_worker(struct buf *b, const struct session *session)
{
	const struct channel *queue = session_queue_channel(session);
	int64_t now = now_us();

	buf_addf(b, "%s{\"worker\":", b->n > 1 ? "," : "");
	buf_add_json(b, slice_of(session->worker_id));
	buf_adds(b, ",\"address\":");
	buf_add_json(b, slice_of(session->address));
	buf_addf(b, ",\"capacity\":%d,\"runs\":%d,\"connected\":%.3f,\"silent\":%.3f}",
		queue != NULL ? queue->capacity : 0, session_run_count(session),
		(double)(now - session->connected) / 1e6, (double)(now - session->active_at) / 1e6);
}

static void print_workers(struct buf *b, const struct server *server)
{
	const struct session *session;

	buf_addc(b, '[');
	TAILQ_FOREACH (session, &server->conns, entry)
		print_worker(b, session);
	buf_addc(b, ']');
}

static void print_policy(struct buf *b, const struct conf *conf)
{
	struct buf text = { 0 };
	char digest[65];

	conf_print_policy(conf, &text);
	crypto_sha256_hex(text.p, text.n, digest);
	buf_add(b, digest, 16);
	buf_free(&text);
}

static void on_published(struct batch_item *item, const struct batch_result *r)
{
	const char *other = "";

	(void)item;
	for (size_t i = 0; i < countof(registry.values); i++)
		value_clear(&registry.values[i]);
	if (r->status != BATCH_DONE)
		return;
	if (!PQgetisnull(r->res, r->first, COORDINATOR_PUBLISH_OUT_OTHER))
		other = PQgetvalue(r->res, r->first, COORDINATOR_PUBLISH_OUT_OTHER);
	if (strcmp(other, registry.differs) != 0 && *other != '\0')
		log_warnx("coordinator %s has another late policy than this one", other);
	snprintf(registry.differs, sizeof(registry.differs), "%s", other);
	metrics_set(metrics_series(METRIC_POLICY_MISMATCH, NULL), *other != '\0');
}

void registry_publish(struct server *server, const char *name)
{
	struct value *v = registry.values;
	struct buf policy = { 0 }, workers = { 0 };

	if (registry.item.submitted)
		return;
	if (registry.started == 0)
		registry.started = now_us();
	print_policy(&policy, server->conf);
	print_workers(&workers, server);
	value_text(v++, slice_of(name));
	value_take(v++, &policy);
	value_bigint(v++, registry.started);
	value_take(v++, &workers);
	registry.item = (struct batch_item){
		.stmt = stmt_get("coordinator_publish"),
		.values = registry.values,
		.rows = 1,
		.done = on_published,
	};
	batch_submit(server->batch, LANE_READ, &registry.item);
}

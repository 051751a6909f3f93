/*
 * One row for this coordinator. Invariant: it says what is so now; whoever reads it looks at how
 * old it is.
 */
#include "presence.h"

#include "crypt.h"

#include <stdlib.h>

static struct {
	struct batch_item item;
	struct value values[4]; /* of publish.sql */
	int64_t started;        /* now_us() */
	char differs[256];      /* the coordinator that decides differently, "" if there is none */
} presence;

/* Times as seconds ago: whose clock it was does not matter then. */
static void print_worker(struct buf *b, const struct chan_conn *conn)
{
	const struct chan *queue = chan_queue_of(conn);
	int64_t now = now_us();

	buf_addf(b, "%s{\"worker\":", b->n > 1 ? "," : "");
	buf_add_json(b, slice_of(conn->worker_id));
	buf_adds(b, ",\"address\":");
	buf_add_json(b, slice_of(conn->address));
	buf_addf(b, ",\"capacity\":%d,\"runs\":%d,\"connected\":%.3f,\"silent\":%.3f}",
		queue != NULL ? queue->capacity : 0, chan_runs_held(conn),
		(double)(now - conn->connected) / 1e6, (double)(now - conn->heard) / 1e6);
}

static void print_workers(struct buf *b, const struct chan_server *server)
{
	const struct chan_conn *conn;

	buf_addc(b, '[');
	TAILQ_FOREACH (conn, &server->conns, entry)
		print_worker(b, conn);
	buf_addc(b, ']');
}

static void print_policy(struct buf *b, const struct conf *conf)
{
	struct buf text = { 0 };
	char digest[65];

	conf_print_policy(conf, &text);
	crypt_sha256_hex(text.p, text.n, digest);
	buf_add(b, digest, 16);
	buf_free(&text);
}

static void on_published(struct batch_item *item, const struct batch_result *r)
{
	const char *other = "";

	(void)item;
	for (size_t i = 0; i < countof(presence.values); i++)
		value_clear(&presence.values[i]);
	if (r->status != BATCH_DONE)
		return;
	if (!PQgetisnull(r->res, r->first, 1))
		other = PQgetvalue(r->res, r->first, 1);
	if (strcmp(other, presence.differs) != 0 && *other != '\0')
		log_warnx(
			"coordinator %s decides late words by another policy than this one", other);
	snprintf(presence.differs, sizeof(presence.differs), "%s", other);
	stats_set(stats_series(STATS_POLICY_DIFFERS, NULL), *other != '\0');
}

void presence_publish(struct chan_server *server, const char *name)
{
	struct value *v = presence.values;
	struct buf policy = { 0 }, workers = { 0 };

	if (presence.item.under_way)
		return;
	if (presence.started == 0)
		presence.started = now_us();
	print_policy(&policy, server->conf);
	print_workers(&workers, server);
	value_text(v++, slice_of(name));
	value_take(v++, &policy);
	value_bigint(v++, presence.started);
	value_take(v++, &workers);
	presence.item = (struct batch_item){
		.stmt = stmt_get("publish"),
		.values = presence.values,
		.rows = 1,
		.done = on_published,
	};
	batch_submit(server->batch, LANE_READ, &presence.item);
}

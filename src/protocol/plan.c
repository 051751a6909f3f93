/*
 * What a worker fetches before it begins: the plan (from memory, so that it cannot fail: an error
 * ends the whole worker), the run's input, the credentials of its jobs.
 */
#include "run_channel.h"

#include "core/plan_cache.h"
#include "lib/crypto.h"
#include "sql_columns.h"

#include <stdlib.h>

void plan_add(const struct run_channel *run, struct buf *out)
{
	char id[UUID_TEXT], project[UUID_TEXT], dataclip[UUID_TEXT], starting[UUID_TEXT];

	buf_addf(out, "\"id\":\"%s\",\"project_id\":\"%s\",\"starting_node_id\":\"%s\",",
		uuid_format(&run->claim.run_id, id), uuid_format(&run->claim.project_id, project),
		uuid_format(&run->starting_id, starting));
	if (run->has_dataclip)
		buf_addf(out, "\"dataclip_id\":\"%s\",", uuid_format(&run->dataclip_id, dataclip));
	buf_adds(out, run->plan->plan);
}

static void check_plan(struct request *request)
{
	struct buf b = { 0 };

	buf_addc(&b, '{');
	plan_add(run_channel(request->channel), &b);
	buf_addc(&b, '}');
	reply_ok(request, (struct slice){ b.p, b.n });
	buf_free(&b);
}

/* ---- fetch:dataclip ---- */

/* A small one is read with others. A large one is read alone, when there is room for it; beside the
 * loop, where it is made into the reply too. */
static const char small[] = "65536", any_size[] = "9223372036854775807"; /* bytes */

static void check_dataclip(struct request *request)
{
	request_alloc_params(request, 1);
	bind_claim(request, request->item.values);
	request->item.scalars[0] = small;
	request_submit(request);
}

static void fetch_large(struct request *request)
{
	batch_submit(request->server->batch, LANE_BODY, &request->item);
}

static bool more_dataclip(struct request *request, const struct batch_result *r)
{
	long long size = PQgetisnull(r->res, r->first, DATACLIP_OUT_SIZE)
				 ? 0
				 : atoll(PQgetvalue(r->res, r->first, DATACLIP_OUT_SIZE));

	if (request->item.scalars[0] != small || size <= atoll(small) ||
		!request_has_client(request))
		return false;
	request->item.scalars[0] = any_size;
	request_await_room(request, (size_t)size, fetch_large);
	return true;
}

static struct slice json_of(const struct batch_result *r, int column)
{
	if (PQgetisnull(r->res, r->first, column))
		return slice_of("null");
	return (struct slice){ PQgetvalue(r->res, r->first, column),
		(size_t)PQgetlength(r->res, r->first, column) };
}

static void add_dataclip(const struct batch_result *r, struct buf *out)
{
	const char *type = PQgetvalue(r->res, r->first, DATACLIP_OUT_TYPE);
	struct slice body = json_of(r, DATACLIP_OUT_BODY),
		     origin = json_of(r, DATACLIP_OUT_REQUEST);
	bool wrapped = strcmp(type, "http_request") == 0 || strcmp(type, "kafka") == 0;

	buf_reserve(out, body.n + origin.n + 32);
	buf_adds(out, wrapped ? "{\"data\":" : "");
	buf_add(out, body.p, body.n);
	if (wrapped) {
		buf_adds(out, ",\"request\":");
		buf_add(out, origin.p, origin.n);
		buf_addc(out, '}');
	}
}

/* A large one on its way into the reply. */
struct fetched {
	struct pool_job job;
	struct request *request;
	PGresult *res;
	struct buf reply;
};

static void on_copy(struct pool_job *job)
{
	struct fetched *fetched = container_of(job, struct fetched, job);

	add_dataclip(&(struct batch_result){ .res = fetched->res, .rows = 1 }, &fetched->reply);
	PQclear(fetched->res);
}

static void on_copied(struct pool_job *job)
{
	struct fetched *fetched = container_of(job, struct fetched, job);

	reply_binary(fetched->request, &fetched->reply);
	free(fetched);
}

static void reply_dataclip(struct request *request, const struct batch_result *r)
{
	struct buf b = { 0 };
	struct fetched *fetched;

	if (strcmp(PQgetvalue(r->res, r->first, DATACLIP_OUT_VERDICT), "accepted") != 0) {
		reply_error_code(request, "superseded", NULL);
	} else if (!reply_binary_begin(request, &b)) {
		reply_error_code(request, "invalid", NULL);
	} else if (r->alone == NULL) {
		add_dataclip(r, &b);
		reply_binary(request, &b);
	} else {
		fetched = xcalloc(1, sizeof(*fetched));
		*fetched = (struct fetched){ .request = request, .res = *r->alone, .reply = b };
		*r->alone = NULL;
		fetched->job.work = on_copy;
		fetched->job.done = on_copied;
		pool_start(request->server->loop, &fetched->job);
	}
}

/* ---- fetch:credential ---- */

static const struct field credential_fields[] = {
	{ "id", FIELD_UUID, .missing = "This field can't be blank.", .unknown = true },
};

static void check_credential(struct request *request)
{
	struct value *v;

	request_alloc_params(request, 1);
	v = bind_claim(request, request->item.values);
	value_bigint(v + 1, CREDENTIAL_MAX + CRYPTO_OVERHEAD);
	if (bind_fields(request, v))
		request_submit(request);
}

/* Columns: ord, verdict, the sealed body as hexadecimal digits. What is handed out is replaced in
 * the run's texts from then on, also where it is not what the join has read: it may have been
 * changed since. The old one stays in the set as long as the channel lasts; the next join reads
 * what there is then. */
static void reply_credential(struct request *request, const struct batch_result *r)
{
	struct slice hex = { 0 };
	struct buf body = { 0 }, why = { 0 };
	struct uuid id;
	char text[UUID_TEXT];

	if (strcmp(PQgetvalue(r->res, r->first, CREDENTIAL_OUT_VERDICT), "accepted") != 0 ||
		request->channel == NULL) {
		reply_error_code(request, "not_found", NULL);
		return;
	}
	if (!PQgetisnull(r->res, r->first, CREDENTIAL_OUT_BODY))
		hex = slice_of(PQgetvalue(r->res, r->first, CREDENTIAL_OUT_BODY));
	memcpy(id.b, request->item.values[CREDENTIAL_IN_CREDENTIAL_ID].p, sizeof(id.b));
	if (plan_cache_open_credential(
		    request->server->keys, slice_of(uuid_format(&id, text)), hex, &body, &why) &&
		plan_cache_extend(
			&run_channel(request->channel)->plan, (struct slice){ body.p, body.n }))
		reply_ok(request, (struct slice){ body.p, body.n });
	else
		reply_error_code(request, "not_found", NULL);
	if (why.n > 0)
		log_warnx("%s", why.p);
	buf_free(&why);
	if (body.p != NULL)
		explicit_bzero(body.p, body.cap);
	buf_free(&body);
}

const struct route plan_routes[] = {
	{
		.topic = "run:",
		.event = "fetch:plan",
		.check = check_plan,
		.accepts_any_payload = true,
	},
	{
		.topic = "run:",
		.event = "fetch:dataclip",
		.stmt = "dataclip",
		.lane = LANE_READ,
		.check = check_dataclip,
		.more = more_dataclip,
		.reply = reply_dataclip,
		.accepts_any_payload = true,
	},
	{
		.topic = "run:",
		.event = "fetch:credential",
		.stmt = "credential",
		.lane = LANE_READ,
		.check = check_credential,
		.fields = credential_fields,
		.nfields = countof(credential_fields),
		.reply = reply_credential,
	},
};
const int plan_nroutes = countof(plan_routes);

/*
 * What a worker fetches before it begins: the plan (from memory, so that it cannot fail: an error
 * ends the whole worker), the run's input, the credentials of its jobs.
 */
#include "run_channel.h"

#include "core/plan_cache.h"
#include "lib/pool.h"
#include "lib/logger.h"
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
	plan_add(run_channel(request_channel(request)), &b);
	buf_addc(&b, '}');
	reply_ok(request, (struct slice){ b.p, b.n });
	buf_free(&b);
}

/* ---- fetch:dataclip ---- */

/* A small one is read with others. A large one is read alone, when there is room for it; beside the
 * loop, where it is made into the reply too. */
static const char *const small[] = { "65536" }, *const any_size[] = { "9223372036854775807" };

/* A large one on its way into the reply. */
struct fetch {
	struct memory_wait wait;
	bool waits;
	struct request *request;
	struct pool_job job;
	PGresult *res;
	struct buf reply;
};

static void end_fetch(void *data)
{
	struct fetch *fetch = data;

	if (fetch->waits)
		memory_forget(request_context(fetch->request)->memory, &fetch->wait);
	buf_free(&fetch->reply);
	free(fetch);
}

static void check_dataclip(struct request *request)
{
	request_alloc_params(request, 1);
	bind_claim(request, request_values(request));
	request_set_scalars(request, small, 1);
	request_submit(request);
}

static void on_room(struct memory_wait *wait)
{
	struct fetch *fetch = container_of(wait, struct fetch, wait);

	fetch->waits = false;
	request_set_scalars(fetch->request, any_size, 1);
	request_hold(fetch->request, 2 * wait->bytes); /* in the result, and in the reply */
	request_submit_for_large_result(fetch->request);
}

/* Columns: see dataclip.sql. */
static bool more_dataclip(struct request *request, const struct batch_result *r)
{
	long long size = atoll(PQgetvalue(r->res, r->first, DATACLIP_OUT_SIZE));
	struct fetch *fetch;

	if (size <= atoll(small[0]) || request_data(request) != NULL ||
		!request_has_client(request))
		return false;
	fetch = xcalloc(1, sizeof(*fetch));
	fetch->wait = (struct memory_wait){ .bytes = (size_t)size, .on_room = on_room };
	fetch->waits = true;
	fetch->request = request;
	request_set_data(request, fetch, end_fetch);
	memory_await(request_context(request)->memory, &fetch->wait);
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

static void on_copy(struct pool_job *job)
{
	struct fetch *fetch = container_of(job, struct fetch, job);

	add_dataclip(&(struct batch_result){ .res = fetch->res, .rows = 1 }, &fetch->reply);
	PQclear(fetch->res);
}

static void on_copied(struct pool_job *job)
{
	struct fetch *fetch = container_of(job, struct fetch, job);

	reply_binary(fetch->request, &fetch->reply);
}

static void reply_dataclip(struct request *request, const struct batch_result *r)
{
	struct fetch *fetch = request_data(request);
	struct buf b = { 0 };

	if (strcmp(PQgetvalue(r->res, r->first, DATACLIP_OUT_VERDICT), "accepted") != 0) {
		reply_error_code(request, "superseded", NULL);
	} else if (!reply_binary_begin(request, &b)) {
		reply_error_code(request, "invalid", NULL);
	} else if (r->alone == NULL) {
		add_dataclip(r, &b);
		reply_binary(request, &b);
	} else {
		fetch->res = *r->alone;
		*r->alone = NULL;
		fetch->reply = b;
		fetch->job.work = on_copy;
		fetch->job.done = on_copied;
		pool_start(request_context(request)->loop, &fetch->job);
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
	v = bind_claim(request, request_values(request));
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
		request_channel(request) == NULL) {
		reply_error_code(request, "not_found", NULL);
		return;
	}
	if (!PQgetisnull(r->res, r->first, CREDENTIAL_OUT_BODY))
		hex = slice_of(PQgetvalue(r->res, r->first, CREDENTIAL_OUT_BODY));
	memcpy(id.b, request_values(request)[CREDENTIAL_IN_CREDENTIAL_ID].p, sizeof(id.b));
	if (plan_cache_open_credential(request_context(request)->keyring,
		    slice_of(uuid_format(&id, text)), hex, &body, &why) &&
		plan_cache_extend(&run_channel(request_channel(request))->plan,
			(struct slice){ body.p, body.n }))
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
		.fetches = true,
		.is_first = true,
		.check = check_plan,
		.accepts_any_payload = true,
	},
	{
		.topic = "run:",
		.event = "fetch:dataclip",
		.fetches = true,
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
		.fetches = true,
		.stmt = "credential",
		.lane = LANE_READ,
		.check = check_credential,
		.fields = credential_fields,
		.nfields = countof(credential_fields),
		.reply = reply_credential,
	},
	ROUTES_END,
};

/*
 * What a worker fetches before it begins: the plan (from memory, so that it cannot fail: an error
 * ends the whole worker), the run's input, the credentials of its jobs.
 */
#include "message.h"

#include "crypt.h"

#include <stdlib.h>

void plan_add(const struct chan *chan, struct buf *out)
{
	char run[UUID_TEXT], project[UUID_TEXT], dataclip[UUID_TEXT], starting[UUID_TEXT];

	buf_addf(out, "\"id\":\"%s\",\"project_id\":\"%s\",\"starting_node_id\":\"%s\",",
		uuid_format(&chan->run_id, run), uuid_format(&chan->project_id, project),
		uuid_format(&chan->starting_id, starting));
	if (chan->has_dataclip)
		buf_addf(out, "\"dataclip_id\":\"%s\",", uuid_format(&chan->dataclip_id, dataclip));
	buf_adds(out, chan->snapshot->plan);
}

static void check_plan(struct req *req)
{
	struct buf b = { 0 };

	buf_addc(&b, '{');
	plan_add(req->chan, &b);
	buf_addc(&b, '}');
	req_ok(req, (struct slice){ b.p, b.n });
	buf_free(&b);
}

/* ---- fetch:dataclip ---- */

static void check_dataclip(struct req *req)
{
	req_values(req, 1);
	value_uuid(&req->item.values[0], &req->chan->project_id);
	value_uuid(&req->item.values[1], &req->chan->run_id);
	req_submit(req);
}

/* The columns of dataclip.sql. */
enum { COL_TYPE = 2, COL_BODY, COL_REQUEST };

static struct slice json_of(const struct batch_result *r, int column)
{
	if (PQgetisnull(r->res, r->first, column))
		return slice_of("null");
	return (struct slice){ PQgetvalue(r->res, r->first, column),
		(size_t)PQgetlength(r->res, r->first, column) };
}

static void reply_dataclip(struct req *req, const struct batch_result *r)
{
	const char *type = PQgetvalue(r->res, r->first, COL_TYPE);
	struct slice body = json_of(r, COL_BODY), request = json_of(r, COL_REQUEST);
	bool wrapped = strcmp(type, "http_request") == 0 || strcmp(type, "kafka") == 0;
	struct buf b = { 0 };

	if (!req_binary_begin(req, &b)) {
		req_refuse_code(req, "invalid", NULL);
		return;
	}
	buf_reserve(&b, body.n + request.n + 32);
	buf_adds(&b, wrapped ? "{\"data\":" : "");
	buf_add(&b, body.p, body.n);
	if (wrapped) {
		buf_adds(&b, ",\"request\":");
		buf_add(&b, request.p, request.n);
		buf_addc(&b, '}');
	}
	req_binary(req, &b);
}

/* ---- fetch:credential ---- */

static const struct field credential_fields[] = {
	{ "id", FIELD_UUID, .missing = "This field can't be blank.", .nobody = true },
};

static void check_credential(struct req *req)
{
	struct value *v;

	req_values(req, 1);
	v = req_claim(req, req->item.values);
	value_bigint(v + 1, CREDENTIAL_MAX + CRYPT_OVERHEAD);
	if (req_fields(req, v))
		req_submit(req);
}

/* Columns: ord, verdict, the sealed body as hexadecimal digits. What is handed out is replaced in
 * the run's texts from then on, also where it is not what the join has read: it may have been
 * changed since. The old one stays in the set as long as the channel lasts; the next join reads
 * what there is then. */
static void reply_credential(struct req *req, const struct batch_result *r)
{
	struct slice hex = { 0 };
	struct buf body = { 0 }, why = { 0 };
	struct uuid id;
	char text[UUID_TEXT];

	if (strcmp(PQgetvalue(r->res, r->first, 1), "accepted") != 0 || req->chan == NULL) {
		req_refuse_code(req, "not_found", NULL);
		return;
	}
	if (!PQgetisnull(r->res, r->first, 2))
		hex = slice_of(PQgetvalue(r->res, r->first, 2));
	memcpy(id.b, req->item.values[4].p, sizeof(id.b));
	if (snapshot_open(req->server->keys, slice_of(uuid_format(&id, text)), hex, &body, &why) &&
		snapshot_extend(&req->chan->snapshot, (struct slice){ body.p, body.n }))
		req_ok(req, (struct slice){ body.p, body.n });
	else
		req_refuse_code(req, "not_found", NULL);
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
		.any_payload = true,
	},
	{
		.topic = "run:",
		.event = "fetch:dataclip",
		.stmt = "dataclip",
		.lane = LANE_READ,
		.check = check_dataclip,
		.reply = reply_dataclip,
		.any_payload = true,
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

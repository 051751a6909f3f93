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

/* Columns: ord, verdict, type, body, request. */
static void reply_dataclip(struct req *req, const struct batch_result *r)
{
	const char *type = PQgetvalue(r->res, r->first, 2), *body = "null", *request = "null";
	struct buf b = { 0 };

	if (!PQgetisnull(r->res, r->first, 3))
		body = PQgetvalue(r->res, r->first, 3);
	if (!PQgetisnull(r->res, r->first, 4))
		request = PQgetvalue(r->res, r->first, 4);
	if (!req_binary_begin(req, &b)) {
		req_refuse_code(req, "invalid", NULL);
		return;
	}
	if (strcmp(type, "http_request") == 0 || strcmp(type, "kafka") == 0)
		buf_addf(&b, "{\"data\":%s,\"request\":%s}", body, request);
	else
		buf_adds(&b, body);
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
	if (req_fields(req, v))
		req_submit(req);
}

/* Columns: ord, verdict, the sealed body as hexadecimal digits. */
static void reply_credential(struct req *req, const struct batch_result *r)
{
	const char *hex = PQgetvalue(r->res, r->first, 2);
	struct buf sealed = { 0 }, plain = { 0 };
	struct uuid id;
	char text[UUID_TEXT];

	if (strcmp(PQgetvalue(r->res, r->first, 1), "accepted") != 0) {
		req_refuse_code(req, "not_found", NULL);
		return;
	}
	buf_add_hex(&sealed, hex);
	memcpy(id.b, req->item.values[3].p, sizeof(id.b));
	if (keys_open(req->server->keys, slice_of(uuid_format(&id, text)),
		    (struct slice){ sealed.p, sealed.n }, &plain) != KEYS_CLOSED) {
		req_ok(req, (struct slice){ plain.p, plain.n });
		explicit_bzero(plain.p, plain.n);
	} else {
		log_warnx("credential %s opens with no credential key", text);
		req_refuse_code(req, "not_found", NULL);
	}
	buf_free(&sealed);
	buf_free(&plain);
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

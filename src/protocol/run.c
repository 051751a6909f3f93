/*
 * run:<id>: the join, run:start and run:complete. Invariant: the token decides which run and which
 * claim a channel speaks for; nothing in a payload can. A claim is its id and its epoch: a failover
 * may repeat the epoch, never the id.
 */
#include "run_channel.h"

#include "lib/crypto.h"
#include "core/fsm.h"
#include "lib/metrics.h"
#include "core/plan_cache.h"
#include "services/lease.h"
#include "sql_columns.h"

#include <limits.h>
#include <stdlib.h>

/* ---- the channel ---- */

void run_channel_started(const struct channel *channel)
{
	if (channel != NULL)
		run_channel(channel)->run_started = true;
}

static void end_channel(struct channel *channel)
{
	plan_cache_release(run_channel(channel)->plan);
}

/* A lease is renewed at most once in a quarter of its length. */
static void on_activity(struct channel *channel)
{
	const struct context *context = channel_context(channel);
	struct run_channel *run = run_channel(channel);
	int64_t lease = context->conf->lease, now = mono_ms();

	if (lease == 0 || run->stale || now - run->lease_renewed_at < lease / 4)
		return;
	run->lease_renewed_at = now;
	lease_renew(context->batch, &run->claim, lease);
}

static void on_left(struct channel *channel)
{
	if (!run_channel(channel)->run_started)
		queue_release_left(channel_protocol(channel), &run_channel(channel)->claim);
}

static void on_disconnect(struct channel *channel, enum ws_end how, int code)
{
	if (!run_channel(channel)->stale && !batch_is_closed(channel_context(channel)->batch))
		disconnect_record(channel, how, code);
}

static bool message_expected(const struct channel *channel)
{
	return !run_channel(channel)->run_started;
}

static bool keeps_replies(const struct channel *channel)
{
	return !run_channel(channel)->stale;
}

static const struct run_claim *claim_of(const struct channel *channel)
{
	return &run_channel(channel)->claim;
}

static const struct scrubber *scrubber_of(const struct channel *channel)
{
	return run_channel(channel)->plan->scrub;
}

const struct channel_kind run_kind = {
	.topic = "run:",
	.size = sizeof(struct run_channel),
	.end = end_channel,
	.on_activity = on_activity,
	.on_left = on_left,
	.on_disconnect = on_disconnect,
	.message_expected = message_expected,
	.keeps_replies = keeps_replies,
	.claim = claim_of,
	.scrubber = scrubber_of,
};

/* ---- the join ---- */

static bool claim_uuid(json_t *claims, const char *name, struct uuid *out)
{
	return uuid_parse(slice_of(json_string_value(json_object_get(claims, name))), out);
}

static bool claims_times(json_t *claims)
{
	return json_is_number(json_object_get(claims, "iat")) &&
	       json_is_number(json_object_get(claims, "nbf")) &&
	       json_is_number(json_object_get(claims, "exp"));
}

/* Takes the channel's identity from the token; false if it is not valid for this topic. */
static bool read_token(
	const struct channel *channel, const struct keyring *keys, struct slice token)
{
	struct run_claim *claim = &run_channel(channel)->claim;
	const char *why, *iss, *sub;
	json_t *claims = keyring_verify_run(keys, token, &why), *epoch;
	char id[UUID_TEXT];
	bool fine;

	if (claims == NULL)
		return false;
	iss = json_string_value(json_object_get(claims, "iss"));
	sub = json_string_value(json_object_get(claims, "sub"));
	epoch = json_object_get(claims, "epoch");
	fine = iss != NULL && strcmp(iss, "Lightning") == 0 && sub != NULL &&
	       strcmp(sub, channel_topic(channel)) == 0 && json_is_integer(epoch) &&
	       json_integer_value(epoch) >= 0 && json_integer_value(epoch) <= INT_MAX &&
	       claims_times(claims) && claim_uuid(claims, "claim", &claim->claim) &&
	       claim_uuid(claims, "id", &claim->run_id) &&
	       strcmp(uuid_format(&claim->run_id, id), sub + strlen("run:")) == 0 &&
	       claim_uuid(claims, "project_id", &claim->project_id) &&
	       claim_uuid(claims, "work_order_id", &claim->work_order_id);
	if (fine)
		claim->epoch = (int)json_integer_value(epoch);
	json_decref(claims);
	return fine;
}

static void check_join(struct request *request)
{
	const struct context *context = request_context(request);
	struct value token = { 0 }, *v;
	bool fine = field_text(request_member(request, "token"), &token) &&
		    read_token(request_channel(request), context->keyring,
			    (struct slice){ token.p, (size_t)token.n });

	value_clear(&token);
	if (!fine) {
		channel_refuse_join(request, "unauthorized");
		return;
	}
	request_alloc_params(request, 1);
	v = bind_late_policy(request, bind_claim(request, request_values(request)));
	value_bigint(v++, context->conf->lease * 1000);
	value_bigint(v++, CREDENTIAL_MAX + CRYPTO_OVERHEAD);
	value_bigint(v, SCRUB_MAX);
	request_submit(request);
}

static char *render_options(const PGresult *res, int row, bool saves)
{
	json_t *options = json_loads(PQgetvalue(res, row, RUN_JOIN_OUT_OPTIONS), 0, NULL);
	char *text;

	if (options == NULL)
		options = json_object();
	json_object_set_new(options, "output_dataclips", json_boolean(saves));
	if (!PQgetisnull(res, row, RUN_JOIN_OUT_RUN_TIMEOUT_MS))
		json_object_set_new(options, "run_timeout_ms",
			json_integer(atoi(PQgetvalue(res, row, RUN_JOIN_OUT_RUN_TIMEOUT_MS))));
	text = json_dumps(options, JSON_COMPACT);
	json_decref(options);
	return text;
}

/* What the runs of one snapshot have in common; for a worker whose claim is over a plan without
 * jobs, which ends the run in it at once. */
static void get_cached_plan(struct request *request, const PGresult *res, int row)
{
	struct run_channel *run = run_channel(request_channel(request));
	char *options = render_options(res, row, run->save_dataclips);
	const char *body = PQgetvalue(res, row, RUN_JOIN_OUT_BODY);
	struct slice credentials = { 0 };
	struct buf b = { 0 };

	buf_adds(&b, "\"name\":");
	buf_add_json(&b, slice_of(PQgetvalue(res, row, RUN_JOIN_OUT_NAME)));
	buf_addc(&b, ',');
	if (run->stale)
		buf_adds(&b, "\"triggers\":[],\"jobs\":[],\"edges\":[]");
	else /* the snapshot's members, without its braces */
		buf_add(&b, body + 1, strlen(body) - 2);
	buf_addf(&b, ",\"options\":%s", options);
	if (!PQgetisnull(res, row, RUN_JOIN_OUT_CREDENTIALS))
		credentials = slice_of(PQgetvalue(res, row, RUN_JOIN_OUT_CREDENTIALS));
	run->plan = plan_cache_get(request_context(request)->loop,
		request_context(request)->keyring, (struct slice){ b.p, b.n }, credentials);
	buf_free(&b);
	free(options);
}

/* A join that waits for its snapshot. */
struct joining {
	struct request *request;
	struct plan_cache_wait wait;
};

/* The worker may have gone meanwhile. */
static void on_cached_plan(struct plan_cache_wait *wait)
{
	struct request *request = container_of(wait, struct joining, wait)->request;

	if (request_has_client(request))
		channel_accept_join(request, slice_of("{}"));
	else
		request_client_gone(request);
}

/* For a worker that joined before, has not started and has said nothing yet: the plan is its first
 * question, so that nothing else is open. If all that it said after the plan was lost on its way,
 * its first log lines are answered by this, which says that they are not stored. */
static void answer_lost_plan(const struct request *request)
{
	struct buf b = { 0 };

	buf_addc(&b, '{');
	plan_add(run_channel(request_channel(request)), &b);
	buf_adds(&b, ",\"warnings\":{\"message\":[\"could not be stored: lost\"]}}");
	resend_answer_below(request, (struct slice){ b.p, b.n }, "plan");
	buf_free(&b);
}

static void reply_join(struct request *request, const struct batch_result *r)
{
	struct joining *joining;
	const char *verdict = PQgetvalue(r->res, r->first, RUN_JOIN_OUT_VERDICT);
	struct run_channel *run = run_channel(request_channel(request));

	if (strcmp(verdict, "superseded") == 0) {
		channel_refuse_join(request, verdict);
		return;
	}
	run->stale = strcmp(verdict, "stale") == 0;
	run->run_started = run->stale ||
			   strcmp(PQgetvalue(r->res, r->first, RUN_JOIN_OUT_STATE), "claimed") != 0;
	run->joins = atoi(PQgetvalue(r->res, r->first, RUN_JOIN_OUT_JOINS));
	run->lease_renewed_at = mono_ms();
	run->save_dataclips = PQgetvalue(r->res, r->first, RUN_JOIN_OUT_SAVE_DATACLIPS)[0] == 't';
	if (!uuid_parse(slice_of(PQgetvalue(r->res, r->first, RUN_JOIN_OUT_STARTING_ID)),
		    &run->starting_id))
		fatalx("phx_join: the database answered no ids");
	run->has_dataclip =
		!run->stale &&
		uuid_parse(slice_of(PQgetvalue(r->res, r->first, RUN_JOIN_OUT_DATACLIP_ID)),
			&run->dataclip_id);
	get_cached_plan(request, r->res, r->first);
	if (PQgetvalue(r->res, r->first, RUN_JOIN_OUT_OVER_LIMIT)[0] == 't')
		metrics_add(metrics_series(METRIC_MESSAGE_OUTCOMES,
				    "event=\"phx_join\",outcome=\"over_limit\",policy=\"yield\""),
			1);
	if (PQgetvalue(r->res, r->first, RUN_JOIN_OUT_UNPLANNED)[0] == 't' &&
		!resend_has_asked(request_channel(request)))
		answer_lost_plan(request);
	joining = xcalloc(1, sizeof(*joining));
	*joining = (struct joining){ .request = request, .wait.ready = on_cached_plan };
	request_set_data(request, joining, NULL);
	if (plan_cache_await(run->plan, &joining->wait))
		channel_accept_join(request, slice_of("{}"));
}

/* A refused first join loses the run silently; a closed socket comes back. */
static void join_failed(struct request *request, const char *code)
{
	if (strcmp(code, "unavailable") == 0 || strcmp(code, "busy") == 0)
		reply_by_closing(request, 1012);
	else
		channel_refuse_join(request, "unauthorized");
}

/* ---- run:start ---- */

static const struct field start_fields[] = {
	{ "timestamp", FIELD_TIME },
	{ "versions", FIELD_RAW, .limit = 4096 },
};

static void reply_start(struct request *request, const struct batch_result *r)
{
	run_channel_started(request_channel(request));
	if (!reply_if_refused(request, r))
		reply_ok_with(request, "");
}

/* ---- run:complete ---- */

static const struct field complete_fields[] = {
	{ "timestamp", FIELD_TIME },
	{ "reason", FIELD_TEXT, .missing = "can't be blank", .bad = "is invalid", .code = "invalid",
		.as = "state" },
	{ "error_type", FIELD_TEXT, .scrub = true },
	{ "error_message", FIELD_TEXT, .scrub = true, .limit = 8192 },
	{ "final_dataclip_id", FIELD_UUID, .unknown = true },
};

/* The final state as it is stored: always an object, and without `configuration`, where workers
 * keep credentials. */
static const char *read_final_state(struct slice state, struct buf *out)
{
	struct slice cursor = state, key, value;
	const char *comma = "";

	if (jscan_type(state) <= JSCAN_NULL)
		return "can't be blank";
	buf_addc(out, '{');
	if (jscan_type(state) != JSCAN_OBJECT) {
		buf_adds(out, "\"value\":");
		buf_add(out, state.p, state.n);
	}
	while (jscan_next(&cursor, &key, &value) && jscan_type(state) == JSCAN_OBJECT) {
		if (jscan_equals(key, "configuration"))
			continue;
		buf_adds(out, comma);
		buf_add(out, key.p, key.n);
		buf_addc(out, ':');
		buf_add(out, value.p, value.n);
		comma = ",";
	}
	buf_addc(out, '}');
	return NULL;
}

static void check_complete(struct request *request)
{
	struct value *rest = bind_common(request), *v = request_values(request);
	struct uuid state_id = uuid_new();
	const char *state, *why = NULL;

	if (!bind_fields(request, rest))
		return;
	state = fsm_state_of_reason((struct slice){
		v[RUN_COMPLETE_IN_NEW_STATE].p, (size_t)v[RUN_COMPLETE_IN_NEW_STATE].n });
	if (state == NULL) {
		reply_error_journaled(
			request, &(struct error_reply){ "state", "is invalid", "invalid" });
		return;
	}
	request_set_target_state(request, state);
	value_clear(&v[RUN_COMPLETE_IN_NEW_STATE]);
	value_text(&v[RUN_COMPLETE_IN_NEW_STATE], slice_of(state));
	value_uuid(&v[RUN_COMPLETE_IN_STATE_ID], &state_id);
	value_bool(&v[RUN_COMPLETE_IN_STORED], false);
	if (run_channel(request_channel(request))->save_dataclips)
		why = request_content(
			request, &v[RUN_COMPLETE_IN_FINAL_STATE]); /* there need be none */
	if (why != NULL && request_is_truncated(request))
		reply_add_warning(request, "final_state", why);
	request_submit_with_body(request, NULL, &v[RUN_COMPLETE_IN_STATE_ID],
		&v[RUN_COMPLETE_IN_FINAL_STATE], &v[RUN_COMPLETE_IN_STORED], "final_state");
}

static void reply_complete(struct request *request, const struct batch_result *r)
{
	run_channel_started(request_channel(request));
	if (reply_if_refused(request, r))
		return;
	if (PQgetvalue(r->res, r->first, RUN_COMPLETE_OUT_CLIP_MISSING)[0] == 't')
		reply_add_warning(request, "final_dataclip_id", "does not exist");
	reply_ok_with(request, "");
}

const struct route run_routes[] = {
	{
		.topic = "run:",
		.event = "phx_join",
		.stmt = "run_join",
		.locks = true,
		.check = check_join,
		.reply = reply_join,
		.failed = join_failed,
	},
	{
		.topic = "run:",
		.event = "run:start",
		.stmt = "run_start",
		.locks = true,
		.settles = true,
		.fields = start_fields,
		.nfields = countof(start_fields),
		.reply = reply_start,
	},
	{
		.topic = "run:",
		.event = "run:complete",
		.stmt = "run_complete",
		.content = "final_state",
		.read_content = read_final_state,
		.locks = true,
		.settles = true,
		.accepts_truncated = true,
		.check = check_complete,
		.fields = complete_fields,
		.nfields = countof(complete_fields),
		.reply = reply_complete,
	},
	ROUTES_END,
};

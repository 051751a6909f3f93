/*
 * Replies. Invariant: what answers a request also counts it and frees it; the bytes of a reply
 * are made here and nowhere else.
 */
#include "channel_private.h"

#include "core/fsm.h"
#include "sql_columns.h"

#include <assert.h>
#include <stdlib.h>

static void send_reply(struct request *request, bool ok, struct slice response)
{
	struct buf b = { 0 };

	undelivered_keep(request, ok, false, response);
	if (request->session == NULL || request->session->peer == NULL)
		return;
	ws_reserve_header(&b);
	phx_reply(&b, request->frame.join_ref, request->frame.ref, request->frame.topic, ok,
		response);
	ws_send(request->session->peer, &b, false);
}

static void count(struct request *request, const char *code)
{
	if (code != NULL || request->stats != NULL)
		request_log_outcome(request, code != NULL ? code : "ok");
	if (request->stats == NULL)
		return;
	if (code == NULL)
		metrics_add(request->stats->ok, 1);
	else
		metrics_add(metrics_seriesf(METRIC_MESSAGES, "event=\"%s\",outcome=\"%s\"",
				    request->route->event, code),
			1);
	metrics_observe(request->stats->seconds, (double)(now_us() - request->received) / 1e6);
}

void reply_ok(struct request *request, struct slice response)
{
	send_reply(request, true, response);
	count(request, NULL);
	request_free(request);
}

static const char *event_of(const struct request *request)
{
	return request->route != NULL ? request->route->event : "";
}

void reply_error(struct request *request, const struct error_reply *why)
{
	struct buf b = { 0 };

	error_reply_render(&b, event_of(request), why);
	send_reply(request, false, (struct slice){ b.p, b.n });
	buf_free(&b);
	count(request, why->code);
	if (request->session != NULL && strcmp(why->code, "unavailable") != 0 &&
		strcmp(why->code, "busy") != 0)
		backpressure_refused(request->session);
	request_free(request);
}

void reply_error_code(struct request *request, const char *code, const char *state)
{
	const char *event = event_of(request);
	struct error_reply why;

	if (!error_reply_of_code(event, code, &why))
		fatalx("no refusal for code %s of %s", code, event);
	why.state = state;
	why.target_state = request->target_state != NULL ? request->target_state : "started";
	reply_error(request, &why);
}

void reply_add_warning(struct request *request, const char *field, const char *message)
{
	request_log_warning(request, field, message);
	if (request->warnings.n > 0)
		buf_addc(&request->warnings, ',');
	buf_add_json(&request->warnings, slice_of(field));
	buf_adds(&request->warnings, ":[");
	buf_add_json(&request->warnings, slice_of(message));
	buf_addc(&request->warnings, ']');
}

void reply_ok_with(struct request *request, const char *members)
{
	struct buf b = { 0 };

	buf_addf(&b, "{%s", members);
	if (request->warnings.n > 0)
		buf_addf(&b, "%s\"warnings\":{%s}", *members != '\0' ? "," : "",
			request->warnings.p);
	buf_addc(&b, '}');
	reply_ok(request, (struct slice){ b.p, b.n });
	buf_free(&b);
}

bool reply_binary_begin(struct request *request, struct buf *out)
{
	ws_reserve_header(out);
	if (phx_binary_head(
		    out, request->frame.join_ref, request->frame.ref, request->frame.topic)) {
		request->body_at = out->n;
		return true;
	}
	buf_free(out);
	return false;
}

void reply_binary(struct request *request, struct buf *head_and_body)
{
	undelivered_keep(request, true, true,
		(struct slice){
			head_and_body->p + request->body_at, head_and_body->n - request->body_at });
	if (request->session != NULL && request->session->peer != NULL)
		ws_send(request->session->peer, head_and_body, true);
	else
		buf_free(head_and_body);
	count(request, NULL);
	request_free(request);
}

void reply_by_closing(struct request *request, int code)
{
	struct session *session = request->session;

	count(request, "closed");
	request_free(request);
	if (session != NULL)
		session_close(session, code);
}

/* The columns of sql/fragments/reply_columns.sql: ord, verdict, state, policy, late, lost_at. A run
 * that does not exist has no state, and no row in the journal either. */
void count_message_outcome(const struct request *request, const struct batch_result *res)
{
	const char *event = request->route->event, *verdict, *policy;

	assert(res->rows == 1);
	if (PQgetisnull(res->res, res->first, REPLY_OUT_STATE))
		return;
	verdict = PQgetvalue(res->res, res->first, REPLY_OUT_VERDICT);
	policy = PQgetvalue(res->res, res->first, REPLY_OUT_POLICY);
	if (request->target_state != NULL && fsm_is_outcome(verdict) &&
		strcmp(verdict, "replayed") != 0 && strcmp(verdict, "too_late") != 0)
		metrics_add(metrics_seriesf(
				    METRIC_FINISHED_RUNS, "state=\"%s\"", request->target_state),
			1);
	if (strcmp(verdict, "accepted") == 0 || strcmp(verdict, "joined") == 0)
		return;
	request_log_verdict(request, verdict);
	metrics_add(metrics_seriesf(METRIC_MESSAGE_OUTCOMES,
			    "event=\"%s\",outcome=\"%s\",policy=\"%s\"", event, verdict, policy),
		1);
	if (PQgetisnull(res->res, res->first, REPLY_OUT_LATE))
		return;
	metrics_observe(metrics_series(METRIC_LATE_MESSAGE_SECONDS, NULL),
		atof(PQgetvalue(res->res, res->first, REPLY_OUT_LATE)));
	if (strcmp(event, "run:complete") == 0)
		metrics_add(metrics_seriesf(METRIC_LATE_COMPLETIONS, "policy=\"%s\"", policy), 1);
}

bool reply_if_refused(struct request *request, const struct batch_result *res)
{
	const char *verdict, *state;

	assert(res->rows == 1);
	verdict = PQgetvalue(res->res, res->first, REPLY_OUT_VERDICT);
	state = PQgetisnull(res->res, res->first, REPLY_OUT_STATE)
			? NULL
			: PQgetvalue(res->res, res->first, REPLY_OUT_STATE);
	if (strcmp(verdict, "accepted") == 0)
		return false;
	if (strcmp(verdict, "too_late") == 0) {
		struct buf b = { 0 };

		buf_addf(&b,
			"{\"outcome\":\"too_late\",\"state\":\"%s\",\"lost_at\":\"%s\",\"policy\":"
			"\"%s\"}",
			state, PQgetvalue(res->res, res->first, REPLY_OUT_LOST_AT),
			PQgetvalue(res->res, res->first, REPLY_OUT_POLICY));
		reply_ok(request, (struct slice){ b.p, b.n });
		buf_free(&b);
		return true;
	}
	if (fsm_is_outcome(verdict))
		return false;
	/* A worker whose claim is over learns nothing of what became of the run. */
	reply_error_code(request, verdict, strcmp(verdict, "superseded") == 0 ? NULL : state);
	return true;
}

void reply_joined(struct request *request, struct slice response)
{
	struct channel *channel = request->channel;

	channel->joined = true;
	if (channel_is_run(channel))
		metrics_add(metrics_series(METRIC_CHANNELS, NULL), 1);
	reply_ok(request, response);
	if (channel->kind->keeps_replies != NULL && channel->kind->keeps_replies(channel))
		undelivered_join(channel);
	channel_dispatch_pending(channel);
}

void reply_join_error(struct request *request, const char *code)
{
	struct channel *channel = request->channel;

	reply_error_code(request, code, NULL);
	if (channel != NULL)
		channel_free(channel);
}

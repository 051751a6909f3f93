/*
 * Replies. Invariant: what answers a request also counts it and frees it; the bytes of a reply are
 * made here and nowhere else.
 */
#include "reply_private.h"

#include "request_log.h"
#include "request_private.h"
#include "resend_private.h"
#include "route_table.h"
#include "session_private.h"

#include "core/fsm.h"
#include "lib/metrics.h"
#include "sql_columns.h"

#include <assert.h>
#include <stdlib.h>

/* While it is being made. */
struct reply {
	struct buf warnings;    /* members of its object "warnings", so far */
	size_t body_at;         /* where the body of a binary one begins */
	struct error_reply why; /* what reply_error_journaled says */
};

struct reply *reply_new(void)
{
	return xcalloc(1, sizeof(struct reply));
}

void reply_free(struct reply *reply)
{
	buf_free(&reply->warnings);
	free(reply);
}

/* ---- any reply ---- */

static void send_reply(struct request *request, bool ok, struct slice response)
{
	const struct phx_frame *frame = request_frame(request);
	struct session *session = request_session(request);
	struct buf b = { 0 };

	undelivered_keep(request_undelivered(request), request, ok, false, response);
	if (session == NULL)
		return;
	ws_reserve_header(&b);
	phx_reply(&b, frame->join_ref, frame->ref, frame->topic, ok, response);
	session_send(session, &b, false);
}

/* A message without a route is only logged, and only if it is refused. */
static void count(const struct request *request, const char *outcome)
{
	const struct route *route = request_route(request);

	if (route != NULL || strcmp(outcome, "ok") != 0)
		request_log_outcome(request, outcome);
	if (route != NULL)
		route_table_count(request_routes(request), route, outcome,
			(double)(now_us() - request_received(request)) / 1e6);
}

static const char *event_of(const struct request *request)
{
	return request_route(request) != NULL ? request_route(request)->event : "";
}

void reply_by_closing(struct request *request, int code)
{
	struct session *session = request_session(request);

	count(request, "closed");
	request_free(request);
	if (session != NULL)
		session_close(session, code);
}

/* ---- ok ---- */

void reply_ok(struct request *request, struct slice response)
{
	send_reply(request, true, response);
	count(request, "ok");
	request_free(request);
}

void reply_add_warning(struct request *request, const char *field, const char *message)
{
	struct buf *warnings = &request_reply(request)->warnings;

	request_log_warning(request, field, message);
	if (warnings->n > 0)
		buf_addc(warnings, ',');
	buf_add_json(warnings, slice_of(field));
	buf_adds(warnings, ":[");
	buf_add_json(warnings, slice_of(message));
	buf_addc(warnings, ']');
}

static void add_warnings(const struct reply *reply, struct buf *out)
{
	buf_addf(out, "\"warnings\":{%s}", reply->warnings.p);
}

void reply_describe_warnings(const struct reply *reply, struct buf *out)
{
	if (reply->warnings.n == 0)
		return;
	buf_addc(out, '{');
	add_warnings(reply, out);
	buf_addc(out, '}');
}

void reply_ok_with(struct request *request, const char *members)
{
	const struct reply *reply = request_reply(request);
	struct buf b = { 0 };

	buf_addf(&b, "{%s", members);
	if (reply->warnings.n > 0) {
		buf_adds(&b, *members != '\0' ? "," : "");
		add_warnings(reply, &b);
	}
	buf_addc(&b, '}');
	reply_ok(request, (struct slice){ b.p, b.n });
	buf_free(&b);
}

bool reply_binary_begin(struct request *request, struct buf *out)
{
	const struct phx_frame *frame = request_frame(request);

	ws_reserve_header(out);
	if (phx_binary_head(out, frame->join_ref, frame->ref, frame->topic)) {
		request_reply(request)->body_at = out->n;
		return true;
	}
	buf_free(out);
	return false;
}

void reply_binary(struct request *request, struct buf *head_and_body)
{
	size_t at = request_reply(request)->body_at;
	struct slice body = { head_and_body->p + at, head_and_body->n - at };

	undelivered_keep(request_undelivered(request), request, true, true, body);
	if (request_session(request) != NULL)
		session_send(request_session(request), head_and_body, true);
	else
		buf_free(head_and_body);
	count(request, "ok");
	request_free(request);
}

/* ---- errors ---- */

void reply_error(struct request *request, const struct error_reply *why)
{
	struct buf b = { 0 };

	error_reply_render(&b, event_of(request), why);
	send_reply(request, false, (struct slice){ b.p, b.n });
	buf_free(&b);
	count(request, why->code);
	if (request_session(request) != NULL && strcmp(why->code, "unavailable") != 0 &&
		strcmp(why->code, "busy") != 0)
		session_refused(request_session(request));
	request_free(request);
}

void reply_error_code(struct request *request, const char *code, const char *state)
{
	const char *event = event_of(request), *target_state = request_target_state(request);
	struct error_reply why;

	if (!error_reply_of_code(event, code, &why))
		fatalx("no error reply for code %s of %s", code, event);
	why.state = state;
	why.target_state = target_state != NULL ? target_state : "started";
	reply_error(request, &why);
}

static void on_journaled(struct batch_item *item, const struct batch_result *res)
{
	struct request *request = request_of_item(item);
	struct error_reply *why = &request_reply(request)->why;

	if (res->status == BATCH_DONE)
		reply_count_verdict(request, res);
	if (request_is_abandoned(request)) {
		request_free(request);
		return;
	}
	if (res->status == BATCH_DONE) {
		const char *verdict = PQgetvalue(res->res, res->first, REPLY_OUT_VERDICT);

		if (strcmp(verdict, why->code) != 0 && reply_if_refused(request, res))
			return;
		if (!PQgetisnull(res->res, res->first, REPLY_OUT_STATE))
			why->state = PQgetvalue(res->res, res->first, REPLY_OUT_STATE);
	}
	reply_error(request, why);
}

void reply_error_journaled(struct request *request, const struct error_reply *why)
{
	struct value *v = request_alloc_for(request, "journal_refused", on_journaled);

	request_reply(request)->why = *why;
	v = bind_late_policy(request, bind_claim(request, v));
	value_text(v++, slice_of(request_route(request)->event));
	value_text(v++, slice_of(why->code));
	bind_journal_message(request, v);
	request_submit(request);
}

/* ---- by verdict ---- */

/* A run that does not exist has no state, and no row in the journal either. */
void reply_count_verdict(const struct request *request, const struct batch_result *res)
{
	const char *event = event_of(request), *target_state = request_target_state(request);
	const char *verdict, *policy;

	assert(res->rows == 1);
	if (PQgetisnull(res->res, res->first, REPLY_OUT_STATE))
		return;
	verdict = PQgetvalue(res->res, res->first, REPLY_OUT_VERDICT);
	policy = PQgetvalue(res->res, res->first, REPLY_OUT_POLICY);
	if (target_state != NULL && fsm_is_outcome(verdict) && strcmp(verdict, "replayed") != 0 &&
		strcmp(verdict, "too_late") != 0)
		metrics_add(metrics_seriesf(METRIC_FINISHED_RUNS, "state=\"%s\"", target_state), 1);
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

static void reply_too_late(
	struct request *request, const struct batch_result *res, const char *state)
{
	struct buf b = { 0 };

	buf_addf(&b,
		"{\"outcome\":\"too_late\",\"state\":\"%s\",\"lost_at\":\"%s\",\"policy\":\"%s\"}",
		state, PQgetvalue(res->res, res->first, REPLY_OUT_LOST_AT),
		PQgetvalue(res->res, res->first, REPLY_OUT_POLICY));
	reply_ok(request, (struct slice){ b.p, b.n });
	buf_free(&b);
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
		reply_too_late(request, res, state);
		return true;
	}
	if (fsm_is_outcome(verdict))
		return false;
	/* A worker whose claim is over learns nothing of what became of the run. */
	reply_error_code(request, verdict, strcmp(verdict, "superseded") == 0 ? NULL : state);
	return true;
}

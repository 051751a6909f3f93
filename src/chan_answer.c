/*
 * Replies. Invariant: whoever answers a request also counts it and frees it; the bytes of a reply
 * are made here and nowhere else.
 */
#include "chan_private.h"

#include "fsm.h"

#include <assert.h>
#include <stdlib.h>

static void send_reply(struct req *req, bool ok, struct slice response)
{
	struct buf b = { 0 };

	undelivered_keep(req, ok, false, response);
	if (req->conn == NULL || req->conn->peer == NULL)
		return;
	ws_begin(&b);
	phx_reply(&b, req->frame.join_ref, req->frame.ref, req->frame.topic, ok, response);
	ws_send(req->conn->peer, &b, false);
}

static void count(struct req *req, const char *code)
{
	if (code != NULL || req->stats != NULL)
		req_note(req, code != NULL ? code : "ok");
	if (req->stats == NULL)
		return;
	if (code == NULL)
		stats_add(req->stats->ok, 1);
	else
		stats_add(stats_seriesf(STATS_MESSAGES, "event=\"%s\",outcome=\"%s\"",
				  req->route->event, code),
			1);
	stats_observe(req->stats->seconds, (double)(now_us() - req->received) / 1e6);
}

void req_ok(struct req *req, struct slice response)
{
	send_reply(req, true, response);
	count(req, NULL);
	req_free(req);
}

static const char *event_of(const struct req *req)
{
	return req->route != NULL ? req->route->event : "";
}

void req_refuse(struct req *req, const struct refusal *why)
{
	struct buf b = { 0 };

	refuse_render(&b, event_of(req), why);
	send_reply(req, false, (struct slice){ b.p, b.n });
	buf_free(&b);
	count(req, why->code);
	if (req->conn != NULL && strcmp(why->code, "unavailable") != 0 &&
		strcmp(why->code, "busy") != 0)
		chan_flow_refused(req->conn);
	req_free(req);
}

void req_refuse_code(struct req *req, const char *code, const char *state)
{
	const char *event = event_of(req);
	struct refusal why;

	if (!refuse_of_code(event, code, &why))
		fatalx("no refusal for code %s of %s", code, event);
	why.state = state;
	why.wanted = req->wanted != NULL ? req->wanted : "started";
	req_refuse(req, &why);
}

void req_warn(struct req *req, const char *field, const char *message)
{
	req_note_warning(req, field, message);
	if (req->warnings.n > 0)
		buf_addc(&req->warnings, ',');
	buf_add_json(&req->warnings, slice_of(field));
	buf_adds(&req->warnings, ":[");
	buf_add_json(&req->warnings, slice_of(message));
	buf_addc(&req->warnings, ']');
}

void req_ok_with(struct req *req, const char *members)
{
	struct buf b = { 0 };

	buf_addf(&b, "{%s", members);
	if (req->warnings.n > 0)
		buf_addf(&b, "%s\"warnings\":{%s}", *members != '\0' ? "," : "", req->warnings.p);
	buf_addc(&b, '}');
	req_ok(req, (struct slice){ b.p, b.n });
	buf_free(&b);
}

bool req_binary_begin(struct req *req, struct buf *out)
{
	ws_begin(out);
	if (phx_binary_head(out, req->frame.join_ref, req->frame.ref, req->frame.topic)) {
		req->body_at = out->n;
		return true;
	}
	buf_free(out);
	return false;
}

void req_binary(struct req *req, struct buf *head_and_body)
{
	undelivered_keep(req, true, true,
		(struct slice){ head_and_body->p + req->body_at, head_and_body->n - req->body_at });
	if (req->conn != NULL && req->conn->peer != NULL)
		ws_send(req->conn->peer, head_and_body, true);
	else
		buf_free(head_and_body);
	count(req, NULL);
	req_free(req);
}

void req_close_socket(struct req *req, int code)
{
	struct chan_conn *conn = req->conn;

	count(req, "closed");
	req_free(req);
	if (conn != NULL)
		chan_close(conn, code);
}

/* The columns of sql/fragments/answer.sql: ord, verdict, state, policy, late, lost_at. A run that
 * does not exist has no state, and no row in the journal either. */
void req_count(const struct req *req, const struct batch_result *res)
{
	const char *event = req->route->event, *verdict, *policy;

	assert(res->rows == 1);
	if (PQgetisnull(res->res, res->first, 2))
		return;
	verdict = PQgetvalue(res->res, res->first, 1);
	policy = PQgetvalue(res->res, res->first, 3);
	if (req->wanted != NULL && fsm_is_outcome(verdict) && strcmp(verdict, "replayed") != 0 &&
		strcmp(verdict, "too_late") != 0)
		stats_add(stats_seriesf(STATS_FINISHED, "state=\"%s\"", req->wanted), 1);
	if (strcmp(verdict, "accepted") == 0 || strcmp(verdict, "joined") == 0)
		return;
	req_note_verdict(req, verdict);
	stats_add(stats_seriesf(STATS_RACE, "event=\"%s\",outcome=\"%s\",policy=\"%s\"", event,
			  verdict, policy),
		1);
	if (PQgetisnull(res->res, res->first, 4))
		return;
	stats_observe(
		stats_series(STATS_LATE_SECONDS, NULL), atof(PQgetvalue(res->res, res->first, 4)));
	if (strcmp(event, "run:complete") == 0)
		stats_add(stats_seriesf(STATS_LOST_COMPLETED, "policy=\"%s\"", policy), 1);
}

bool req_refused(struct req *req, const struct batch_result *res)
{
	const char *verdict, *state;

	assert(res->rows == 1);
	verdict = PQgetvalue(res->res, res->first, 1);
	state = PQgetisnull(res->res, res->first, 2) ? NULL : PQgetvalue(res->res, res->first, 2);
	if (strcmp(verdict, "accepted") == 0)
		return false;
	if (strcmp(verdict, "too_late") == 0) {
		struct buf b = { 0 };

		buf_addf(&b,
			"{\"outcome\":\"too_late\",\"state\":\"%s\",\"lost_at\":\"%s\",\"policy\":"
			"\"%s\"}",
			state, PQgetvalue(res->res, res->first, 5),
			PQgetvalue(res->res, res->first, 3));
		req_ok(req, (struct slice){ b.p, b.n });
		buf_free(&b);
		return true;
	}
	if (fsm_is_outcome(verdict))
		return false;
	/* A worker whose claim is over learns nothing of what became of the run. */
	req_refuse_code(req, verdict, strcmp(verdict, "superseded") == 0 ? NULL : state);
	return true;
}

void req_joined(struct req *req, struct slice response)
{
	struct chan *chan = req->chan;

	chan->joined = true;
	if (chan_is_run(chan))
		stats_add(stats_series(STATS_CHANNELS, NULL), 1);
	req_ok(req, response);
	if (chan_is_run(chan) && !chan->stale)
		undelivered_join(chan);
	chan_unhold(chan);
}

void req_join_refused(struct req *req, const char *code)
{
	struct chan *chan = req->chan;

	req_refuse_code(req, code, NULL);
	if (chan != NULL)
		chan_free(chan);
}

/*
 * Sockets and channels. Invariants: a topic has one channel per socket; what comes for a channel
 * while its join is being decided waits, in order; a channel that goes leaves its requests behind,
 * which end in peace.
 */
#include "chan_private.h"

#include "net.h"

#include <stdlib.h>

enum { TOLD_MS = 1000 }; /* who was told of a run has so long to ask for it */
enum { WORKER_ID_MAX = 255 };

static struct series *stat_sockets, *stat_channels;

static void count_handshake(const char *result)
{
	stats_add(stats_seriesf(STATS_HANDSHAKES, "result=\"%s\"", result), 1);
}

void chan_init(struct chan_server *server)
{
	TAILQ_INIT(&server->queues);
	TAILQ_INIT(&server->conns);
	TAILQ_INIT(&server->large);
	TAILQ_INIT(&server->slowed);
	stat_sockets = stats_series(STATS_SOCKETS, NULL);
	stat_channels = stats_series(STATS_CHANNELS, NULL);
	chan_flow_init();
	chan_resend_init();
	server->route_stats = xcalloc((size_t)server->nroutes, sizeof(*server->route_stats));
	for (int i = 0; i < server->nroutes; i++) {
		const char *event = server->routes[i].event;

		server->route_stats[i].ok =
			stats_seriesf(STATS_MESSAGES, "event=\"%s\",outcome=\"ok\"", event);
		server->route_stats[i].seconds =
			stats_seriesf(STATS_MESSAGE_SECONDS, "event=\"%s\"", event);
	}
}

/* As it may stand in a token. */
static bool is_worker_id(const char *id)
{
	return id != NULL && *id != '\0' && strlen(id) <= WORKER_ID_MAX;
}

/* The worker's id in a valid token, owned by the caller; NULL if the token does not let anybody on.
 */
static char *authenticate(const struct chan_server *server, const char *token)
{
	const char *why, *id, *iss;
	json_t *claims, *iat;
	char *worker = NULL;

	claims = keys_verify_worker(server->keys, slice_of(token), &why);
	if (claims == NULL)
		return NULL;
	id = json_string_value(json_object_get(claims, "worker_id"));
	iss = json_string_value(json_object_get(claims, "iss"));
	iat = json_object_get(claims, "iat");
	if (is_worker_id(id) && iss != NULL && strcmp(iss, "urn:openfn:worker") == 0 &&
		json_is_number(iat))
		worker = xstrdup(id);
	json_decref(claims);
	return worker;
}

static int connections_from(const struct chan_server *server, const char *address)
{
	const struct chan_conn *c;
	int n = 0;

	TAILQ_FOREACH (c, &server->conns, entry)
		n += strcmp(c->address, address) == 0;
	return n;
}

/* Behind a proxy are many; who they are is known when their heads are there. */
int chan_callers(void *arg, const char *address)
{
	const struct conf *conf = ((const struct chan_server *)arg)->conf;
	bool many = address == NULL || net_list_has(conf->trusted_proxies, address);

	return (int)(many ? conf->max_callers : conf->max_callers_per_address);
}

static const char too_many[] = "too many connections";

/* 101, or the status with which the handshake is refused. */
static int judge_handshake(const struct chan_server *server, const struct ws_head *head,
	const char *vsn, const char *token, char **worker, const char **why)
{
	if (strcmp(head->path, "/worker/websocket") != 0 || !(head->serves & WS_WORKERS)) {
		*why = "workers connect to /worker/websocket";
		return 404;
	}
	if (vsn == NULL || strncmp(vsn, "2.", 2) != 0) {
		*why = "unsupported vsn: serializer 2.0.0 is what this server speaks";
		return 400;
	}
	*worker = token != NULL ? authenticate(server, token) : NULL;
	if (*worker == NULL) {
		*why = "a valid worker token is needed";
		return 401;
	}
	if (server->draining || !batch_is_up(server->batch)) {
		*why = server->draining ? "shutting down" : "the database is not available";
		return 503;
	}
	if (server->nconns >= server->conf->max_workers ||
		connections_from(server, head->address) >= server->conf->max_workers_per_address) {
		*why = too_many;
		return 503;
	}
	return 101;
}

int chan_handshake(void *arg, const struct ws_head *head, void **user, const char **why)
{
	struct chan_server *server = arg;
	char *vsn = ws_query(head, "vsn"), *token = ws_query(head, "token"), *worker = NULL;
	char *forwarded = ws_header(head, "X-Forwarded-For"), address[NET_ADDRESS];
	struct ws_head seen = *head; /* as it is without the proxies that we trust */

	net_client(server->conf->trusted_proxies, head->address, forwarded, address);
	seen.address = address;
	int status = judge_handshake(server, &seen, vsn, token, &worker, why);

	if (status == 101) {
		struct chan_conn *conn = xcalloc(1, sizeof(*conn));

		conn->server = server;
		conn->worker_id = worker;
		conn->address = xstrdup(address);
		conn->connected = conn->heard = now_us();
		TAILQ_INIT(&conn->chans);
		TAILQ_INIT(&conn->reqs);
		STAILQ_INIT(&conn->behind);
		TAILQ_INSERT_TAIL(&server->conns, conn, entry);
		server->nconns++;
		stats_add(stat_sockets, 1);
		*user = conn;
	} else {
		free(worker);
	}
	count_handshake(status == 101      ? "accepted"
			: status == 401    ? "unauthorized"
			: *why == too_many ? "busy"
			: status == 503    ? "unavailable"
					   : "bad_request");
	free(forwarded);
	free(vsn);
	free(token);
	return status;
}

void chan_open(void *user, struct ws_peer *peer)
{
	struct chan_conn *conn = user;

	conn->peer = peer;
	log_debug("worker %s connected from %s", conn->worker_id, conn->address);
}

void chan_closed(void *user)
{
	struct chan_conn *conn = user;
	struct chan_server *server = conn->server;
	struct chan *chan;
	struct req *req;

	conn->peer = NULL;
	conn->closing = true;
	while ((chan = TAILQ_FIRST(&conn->chans)) != NULL)
		chan_free(chan);
	chan_read_forget(conn);
	while ((req = TAILQ_FIRST(&conn->reqs)) != NULL) {
		TAILQ_REMOVE(&conn->reqs, req, entry);
		req->conn = NULL;
	}
	log_debug("worker %s is gone", conn->worker_id);
	TAILQ_REMOVE(&server->conns, conn, entry);
	server->nconns--;
	stats_add(stat_sockets, -1);
	chan_flow_forget(conn);
	free(conn->worker_id);
	free(conn->address);
	free(conn);
}

static struct chan *find(struct chan_conn *conn, struct slice topic)
{
	struct chan *chan;

	TAILQ_FOREACH (chan, &conn->chans, entry)
		if (slice_is(topic, chan->topic))
			return chan;
	return NULL;
}

static struct chan *create(struct chan_conn *conn, const struct phx_frame *frame)
{
	struct chan *chan = xcalloc(1, sizeof(*chan));

	chan->conn = conn;
	chan->topic = xstrndup(frame->topic.p, frame->topic.n);
	chan->join_ref = xstrndup(frame->join_ref.p, frame->join_ref.n);
	TAILQ_INIT(&chan->reqs);
	TAILQ_INIT(&chan->held);
	TAILQ_INSERT_TAIL(&conn->chans, chan, entry);
	return chan;
}

/* Its open requests go on without it; what was held for it will not be heard. */
void chan_free(struct chan *chan)
{
	struct chan_conn *conn = chan->conn;
	struct req *req;

	undelivered_part(chan, false);
	while ((req = TAILQ_FIRST(&chan->reqs)) != NULL) {
		TAILQ_REMOVE(&chan->reqs, req, entry);
		req->chan = NULL;
		TAILQ_INSERT_TAIL(&conn->reqs, req, entry);
	}
	while ((req = TAILQ_FIRST(&chan->held)) != NULL)
		req_refuse_code(req, "unmatched_topic", NULL);
	TAILQ_REMOVE(&conn->chans, chan, entry);
	if (chan->queue_entry.tqe_prev != NULL)
		TAILQ_REMOVE(&conn->server->queues, chan, queue_entry);
	if (chan_is_run(chan))
		stats_add(stat_channels, -1);
	snapshot_drop(chan->snapshot);
	free(chan->topic);
	free(chan->join_ref);
	free(chan);
}

static void send_frame(struct chan *chan, struct slice ref, const char *event, const char *payload)
{
	struct buf b = { 0 };

	if (chan->conn->peer == NULL)
		return;
	ws_begin(&b);
	phx_push(
		&b, slice_of(chan->join_ref), ref, slice_of(chan->topic), event, slice_of(payload));
	ws_send(chan->conn->peer, &b, false);
}

void chan_push(struct chan *chan, const char *event, const char *payload)
{
	send_frame(chan, (struct slice){ 0 }, event, payload);
}

/* The channel ends for good. Phoenix puts the join_ref in the place of the ref. */
static void end(struct chan *chan)
{
	send_frame(chan, slice_of(chan->join_ref), "phx_close", "{}");
	chan_free(chan);
}

const struct route *chan_route_of(
	const struct chan_server *server, struct slice topic, struct slice event)
{
	for (int i = 0; i < server->nroutes; i++) {
		const struct route *r = &server->routes[i];
		size_t n = strlen(r->topic);
		bool fits = r->topic[n - 1] == ':'
				    ? topic.n > n && memcmp(topic.p, r->topic, n) == 0
				    : slice_is(topic, r->topic);

		if (fits && slice_is(event, r->event))
			return r;
	}
	return NULL;
}

static void hold(struct req *req, struct chan *chan)
{
	TAILQ_REMOVE(&req->conn->reqs, req, entry);
	TAILQ_INSERT_TAIL(&chan->held, req, entry);
	req->chan = chan;
}

static void join(struct req *req, struct chan *old)
{
	const struct route *route = chan_route_of(req->server, req->frame.topic, req->frame.event);

	if (route == NULL || req->frame.join_ref.p == NULL ||
		slice_is(req->frame.join_ref, "null")) {
		req_refuse_code(req, "unmatched_topic", NULL);
		return;
	}
	if (old != NULL)
		end(old);
	req->chan = create(req->conn, &req->frame);
	TAILQ_REMOVE(&req->conn->reqs, req, entry);
	TAILQ_INSERT_TAIL(&req->chan->reqs, req, entry);
	req_run(req, route);
}

static void leave(struct req *req, struct chan *chan)
{
	if (chan_is_run(chan) && !chan->begun)
		req->server->left(chan);
	undelivered_part(chan, true);
	req_ok(req, slice_of("{}"));
	end(chan);
}

bool chan_is_run(const struct chan *chan)
{
	return chan->joined && chan->capacity == 0;
}

static void hear_all(struct chan_conn *conn)
{
	struct chan *chan;

	TAILQ_FOREACH (chan, &conn->chans, entry)
		if (chan_is_run(chan))
			conn->server->heard(chan);
}

int chan_runs_held(const struct chan_conn *conn)
{
	const struct chan *chan;
	int n = 0;

	TAILQ_FOREACH (chan, &conn->chans, entry)
		n += chan_is_run(chan);
	return n;
}

const struct chan *chan_queue_of(const struct chan_conn *conn)
{
	const struct chan *chan;

	TAILQ_FOREACH (chan, &conn->chans, entry)
		if (chan->capacity > 0)
			return chan;
	return NULL;
}

/* Finds out whose the request is. It is in its connection's list. */
void chan_dispatch(struct req *req)
{
	struct phx_frame *f = &req->frame;
	struct chan *chan = find(req->conn, f->topic);
	const struct route *route;

	chan_note_ref(req->conn, f->ref);
	if (slice_is(f->topic, "phoenix") && slice_is(f->event, "heartbeat")) {
		hear_all(req->conn);
		req_ok(req, slice_of("{}"));
		return;
	}
	if (chan != NULL && !chan->joined) {
		hold(req, chan);
		return;
	}
	if (slice_is(f->event, "phx_join")) {
		join(req, chan);
		return;
	}
	if (chan == NULL ||
		(!slice_is(f->join_ref, "null") && !slice_is(f->join_ref, chan->join_ref))) {
		req_refuse_code(req, "unmatched_topic", NULL);
		return;
	}
	if (slice_is(f->event, "phx_leave")) {
		leave(req, chan);
		return;
	}
	route = chan_route_of(req->server, f->topic, f->event);
	if (route == NULL) {
		req_refuse_code(req, "unknown_event", NULL);
		return;
	}
	req->chan = chan;
	TAILQ_REMOVE(&req->conn->reqs, req, entry);
	TAILQ_INSERT_TAIL(&chan->reqs, req, entry);
	if (chan_is_run(chan))
		req->server->heard(chan);
	undelivered_asked(req);
	req_run(req, route);
}

void chan_unhold(struct chan *chan)
{
	struct chan_conn *conn = chan->conn;
	struct req_list held = TAILQ_HEAD_INITIALIZER(held);
	struct req *req;

	TAILQ_CONCAT(&held, &chan->held, entry);
	while ((req = TAILQ_FIRST(&held)) != NULL) {
		TAILQ_REMOVE(&held, req, entry);
		TAILQ_INSERT_TAIL(&conn->reqs, req, entry);
		req->chan = NULL;
		chan_dispatch(req);
	}
}

void chan_close(struct chan_conn *conn, int code)
{
	if (conn->peer == NULL || conn->closing)
		return;
	conn->closing = true;
	ws_close(conn->peer, code);
}

bool chan_has_capacity(const struct chan *queue)
{
	return !queue->conn->closing && chan_runs_held(queue->conn) < queue->capacity;
}

bool chan_claims_soon(const struct chan *queue)
{
	return queue->told != 0 && mono_ms() - queue->told < TOLD_MS;
}

void chan_tell(struct chan *queue)
{
	chan_push(queue, "work-available", "{}");
	queue->told = mono_ms();
}

void chan_drain(struct chan_server *server)
{
	struct chan *queue;

	server->draining = true;
	TAILQ_FOREACH (queue, &server->queues, queue_entry)
		if (chan_has_capacity(queue))
			chan_tell(queue);
}

/* Will the worker say something soon, although it is silent and has every answer? */
static bool is_expected(const struct chan_conn *conn)
{
	const struct chan *chan;

	TAILQ_FOREACH (chan, &conn->chans, entry)
		if (chan_is_run(chan) ? !chan->begun
				      : chan_has_capacity(chan) && chan_claims_soon(chan))
			return true;
	return false;
}

void chan_close_quiet(struct chan_server *server, int64_t ms)
{
	struct chan_conn *conn;

	TAILQ_FOREACH (conn, &server->conns, entry)
		if (conn->peer != NULL && conn->open_reqs == 0 && ws_quiet(conn->peer) >= ms &&
			(ms == 0 || !is_expected(conn)))
			chan_close(conn, 1001);
}

void chan_close_all(struct chan_server *server, int code)
{
	struct chan_conn *conn;

	TAILQ_FOREACH (conn, &server->conns, entry)
		chan_close(conn, code);
}

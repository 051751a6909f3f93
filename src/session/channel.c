/*
 * Sockets and channels. Invariants: a topic has one channel per socket; what comes for a channel
 * while its join is being decided waits, in order; a channel that goes leaves its requests behind,
 * which end in peace.
 */
#include "channel_private.h"

#include "lib/net.h"

#include <stdlib.h>

enum { WORKER_ID_MAX = 255 };

static struct series *stat_sockets, *stat_channels;

static void count_handshake(const char *result)
{
	metrics_add(metrics_seriesf(METRIC_HANDSHAKES, "result=\"%s\"", result), 1);
}

void channel_init(struct server *server)
{
	TAILQ_INIT(&server->conns);
	TAILQ_INIT(&server->large);
	TAILQ_INIT(&server->fetching);
	TAILQ_INIT(&server->slowed);
	stat_sockets = metrics_series(METRIC_SOCKETS, NULL);
	stat_channels = metrics_series(METRIC_CHANNELS, NULL);
	backpressure_init();
	channel_resend_init();
	server->route_stats = xcalloc((size_t)server->nroutes, sizeof(*server->route_stats));
	for (int i = 0; i < server->nroutes; i++) {
		const char *event = server->routes[i].event;

		server->route_stats[i].ok =
			metrics_seriesf(METRIC_MESSAGES, "event=\"%s\",outcome=\"ok\"", event);
		server->route_stats[i].seconds =
			metrics_seriesf(METRIC_MESSAGE_SECONDS, "event=\"%s\"", event);
	}
}

/* As it may stand in a token. */
static bool is_worker_id(const char *id)
{
	return id != NULL && *id != '\0' && strlen(id) <= WORKER_ID_MAX;
}

/* The worker's id in a valid token, owned by the caller; NULL if the token is not accepted.
 */
static char *authenticate(const struct server *server, const char *token)
{
	const char *why, *id, *iss;
	json_t *claims, *iat;
	char *worker = NULL;

	claims = keyring_verify_worker(server->keys, slice_of(token), &why);
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

static int connections_from(const struct server *server, const char *address)
{
	const struct session *c;
	int n = 0;

	TAILQ_FOREACH (c, &server->conns, entry)
		n += strcmp(c->address, address) == 0;
	return n;
}

/* Behind a proxy are many; who they are is known when their heads are there. */
int channel_callers(void *arg, const char *address)
{
	const struct conf *conf = ((const struct server *)arg)->conf;
	bool many = address == NULL || net_list_has(conf->trusted_proxies, address);

	return (int)(many ? conf->max_http_connections : conf->max_http_connections_per_address);
}

static const char too_many[] = "too many connections";

/* 101, or the status with which the handshake is refused. */
static int check_handshake(const struct server *server, const struct ws_head *head, const char *vsn,
	const char *token, char **worker, const char **why)
{
	if (strcmp(head->path, "/worker/websocket") != 0 || !(head->serves & WS_WORKERS)) {
		*why = "workers connect to /worker/websocket";
		return 404;
	}
	if (vsn == NULL || strncmp(vsn, "2.", 2) != 0) {
		*why = "unsupported vsn: this server supports serializer 2.0.0";
		return 400;
	}
	*worker = token != NULL ? authenticate(server, token) : NULL;
	if (*worker == NULL) {
		*why = "a valid worker token is required";
		return 401;
	}
	if (server->draining || !batch_is_up(server->batch)) {
		*why = server->draining ? "shutting down" : "the database is not available";
		return 503;
	}
	if (server->nsessions >= server->conf->max_workers ||
		connections_from(server, head->address) >= server->conf->max_workers_per_address) {
		*why = too_many;
		return 503;
	}
	return 101;
}

int session_handshake(void *arg, const struct ws_head *head, void **user, const char **why)
{
	struct server *server = arg;
	char *vsn = ws_query(head, "vsn"), *token = ws_query(head, "token"), *worker = NULL;
	char *forwarded = ws_header(head, "X-Forwarded-For"), address[NET_ADDRESS];
	struct ws_head seen = *head; /* as it is without the proxies that we trust */

	net_client(server->conf->trusted_proxies, head->address, forwarded, address);
	seen.address = address;
	int status = check_handshake(server, &seen, vsn, token, &worker, why);

	if (status == 101) {
		struct session *session = xcalloc(1, sizeof(*session));

		session->server = server;
		session->worker_id = worker;
		session->address = xstrdup(address);
		session->connected = session->active_at = now_us();
		TAILQ_INIT(&session->channels);
		TAILQ_INIT(&session->requests);
		STAILQ_INIT(&session->behind);
		TAILQ_INSERT_TAIL(&server->conns, session, entry);
		server->nsessions++;
		metrics_add(stat_sockets, 1);
		*user = session;
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

void session_open(void *user, struct ws_socket *peer)
{
	struct session *session = user;

	session->peer = peer;
	log_debug("worker %s connected from %s", session->worker_id, session->address);
}

void session_closed(void *user)
{
	struct session *session = user;
	struct server *server = session->server;
	struct channel *channel;
	struct request *request;

	session->peer = NULL;
	session->closing = true;
	while ((channel = TAILQ_FIRST(&session->channels)) != NULL)
		channel_free(channel);
	channel_read_forget(session);
	while ((request = TAILQ_FIRST(&session->requests)) != NULL) {
		TAILQ_REMOVE(&session->requests, request, entry);
		request->session = NULL;
	}
	log_debug("worker %s disconnected", session->worker_id);
	TAILQ_REMOVE(&server->conns, session, entry);
	server->nsessions--;
	metrics_add(stat_sockets, -1);
	backpressure_forget(session);
	free(session->worker_id);
	free(session->address);
	free(session);
}

static struct channel *find(struct session *session, struct slice topic)
{
	struct channel *channel;

	TAILQ_FOREACH (channel, &session->channels, entry)
		if (slice_is(topic, channel->topic))
			return channel;
	return NULL;
}

static bool topic_is(struct slice topic, const char *pattern)
{
	size_t n = strlen(pattern);

	return pattern[n - 1] == ':' ? topic.n > n && memcmp(topic.p, pattern, n) == 0
				     : slice_is(topic, pattern);
}

/* Its route has been found, so there is one. */
static const struct channel_kind *kind_of(const struct server *server, struct slice topic)
{
	const struct channel_kind *const *kind = server->kinds;

	while (!topic_is(topic, (*kind)->topic))
		kind++;
	return *kind;
}

static struct channel *create(struct session *session, const struct phx_frame *frame)
{
	struct channel *channel = xcalloc(1, sizeof(*channel));

	channel->session = session;
	channel->kind = kind_of(session->server, frame->topic);
	channel->data = xcalloc(1, channel->kind->size);
	channel->topic = xstrndup(frame->topic.p, frame->topic.n);
	channel->join_ref = xstrndup(frame->join_ref.p, frame->join_ref.n);
	TAILQ_INIT(&channel->requests);
	TAILQ_INIT(&channel->pending);
	TAILQ_INSERT_TAIL(&session->channels, channel, entry);
	return channel;
}

/* Its open requests go on without it; what was pending for it is refused. */
void channel_free(struct channel *channel)
{
	struct session *session = channel->session;
	struct request *request;

	undelivered_part(channel, false);
	while ((request = TAILQ_FIRST(&channel->requests)) != NULL) {
		TAILQ_REMOVE(&channel->requests, request, entry);
		request->channel = NULL;
		TAILQ_INSERT_TAIL(&session->requests, request, entry);
	}
	while ((request = TAILQ_FIRST(&channel->pending)) != NULL)
		reply_error_code(request, "unmatched_topic", NULL);
	TAILQ_REMOVE(&session->channels, channel, entry);
	if (channel_is_run(channel))
		metrics_add(stat_channels, -1);
	if (channel->kind->end != NULL)
		channel->kind->end(channel);
	free(channel->data);
	free(channel->topic);
	free(channel->join_ref);
	free(channel);
}

static void send_frame(
	struct channel *channel, struct slice ref, const char *event, const char *payload)
{
	struct buf b = { 0 };

	if (channel->session->peer == NULL)
		return;
	ws_reserve_header(&b);
	phx_push(&b, slice_of(channel->join_ref), ref, slice_of(channel->topic), event,
		slice_of(payload));
	ws_send(channel->session->peer, &b, false);
}

void channel_push(struct channel *channel, const char *event, const char *payload)
{
	send_frame(channel, (struct slice){ 0 }, event, payload);
}

/* The channel ends for good. Phoenix puts the join_ref in the place of the ref. */
static void end(struct channel *channel)
{
	send_frame(channel, slice_of(channel->join_ref), "phx_close", "{}");
	channel_free(channel);
}

const struct route *channel_route_of(
	const struct server *server, struct slice topic, struct slice event)
{
	for (int i = 0; i < server->nroutes; i++) {
		const struct route *r = &server->routes[i];

		if (topic_is(topic, r->topic) && slice_is(event, r->event))
			return r;
	}
	return NULL;
}

static void make_pending(struct request *request, struct channel *channel)
{
	TAILQ_REMOVE(&request->session->requests, request, entry);
	TAILQ_INSERT_TAIL(&channel->pending, request, entry);
	request->channel = channel;
}

static void join(struct request *request, struct channel *old)
{
	const struct route *route =
		channel_route_of(request->server, request->frame.topic, request->frame.event);

	if (route == NULL || request->frame.join_ref.p == NULL ||
		slice_is(request->frame.join_ref, "null")) {
		reply_error_code(request, "unmatched_topic", NULL);
		return;
	}
	if (old != NULL)
		end(old);
	request->channel = create(request->session, &request->frame);
	TAILQ_REMOVE(&request->session->requests, request, entry);
	TAILQ_INSERT_TAIL(&request->channel->requests, request, entry);
	request_dispatch(request, route);
}

static void leave(struct request *request, struct channel *channel)
{
	if (channel->kind->on_left != NULL)
		channel->kind->on_left(channel);
	undelivered_part(channel, true);
	reply_ok(request, slice_of("{}"));
	end(channel);
}

const struct run_claim *channel_claim(const struct channel *channel)
{
	return channel->kind->claim(channel);
}

bool channel_is_run(const struct channel *channel)
{
	return channel->joined && channel->kind->claim != NULL;
}

static void notice_activity(struct channel *channel)
{
	if (channel->joined && channel->kind->on_activity != NULL)
		channel->kind->on_activity(channel);
}

static void notice_heartbeat(struct session *session)
{
	struct channel *channel;

	TAILQ_FOREACH (channel, &session->channels, entry)
		notice_activity(channel);
}

int session_run_count(const struct session *session)
{
	const struct channel *channel;
	int n = 0;

	TAILQ_FOREACH (channel, &session->channels, entry)
		n += channel_is_run(channel);
	return n;
}

const struct channel *session_channel(
	const struct session *session, const struct channel_kind *kind)
{
	const struct channel *channel;

	TAILQ_FOREACH (channel, &session->channels, entry)
		if (channel->joined && channel->kind == kind)
			return channel;
	return NULL;
}

/* Finds the request's channel and route. It is in its connection's list. */
void channel_dispatch(struct request *request)
{
	struct phx_frame *f = &request->frame;
	struct channel *channel = find(request->session, f->topic);
	const struct route *route;

	channel_note_ref(request->session, f->ref);
	if (slice_is(f->topic, "phoenix") && slice_is(f->event, "heartbeat")) {
		notice_heartbeat(request->session);
		reply_ok(request, slice_of("{}"));
		return;
	}
	if (channel != NULL && !channel->joined) {
		make_pending(request, channel);
		return;
	}
	if (slice_is(f->event, "phx_join")) {
		join(request, channel);
		return;
	}
	if (channel == NULL ||
		(!slice_is(f->join_ref, "null") && !slice_is(f->join_ref, channel->join_ref))) {
		reply_error_code(request, "unmatched_topic", NULL);
		return;
	}
	if (slice_is(f->event, "phx_leave")) {
		leave(request, channel);
		return;
	}
	route = channel_route_of(request->server, f->topic, f->event);
	if (route == NULL) {
		reply_error_code(request, "unknown_event", NULL);
		return;
	}
	request->channel = channel;
	TAILQ_REMOVE(&request->session->requests, request, entry);
	TAILQ_INSERT_TAIL(&channel->requests, request, entry);
	notice_activity(channel);
	undelivered_asked(request);
	request_dispatch(request, route);
}

void channel_dispatch_pending(struct channel *channel)
{
	struct session *session = channel->session;
	struct request_list pending = TAILQ_HEAD_INITIALIZER(pending);
	struct request *request;

	TAILQ_CONCAT(&pending, &channel->pending, entry);
	while ((request = TAILQ_FIRST(&pending)) != NULL) {
		TAILQ_REMOVE(&pending, request, entry);
		TAILQ_INSERT_TAIL(&session->requests, request, entry);
		request->channel = NULL;
		channel_dispatch(request);
	}
}

void session_close(struct session *session, int code)
{
	if (session->peer == NULL || session->closing)
		return;
	session->closing = true;
	ws_close(session->peer, code);
}

void session_drain(struct server *server)
{
	struct session *session;
	struct channel *channel;

	server->draining = true;
	TAILQ_FOREACH (session, &server->conns, entry)
		TAILQ_FOREACH (channel, &session->channels, entry)
			if (channel->joined && channel->kind->on_drain != NULL)
				channel->kind->on_drain(channel);
}

/* Will the worker say something soon, although it is silent and has every answer? */
static bool message_expected(const struct session *session)
{
	const struct channel *channel;

	TAILQ_FOREACH (channel, &session->channels, entry)
		if (channel->joined && channel->kind->message_expected != NULL &&
			channel->kind->message_expected(channel))
			return true;
	return false;
}

void session_close_quiet(struct server *server, int64_t ms)
{
	struct session *session;

	TAILQ_FOREACH (session, &server->conns, entry)
		if (session->peer != NULL && session->open_requests == 0 &&
			ws_quiet(session->peer) >= ms && (ms == 0 || !message_expected(session)))
			session_close(session, 1001);
}

void session_close_all(struct server *server, int code)
{
	struct session *session;

	TAILQ_FOREACH (session, &server->conns, entry)
		session_close(session, code);
}

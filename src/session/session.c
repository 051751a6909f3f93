/*
 * Sessions: the handshake, the socket's callbacks, the end of a coordinator. Invariant: when the
 * socket goes, its session goes with it at once, and the requests that are open go on without it.
 */
#include "session_private.h"

#include "channel_private.h"
#include "request_private.h"
#include "route_table.h"
#include "throttle.h"

#include "lib/logger.h"
#include "lib/metrics.h"
#include "lib/net.h"

#include <stdlib.h>

enum { WORKER_ID_MAX = 255 };

struct sessions {
	struct sessions_config config;
	struct route_table *routes;
	TAILQ_HEAD(, session) list;
	int n;
	int open_requests; /* also of sessions that are gone */
	bool draining;
	struct series *sockets;
};

struct session {
	TAILQ_ENTRY(session) entry;
	struct sessions *sessions;
	struct ws_socket *peer; /* NULL: not there yet, or gone */
	bool closing;           /* gone, or on its way */
	char *worker, *address;
	int64_t connected, active_at; /* now_us(): since when, and the last frame */
	struct channel_list channels;
	struct request_list requests; /* open ones without a channel: joins */
	int open_requests;            /* all */
	int64_t first_ref;
	struct reader *reader;
	struct throttle *throttle;
};

/* ---- the handshake ---- */

static void count_handshake(const char *result)
{
	metrics_add(metrics_seriesf(METRIC_HANDSHAKES, "result=\"%s\"", result), 1);
}

/* As it may stand in a token. */
static bool is_worker_id(const char *id)
{
	return id != NULL && *id != '\0' && strlen(id) <= WORKER_ID_MAX;
}

/* The worker's id in a valid token, owned by the caller; NULL if the token is not accepted. */
static char *authenticate(const struct sessions *sessions, const char *token)
{
	const char *why, *id, *iss;
	json_t *claims, *iat;
	char *worker = NULL;

	claims = keyring_verify_worker(sessions->config.context->keyring, slice_of(token), &why);
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

static int connections_from(const struct sessions *sessions, const char *address)
{
	const struct session *session;
	int n = 0;

	TAILQ_FOREACH (session, &sessions->list, entry)
		n += strcmp(session->address, address) == 0;
	return n;
}

static const char too_many[] = "too many connections";

/* 101, or the status with which the handshake is refused. */
static int check_handshake(const struct sessions *sessions, const struct ws_head *head,
	const char *vsn, const char *token, char **worker, const char **why)
{
	const struct context *context = sessions->config.context;
	const struct conf *conf = context->conf;

	if (strcmp(head->path, "/worker/websocket") != 0 || !(head->serves & WS_WORKERS)) {
		*why = "workers connect to /worker/websocket";
		return 404;
	}
	if (vsn == NULL || strncmp(vsn, "2.", 2) != 0) {
		*why = "unsupported vsn: this server supports serializer 2.0.0";
		return 400;
	}
	*worker = token != NULL ? authenticate(sessions, token) : NULL;
	if (*worker == NULL) {
		*why = "a valid worker token is required";
		return 401;
	}
	if (sessions->draining || !batch_is_up(context->batch)) {
		*why = sessions->draining ? "shutting down" : "the database is not available";
		return 503;
	}
	if (sessions->n >= conf->max_workers ||
		connections_from(sessions, head->address) >= conf->max_workers_per_address) {
		*why = too_many;
		return 503;
	}
	return 101;
}

static void on_message_read(void *owner);

static struct session *session_new(struct sessions *sessions, char *worker, const char *address)
{
	const struct sessions_config *config = &sessions->config;
	struct session *session = xcalloc(1, sizeof(*session));

	session->sessions = sessions;
	session->worker = worker;
	session->address = xstrdup(address);
	session->connected = session->active_at = now_us();
	TAILQ_INIT(&session->channels);
	TAILQ_INIT(&session->requests);
	session->reader = reader_new(config->context->loop, sessions->routes, on_message_read);
	session->throttle = throttle_new(config->backpressure);
	TAILQ_INSERT_TAIL(&sessions->list, session, entry);
	sessions->n++;
	metrics_add(sessions->sockets, 1);
	return session;
}

int session_handshake(
	struct sessions *sessions, const struct ws_head *head, void **session, const char **why)
{
	char *vsn = ws_query(head, "vsn"), *token = ws_query(head, "token"), *worker = NULL;
	char *forwarded = ws_header(head, "X-Forwarded-For"), address[NET_ADDRESS];
	struct ws_head seen = *head; /* as it is without the proxies that we trust */

	net_client(
		sessions->config.context->conf->trusted_proxies, head->address, forwarded, address);
	seen.address = address;
	int status = check_handshake(sessions, &seen, vsn, token, &worker, why);

	if (status == 101)
		*session = session_new(sessions, worker, address);
	else
		free(worker);
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
	throttle_open(session->throttle, peer);
	log_debug("worker %s connected from %s", session->worker, session->address);
}

/* ---- messages ---- */

bool session_admit(void *user, size_t size)
{
	struct session *session = user;

	if (size <= LARGE)
		return true;
	switch (throttle_admit(session->throttle, size)) {
	case ADMITTED: return true;
	case ADMITTED_LATER: return false;
	case NOT_ADMITTED: break;
	}
	log_info("worker %s: no room for more fragments; closed with 1013", session->worker);
	session_close(session, 1013);
	return true;
}

static void update_load(const struct session *session)
{
	throttle_set_load(
		session->throttle, session->open_requests, reader_is_busy(session->reader));
}

void session_message(void *user, char *data, size_t n, bool binary, bool cut)
{
	struct session *session = user;
	struct message *message;

	throttle_message_came(session->throttle);
	if (session->closing) {
		free(data);
		return;
	}
	session->active_at = now_us();
	message = message_new(data, n, binary, cut);
	reader_read(session->reader, message, request_new(session, message));
	update_load(session);
}

/* Or its session is gone. */
static void on_message_read(void *owner)
{
	struct request *request = owner;
	struct session *session = request_session(request);
	enum phx_error error = message_error(request_message(request));
	int code = error == PHX_NOT_JSON ? 1007 : 1002;

	if (session == NULL) {
		request_free(request);
		return;
	}
	if (error == PHX_OK && !session->closing) {
		channel_dispatch(request);
	} else {
		if (!session->closing)
			log_info("worker %s: malformed frame: closed with %d", session->worker,
				code);
		request_free(request);
		session_close(session, code);
	}
	update_load(session);
}

void session_send(struct session *session, struct buf *b, bool binary)
{
	if (session->peer != NULL)
		ws_send(session->peer, b, binary);
	else
		buf_free(b);
}

void session_request_began(struct session *session)
{
	session->open_requests++;
	session->sessions->open_requests++;
	update_load(session);
}

void session_request_ended(struct sessions *sessions, struct session *session)
{
	sessions->open_requests--;
	if (session != NULL) {
		session->open_requests--;
		update_load(session);
	}
}

void session_refused(struct session *session)
{
	throttle_refused(session->throttle);
}

int64_t session_first_ref(const struct session *session)
{
	return session->first_ref;
}

void session_note_ref(struct session *session, int64_t ref)
{
	if (session->first_ref == 0)
		session->first_ref = ref;
}

/* ---- the end ---- */

void session_close(struct session *session, int code)
{
	if (session->peer == NULL || session->closing)
		return;
	session->closing = true;
	ws_close(session->peer, code);
}

void session_closed(void *user, enum ws_end how, int code)
{
	struct session *session = user;
	struct sessions *sessions = session->sessions;
	struct request *request;

	session->peer = NULL;
	session->closing = true;
	throttle_close(session->throttle);
	channels_disconnected(&session->channels, how, code);
	channels_end(&session->channels);
	while ((request = TAILQ_FIRST(&session->requests)) != NULL)
		request_leave_session(request);
	reader_free(session->reader);
	log_debug("worker %s disconnected", session->worker);
	throttle_free(session->throttle);
	TAILQ_REMOVE(&sessions->list, session, entry);
	sessions->n--;
	metrics_add(sessions->sockets, -1);
	free(session->worker);
	free(session->address);
	free(session);
}

/* ---- what it is ---- */

struct sessions *session_sessions(const struct session *session)
{
	return session->sessions;
}

struct channel_list *session_channels(struct session *session)
{
	return &session->channels;
}

struct request_list *session_requests(struct session *session)
{
	return &session->requests;
}

const char *session_worker(const struct session *session)
{
	return session->worker;
}

const char *session_address(const struct session *session)
{
	return session->address;
}

int64_t session_active_at(const struct session *session)
{
	return session->active_at;
}

bool session_is_closing(const struct session *session)
{
	return session->closing;
}

int session_run_count(const struct session *session)
{
	return channels_run_count(&session->channels);
}

/* ---- all of them ---- */

struct sessions *sessions_new(const struct sessions_config *config)
{
	struct sessions *sessions = xcalloc(1, sizeof(*sessions));

	sessions->config = *config;
	sessions->routes = route_table_new(config->routes);
	sessions->sockets = metrics_series(METRIC_SOCKETS, NULL);
	TAILQ_INIT(&sessions->list);
	return sessions;
}

void sessions_free(struct sessions *sessions)
{
	route_table_free(sessions->routes);
	free(sessions);
}

const struct sessions_config *sessions_config(const struct sessions *sessions)
{
	return &sessions->config;
}

const struct route_table *sessions_routes(const struct sessions *sessions)
{
	return sessions->routes;
}

int sessions_count(const struct sessions *sessions)
{
	return sessions->n;
}

int sessions_open_requests(const struct sessions *sessions)
{
	return sessions->open_requests;
}

/* Times as seconds ago: whose clock it was does not matter then. */
static void print(const struct session *session, struct buf *out)
{
	int64_t now = now_us();

	buf_adds(out, "{\"worker\":");
	buf_add_json(out, slice_of(session->worker));
	buf_adds(out, ",\"address\":");
	buf_add_json(out, slice_of(session->address));
	buf_addf(out, ",\"capacity\":%d,\"runs\":%d,\"connected\":%.3f,\"idle_seconds\":%.3f}",
		channels_capacity(&session->channels), channels_run_count(&session->channels),
		(double)(now - session->connected) / 1e6, (double)(now - session->active_at) / 1e6);
}

void sessions_print(void *arg, struct buf *out)
{
	const struct sessions *sessions = arg;
	const struct session *session;

	buf_addc(out, '[');
	TAILQ_FOREACH (session, &sessions->list, entry) {
		if (session != TAILQ_FIRST(&sessions->list))
			buf_addc(out, ',');
		print(session, out);
	}
	buf_addc(out, ']');
}

void sessions_drain(struct sessions *sessions)
{
	const struct session *session;

	sessions->draining = true;
	TAILQ_FOREACH (session, &sessions->list, entry)
		channels_drain(&session->channels);
}

bool sessions_are_draining(const struct sessions *sessions)
{
	return sessions->draining;
}

void sessions_close_quiet(struct sessions *sessions, int64_t ms)
{
	struct session *session;

	TAILQ_FOREACH (session, &sessions->list, entry)
		if (session->peer != NULL && session->open_requests == 0 &&
			ws_quiet(session->peer) >= ms &&
			(ms == 0 || !channels_expect_message(&session->channels)))
			session_close(session, 1001);
}

void sessions_close_all(struct sessions *sessions, int code)
{
	struct session *session;

	TAILQ_FOREACH (session, &sessions->list, entry)
		session_close(session, code);
}

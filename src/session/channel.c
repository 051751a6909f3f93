/*
 * Channels. Invariants: a topic has one channel per session; what comes for a channel while its
 * join is being decided is pending, in order; a channel that goes leaves its requests behind, which
 * are answered without it. Channels and requests call each other by nature: a message finds its
 * channel, is handled, and an answered join opens the channel.
 */
#include "channel_private.h"

#include "request_private.h"
#include "resend_private.h"
#include "route_table.h"
#include "session_private.h"

#include "lib/metrics.h"
#include "session/reply.h"

#include <stdlib.h>

struct channel {
	TAILQ_ENTRY(channel) entry; /* of its session's */
	struct session *session;
	char *topic;
	char *join_ref; /* raw JSON */
	bool joined;
	struct request_list requests; /* open */
	struct request_list pending;  /* came before the join was answered */
	const struct channel_kind *kind;
	void *data;
};

static const struct sessions_config *config_of(const struct session *session)
{
	return sessions_config(session_sessions(session));
}

/* ---- what it is ---- */

void *channel_data(const struct channel *channel)
{
	return channel->data;
}

struct session *channel_session(const struct channel *channel)
{
	return channel->session;
}

const char *channel_topic(const struct channel *channel)
{
	return channel->topic;
}

const char *channel_join_ref(const struct channel *channel)
{
	return channel->join_ref;
}

const struct context *channel_context(const struct channel *channel)
{
	return config_of(channel->session)->context;
}

void *channel_protocol(const struct channel *channel)
{
	return config_of(channel->session)->protocol;
}

const struct run_claim *channel_claim(const struct channel *channel)
{
	return channel->kind->claim != NULL ? channel->kind->claim(channel) : NULL;
}

const struct scrubber *channel_scrubber(const struct channel *channel)
{
	return channel->kind->scrubber(channel);
}

/* Joined, and a run's. */
static bool is_run(const struct channel *channel)
{
	return channel->joined && channel->kind->claim != NULL;
}

static void count_run(int n)
{
	metrics_add(metrics_series(METRIC_CHANNELS, NULL), n);
}

/* ---- its life ---- */

static struct channel *find(struct session *session, struct slice topic)
{
	struct channel *channel;

	TAILQ_FOREACH (channel, session_channels(session), entry)
		if (slice_is(topic, channel->topic))
			return channel;
	return NULL;
}

/* Its route has been found, so there is one. */
static const struct channel_kind *kind_of(const struct session *session, struct slice topic)
{
	const struct channel_kind *const *kind = config_of(session)->kinds;

	while (!topic_matches((*kind)->topic, topic))
		kind++;
	return *kind;
}

static struct channel *create(struct session *session, const struct phx_frame *frame)
{
	struct channel *channel = xcalloc(1, sizeof(*channel));

	channel->session = session;
	channel->kind = kind_of(session, frame->topic);
	channel->data = xcalloc(1, channel->kind->size);
	channel->topic = xstrndup(frame->topic.p, frame->topic.n);
	channel->join_ref = xstrndup(frame->join_ref.p, frame->join_ref.n);
	TAILQ_INIT(&channel->requests);
	TAILQ_INIT(&channel->pending);
	TAILQ_INSERT_TAIL(session_channels(session), channel, entry);
	return channel;
}

/* Its open requests go on without it; what was pending for it is refused. */
static void end(struct channel *channel)
{
	struct request *request;

	resend_part(channel, false);
	while ((request = TAILQ_FIRST(&channel->requests)) != NULL)
		request_leave_channel(request);
	while ((request = TAILQ_FIRST(&channel->pending)) != NULL)
		reply_error_code(request, "unmatched_topic", NULL);
	TAILQ_REMOVE(session_channels(channel->session), channel, entry);
	if (is_run(channel))
		count_run(-1);
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

	ws_reserve_header(&b);
	phx_push(&b, slice_of(channel->join_ref), ref, slice_of(channel->topic), event,
		slice_of(payload));
	session_send(channel->session, &b, false);
}

void channel_push(struct channel *channel, const char *event, const char *payload)
{
	send_frame(channel, (struct slice){ 0 }, event, payload);
}

/* It ends for good, and its worker learns of it. Phoenix puts the join_ref in the place of the ref.
 */
static void close_channel(struct channel *channel)
{
	send_frame(channel, slice_of(channel->join_ref), "phx_close", "{}");
	end(channel);
}

/* ---- messages ---- */

static void notice_activity(struct channel *channel)
{
	if (channel->joined && channel->kind->on_activity != NULL)
		channel->kind->on_activity(channel);
}

static void heartbeat(struct request *request)
{
	struct channel *channel;

	TAILQ_FOREACH (channel, session_channels(request_session(request)), entry)
		notice_activity(channel);
	reply_ok(request, slice_of("{}"));
}

static void join(struct request *request, struct channel *old)
{
	const struct phx_frame *frame = request_frame(request);
	const struct route *route =
		route_table_find(request_routes(request), frame->topic, frame->event);
	struct channel *channel;

	if (route == NULL || frame->join_ref.p == NULL || slice_is(frame->join_ref, "null")) {
		reply_error_code(request, "unmatched_topic", NULL);
		return;
	}
	if (old != NULL)
		close_channel(old);
	channel = create(request_session(request), frame);
	request_enter_channel(request, channel, &channel->requests);
	request_dispatch(request, route);
}

static void leave(struct request *request, struct channel *channel)
{
	if (channel->kind->on_left != NULL)
		channel->kind->on_left(channel);
	resend_part(channel, true);
	reply_ok(request, slice_of("{}"));
	close_channel(channel);
}

static void handle(struct request *request, struct channel *channel)
{
	const struct phx_frame *frame = request_frame(request);
	const struct route *route =
		route_table_find(request_routes(request), frame->topic, frame->event);

	if (route == NULL) {
		reply_error_code(request, "unknown_event", NULL);
		return;
	}
	request_enter_channel(request, channel, &channel->requests);
	notice_activity(channel);
	request_keep_reply_in(request, resend_asked(channel, route));
	request_dispatch(request, route);
}

void channel_dispatch(struct request *request)
{
	const struct phx_frame *frame = request_frame(request);
	struct session *session = request_session(request);
	struct channel *channel = find(session, frame->topic);

	session_note_ref(session, resend_ref_number(frame->ref));
	if (slice_is(frame->topic, "phoenix") && slice_is(frame->event, "heartbeat"))
		heartbeat(request);
	else if (channel != NULL && !channel->joined)
		request_enter_channel(request, channel, &channel->pending);
	else if (slice_is(frame->event, "phx_join"))
		join(request, channel);
	else if (channel == NULL || (!slice_is(frame->join_ref, "null") &&
					    !slice_is(frame->join_ref, channel->join_ref)))
		reply_error_code(request, "unmatched_topic", NULL);
	else if (slice_is(frame->event, "phx_leave"))
		leave(request, channel);
	else
		handle(request, channel);
}

/* Any of them may end the channel, and then the others are not for it. */
static void dispatch_pending(struct channel *channel)
{
	struct request_list pending = TAILQ_HEAD_INITIALIZER(pending);
	struct request *request;

	while ((request = TAILQ_FIRST(&channel->pending)) != NULL)
		request_enter_channel(request, NULL, &pending);
	while ((request = TAILQ_FIRST(&pending)) != NULL) {
		request_leave_channel(request);
		channel_dispatch(request);
	}
}

void channel_accept_join(struct request *join, struct slice response)
{
	struct channel *channel = request_channel(join);

	channel->joined = true;
	if (is_run(channel))
		count_run(1);
	reply_ok(join, response);
	if (channel->kind->keeps_replies != NULL && channel->kind->keeps_replies(channel))
		resend_join(channel);
	dispatch_pending(channel);
}

void channel_refuse_join(struct request *join, const char *code)
{
	struct channel *channel = request_channel(join);

	reply_error_code(join, code, NULL);
	if (channel != NULL)
		end(channel);
}

/* ---- all of a session ---- */

void channels_disconnected(const struct channel_list *channels, enum ws_end how, int code)
{
	struct channel *channel;

	TAILQ_FOREACH (channel, channels, entry)
		if (channel->joined && channel->kind->on_disconnect != NULL)
			channel->kind->on_disconnect(channel, how, code);
}

void channels_end(struct channel_list *channels)
{
	struct channel *channel;

	while ((channel = TAILQ_FIRST(channels)) != NULL)
		/* TAILQ_REMOVE has put another one first. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		end(channel);
}

void channels_drain(const struct channel_list *channels)
{
	struct channel *channel;

	TAILQ_FOREACH (channel, channels, entry)
		if (channel->joined && channel->kind->on_drain != NULL)
			channel->kind->on_drain(channel);
}

int channels_run_count(const struct channel_list *channels)
{
	const struct channel *channel;
	int n = 0;

	TAILQ_FOREACH (channel, channels, entry)
		n += is_run(channel);
	return n;
}

int channels_capacity(const struct channel_list *channels)
{
	const struct channel *channel;
	int n = 0;

	TAILQ_FOREACH (channel, channels, entry)
		if (channel->joined && channel->kind->capacity != NULL)
			n += channel->kind->capacity(channel);
	return n;
}

bool channels_expect_message(const struct channel_list *channels)
{
	const struct channel *channel;

	TAILQ_FOREACH (channel, channels, entry)
		if (channel->joined && channel->kind->message_expected != NULL &&
			channel->kind->message_expected(channel))
			return true;
	return false;
}

/*
 * Messages are read: taken apart, and what is large in them prepared, the large ones on the pool of
 * threads. Invariants: those of a socket are heard in the order in which they came; what a thread
 * works on is its own, but for the table of routes, which never changes.
 */
#include "channel_private.h"

#include <stdlib.h>

static void read_frame(struct request *request)
{
	struct phx_frame *frame = &request->frame;
	const bool binary = frame->binary, cut = frame->cut;

	if (binary) {
		/* Behind the frame is room for its refs as text. */
		request->data =
			xrealloc(request->data, request->length + 2 * (6 * PHX_MAX_FIELD + 2));
		request->error = cut ? PHX_NOT_FRAME
				     : phx_parse_binary(request->data, request->length,
					       request->data + request->length, frame);
	} else {
		request->error = cut ? phx_parse_truncated(request->data, request->length, frame)
				     : phx_parse_text(request->data, request->length, frame);
	}
}

/* Moves a part of the frame to b. */
static void keep(struct slice *part, struct buf *b)
{
	size_t at = b->n;

	if (part->p == NULL)
		return;
	buf_add(b, part->p, part->n);
	part->p = b->p + at;
}

/* The content has been copied, so nobody needs the message any more, but for its head. */
static void keep_head(struct request *request)
{
	struct phx_frame *frame = &request->frame;
	struct buf head = { 0 };

	buf_reserve(&head, frame->join_ref.n + frame->ref.n + frame->topic.n + frame->event.n);
	keep(&frame->join_ref, &head);
	keep(&frame->ref, &head);
	keep(&frame->topic, &head);
	keep(&frame->event, &head);
	free(request->data);
	request->data = head.p;
	memset(request->payload.taken, 0, sizeof(request->payload.taken));
}

/* Takes the message apart, into frame or error, and prepares what is large in it. Touches nothing
 * but the request: it may be called in a thread. */
static void read_all(struct request *request)
{
	struct phx_frame *frame = &request->frame;
	const struct route *route;

	read_frame(request);
	if (request->length <= LARGE || request->error != PHX_OK || frame->binary ||
		jscan_type(frame->payload) != JSCAN_OBJECT)
		return;
	frame->cut = !payload_split(frame->payload, &request->payload);
	frame->payload = frame->cut ? slice_of(NULL) : request->payload.small;
	route = channel_route_of(request->server, frame->topic, frame->event);
	if (route == NULL || route->content == NULL || frame->cut)
		return;
	request->content_why = route->read_content(
		payload_taken(&request->payload, route->content), &request->content);
	request->content_read = true;
	if (request->content_why == NULL)
		keep_head(request);
}

struct slice request_member(const struct request *request, const char *name)
{
	struct slice taken = payload_taken(&request->payload, name);

	return taken.p != NULL ? taken : jscan_member(request->frame.payload, name);
}

const char *request_content(struct request *request, struct value *v)
{
	const struct route *route = request->route;

	if (!request->content_read) {
		struct slice content = request_member(request, route->content);

		request->content_why = request->frame.cut && content.p == NULL
					       ? "is too large"
					       : route->read_content(content, &request->content);
	}
	request->content_read = true;
	if (request->content_why == NULL)
		value_take(v, &request->content);
	return request->content_why;
}

/* The message has been read. */
static void take(struct request *request)
{
	struct session *session = request->session;
	int code = request->error == PHX_NOT_JSON ? 1007 : 1002;

	if (request->error == PHX_OK && !session->closing) {
		channel_dispatch(request);
		return;
	}
	if (!session->closing)
		log_info("worker %s: malformed frame: closed with %d", session->worker_id, code);
	request_free(request);
	session_close(session, code);
}

static void on_work(struct pool_job *job)
{
	read_all(container_of(job, struct request, job));
}

static void read_message(struct request *request);

/* A large message has been read: it goes its way, and those behind it. */
static void on_read(struct pool_job *job)
{
	struct request *request = container_of(job, struct request, job);
	struct session *session = request->session;

	if (session == NULL) {
		request_free(request);
		return;
	}
	session->reading = NULL;
	take(request);
	while (session->reading == NULL && (request = STAILQ_FIRST(&session->behind)) != NULL) {
		STAILQ_REMOVE_HEAD(&session->behind, behind_entry);
		read_message(request);
	}
	backpressure_update(session);
}

/* Small messages are read at once, a large one beside the loop, where it holds up its own socket
 * only. */
static void read_message(struct request *request)
{
	if (request->length <= LARGE) {
		read_all(request);
		take(request);
		return;
	}
	request->session->reading = request;
	request->job.work = on_work;
	request->job.done = on_read;
	pool_start(request->server->loop, &request->job);
	backpressure_update(request->session);
}

void channel_read_forget(struct session *session)
{
	struct request *request;

	while ((request = STAILQ_FIRST(&session->behind)) != NULL) {
		STAILQ_REMOVE_HEAD(&session->behind, behind_entry);
		request_free(request);
	}
}

void session_message(void *user, char *data, size_t n, bool binary, bool cut)
{
	struct session *session = user;
	struct request *request;

	channel_flow_arrived(session);
	if (session->closing) {
		free(data);
		return;
	}
	session->active_at = now_us();
	request = request_new(session, data, n);
	request->frame.binary = binary;
	request->frame.cut = cut;
	if (session->reading != NULL)
		STAILQ_INSERT_TAIL(&session->behind, request, behind_entry);
	else
		read_message(request);
}

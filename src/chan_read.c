/*
 * Messages are read: taken apart, and what is large in them prepared, the large ones on the pool of
 * threads. Invariants: those of a socket are heard in the order in which they came; what a thread
 * works on is its own, but for the table of routes, which never changes.
 */
#include "chan_private.h"

#include <stdlib.h>

static void read_frame(struct req *req)
{
	struct phx_frame *frame = &req->frame;
	const bool binary = frame->binary, cut = frame->cut;

	if (binary) {
		/* Behind the frame is room for its refs as text. */
		req->data = xrealloc(req->data, req->length + 2 * (6 * PHX_MAX_FIELD + 2));
		req->error = cut ? PHX_NOT_FRAME
				 : phx_parse_binary(
					   req->data, req->length, req->data + req->length, frame);
	} else {
		req->error = cut ? phx_parse_cut(req->data, req->length, frame)
				 : phx_parse_text(req->data, req->length, frame);
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
static void keep_head(struct req *req)
{
	struct phx_frame *frame = &req->frame;
	struct buf head = { 0 };

	buf_reserve(&head, frame->join_ref.n + frame->ref.n + frame->topic.n + frame->event.n);
	keep(&frame->join_ref, &head);
	keep(&frame->ref, &head);
	keep(&frame->topic, &head);
	keep(&frame->event, &head);
	free(req->data);
	req->data = head.p;
	memset(req->payload.taken, 0, sizeof(req->payload.taken));
}

/* Takes the message apart, into frame or error, and prepares what is large in it. Touches nothing
 * but the request: it may be called in a thread. */
static void read_all(struct req *req)
{
	struct phx_frame *frame = &req->frame;
	const struct route *route;

	read_frame(req);
	if (req->length <= LARGE || req->error != PHX_OK || frame->binary ||
		slice_type(frame->payload) != SLICE_OBJECT)
		return;
	frame->cut = !payload_split(frame->payload, &req->payload);
	frame->payload = frame->cut ? (struct slice){ 0 } : req->payload.small;
	route = chan_route_of(req->server, frame->topic, frame->event);
	if (route == NULL || route->content == NULL || frame->cut)
		return;
	req->content_why =
		route->read_content(payload_taken(&req->payload, route->content), &req->content);
	req->content_read = true;
	if (req->content_why == NULL)
		keep_head(req);
}

struct slice req_member(const struct req *req, const char *name)
{
	struct slice taken = payload_taken(&req->payload, name);

	return taken.p != NULL ? taken : slice_get(req->frame.payload, name);
}

const char *req_content(struct req *req, struct value *v)
{
	const struct route *route = req->route;

	if (!req->content_read) {
		struct slice content = req_member(req, route->content);

		req->content_why = req->frame.cut && content.p == NULL
					   ? "is too large"
					   : route->read_content(content, &req->content);
	}
	req->content_read = true;
	if (req->content_why == NULL)
		value_take(v, &req->content);
	return req->content_why;
}

/* The message has been read. */
static void take(struct req *req)
{
	struct chan_conn *conn = req->conn;
	int code = req->error == PHX_NOT_JSON ? 1007 : 1002;

	if (req->error == PHX_OK && !conn->closing) {
		chan_dispatch(req);
		return;
	}
	if (!conn->closing)
		log_info("worker %s: a frame that is none; closed with %d", conn->worker_id, code);
	req_free(req);
	chan_close(conn, code);
}

static void on_work(struct pool_job *job)
{
	read_all(container_of(job, struct req, job));
}

static void read_message(struct req *req);

/* A large message has been read: it goes its way, and those behind it. */
static void on_read(struct pool_job *job)
{
	struct req *req = container_of(job, struct req, job);
	struct chan_conn *conn = req->conn;

	if (conn == NULL) {
		req_free(req);
		return;
	}
	conn->reading = NULL;
	take(req);
	while (conn->reading == NULL && (req = STAILQ_FIRST(&conn->behind)) != NULL) {
		STAILQ_REMOVE_HEAD(&conn->behind, behind_entry);
		read_message(req);
	}
	chan_flow(conn);
}

/* Small messages are read at once, a large one beside the loop, where it holds up its own socket
 * only. */
static void read_message(struct req *req)
{
	if (req->length <= LARGE) {
		read_all(req);
		take(req);
		return;
	}
	req->conn->reading = req;
	req->job.work = on_work;
	req->job.done = on_read;
	pool_start(req->server->loop, &req->job);
	chan_flow(req->conn);
}

void chan_read_forget(struct chan_conn *conn)
{
	struct req *req;

	while ((req = STAILQ_FIRST(&conn->behind)) != NULL) {
		STAILQ_REMOVE_HEAD(&conn->behind, behind_entry);
		req_free(req);
	}
}

void chan_message(void *user, char *data, size_t n, bool binary, bool cut)
{
	struct chan_conn *conn = user;
	struct req *req;

	chan_flow_arrived(conn);
	if (conn->closing) {
		free(data);
		return;
	}
	conn->heard = now_us();
	req = req_new(conn, data, n);
	req->frame.binary = binary;
	req->frame.cut = cut;
	if (conn->reading != NULL)
		STAILQ_INSERT_TAIL(&conn->behind, req, behind_entry);
	else
		read_message(req);
}

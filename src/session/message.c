/*
 * Messages are taken apart, and what is large in them prepared, the large ones on the pool of
 * threads. Invariants: those of a socket are done in the order in which they came; what a thread
 * works on is its own, but for the table of routes, which never changes.
 */
#include "message.h"

#include "core/payload.h"
#include "lib/pool.h"

#include <stdlib.h>

struct message {
	char *data;
	size_t length;
	struct phx_frame frame; /* its payload is without what payload has taken */
	enum phx_error error;
	struct payload payload;
	struct buf content; /* what route->read_content made of it, and what it returned */
	const char *content_why;
	bool content_read;

	struct reader *reader; /* NULL: it is gone */
	void (*done)(void *owner);
	void *owner;
	const struct route_table *routes;
	struct pool_job job;
	STAILQ_ENTRY(message) entry;
};

struct reader {
	uv_loop_t *loop;
	const struct route_table *routes;
	void (*done)(void *owner);
	struct message *current;       /* that a thread reads */
	STAILQ_HEAD(, message) behind; /* that came since */
};

struct message *message_new(char *data, size_t length, bool binary, bool cut)
{
	struct message *message = xcalloc(1, sizeof(*message));

	message->data = data;
	message->length = length;
	message->frame.binary = binary;
	message->frame.cut = cut;
	return message;
}

void message_free(struct message *message, uv_loop_t *loop)
{
	pool_free(loop, message->content.p);
	payload_free(&message->payload);
	pool_free(loop, message->data);
	free(message);
}

size_t message_size(const struct message *message)
{
	size_t copies = message->length > LARGE ? 2 : 1;

	return copies * message->length + sizeof(*message);
}

/* ---- reading ---- */

static void read_frame(struct message *message)
{
	struct phx_frame *frame = &message->frame;
	const bool binary = frame->binary, cut = frame->cut;

	if (binary) {
		/* Behind the frame is room for its refs as text. */
		message->data =
			xrealloc(message->data, message->length + 2 * (6 * PHX_MAX_FIELD + 2));
		message->error = cut ? PHX_NOT_FRAME
				     : phx_parse_binary(message->data, message->length,
					       message->data + message->length, frame);
	} else {
		message->error = cut ? phx_parse_truncated(message->data, message->length, frame)
				     : phx_parse_text(message->data, message->length, frame);
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

/* The content has been copied, so that of the message only its head is needed any more. */
static void keep_head(struct message *message)
{
	struct phx_frame *frame = &message->frame;
	struct buf head = { 0 };

	buf_reserve(&head, frame->join_ref.n + frame->ref.n + frame->topic.n + frame->event.n);
	keep(&frame->join_ref, &head);
	keep(&frame->ref, &head);
	keep(&frame->topic, &head);
	keep(&frame->event, &head);
	free(message->data);
	message->data = head.p;
	memset(message->payload.taken, 0, sizeof(message->payload.taken));
}

/* Takes the message apart, into frame or error, and prepares what is large in it. Touches nothing
 * but the message: it may be called in a thread. */
static void read_all(struct message *message)
{
	struct phx_frame *frame = &message->frame;
	const struct route *route;

	read_frame(message);
	if (message->length <= LARGE || message->error != PHX_OK || frame->binary ||
		jscan_type(frame->payload) != JSCAN_OBJECT)
		return;
	frame->cut = !payload_split(frame->payload, &message->payload);
	frame->payload = frame->cut ? slice_of(NULL) : message->payload.small;
	route = route_table_find(message->routes, frame->topic, frame->event);
	if (route == NULL || route->content == NULL || frame->cut)
		return;
	message->content_why = route->read_content(
		payload_taken(&message->payload, route->content), &message->content);
	message->content_read = true;
	if (message->content_why == NULL)
		keep_head(message);
}

/* ---- the reader ---- */

struct reader *reader_new(
	uv_loop_t *loop, const struct route_table *routes, void (*done)(void *owner))
{
	struct reader *reader = xcalloc(1, sizeof(*reader));

	reader->loop = loop;
	reader->routes = routes;
	reader->done = done;
	STAILQ_INIT(&reader->behind);
	return reader;
}

static void on_work(struct pool_job *job)
{
	read_all(container_of(job, struct message, job));
}

static void begin(struct reader *reader, struct message *message);

static void on_read(struct pool_job *job)
{
	struct message *message = container_of(job, struct message, job);
	struct reader *reader = message->reader;

	if (reader != NULL)
		reader->current = NULL;
	message->done(message->owner);
	while (reader != NULL && reader->current == NULL && !STAILQ_EMPTY(&reader->behind)) {
		message = STAILQ_FIRST(&reader->behind);
		STAILQ_REMOVE_HEAD(&reader->behind, entry);
		begin(reader, message);
	}
}

/* Small messages are read at once, a large one beside the loop, where it holds up its own socket
 * only. */
static void begin(struct reader *reader, struct message *message)
{
	if (message->length <= LARGE) {
		read_all(message);
		message->done(message->owner);
		return;
	}
	reader->current = message;
	message->job.work = on_work;
	message->job.done = on_read;
	pool_start(reader->loop, &message->job);
}

void reader_read(struct reader *reader, struct message *message, void *owner)
{
	message->reader = reader;
	message->routes = reader->routes;
	message->done = reader->done;
	message->owner = owner;
	if (reader_is_busy(reader))
		STAILQ_INSERT_TAIL(&reader->behind, message, entry);
	else
		begin(reader, message);
}

bool reader_is_busy(const struct reader *reader)
{
	return reader->current != NULL || !STAILQ_EMPTY(&reader->behind);
}

void reader_free(struct reader *reader)
{
	struct message *message;

	if (reader->current != NULL)
		reader->current->reader = NULL;
	while ((message = STAILQ_FIRST(&reader->behind)) != NULL) {
		STAILQ_REMOVE_HEAD(&reader->behind, entry);
		message->done(message->owner);
	}
	free(reader);
}

/* ---- what it says ---- */

enum phx_error message_error(const struct message *message)
{
	return message->error;
}

const struct phx_frame *message_frame(const struct message *message)
{
	return &message->frame;
}

struct slice message_member(const struct message *message, const char *name)
{
	struct slice taken = payload_taken(&message->payload, name);

	return taken.p != NULL ? taken : jscan_member(message->frame.payload, name);
}

void message_pick(const struct message *message, const char *const *names, int n, struct slice *out)
{
	slice_pick(message->frame.payload, names, n, out);
	for (int i = 0; i < n && message_is_large(message); i++) {
		struct slice taken = payload_taken(&message->payload, names[i]);

		if (taken.p != NULL)
			out[i] = taken;
	}
}

bool message_is_large(const struct message *message)
{
	return message->payload.text.p != NULL;
}

bool message_is_truncated(const struct message *message)
{
	return message->frame.cut;
}

void message_drop_payload(struct message *message)
{
	message->frame.payload = (struct slice){ 0 };
}

const char *message_content(struct message *message, const struct route *route, struct value *v)
{
	if (!message->content_read) {
		struct slice content = message_member(message, route->content);

		message->content_why = message->frame.cut && content.p == NULL
					       ? "is too large"
					       : route->read_content(content, &message->content);
	}
	message->content_read = true;
	if (message->content_why == NULL)
		value_take(v, &message->content);
	return message->content_why;
}

void message_describe(const struct message *message, size_t limit, struct buf *out)
{
	struct slice cursor = message->frame.payload, key, value;

	buf_addc(out, '{');
	if (jscan_type(cursor) != JSCAN_OBJECT || message->frame.binary) {
		if (cursor.p != NULL)
			buf_addf(out, "\"length\":%zu", cursor.n);
		cursor = (struct slice){ 0 };
	}
	while (jscan_next(&cursor, &key, &value)) {
		if (out->n > 1)
			buf_addc(out, ',');
		buf_add(out, key.p, key.n);
		buf_addc(out, ':');
		if (payload_is_content(key) && !message_is_large(message)) {
			payload_describe(value, out);
		} else if (value.n > limit) {
			buf_addf(out, "{\"length\":%zu}", value.n);
		} else {
			buf_add(out, value.p, value.n);
		}
	}
	buf_addc(out, '}');
	if (out->n > limit)
		out->n = 0;
}

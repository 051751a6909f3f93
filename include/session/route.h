/*
 * route: one row for each thing that a worker can say. The rows belong to those who handle the
 * messages (src/protocol); the sessions are handed them, and know no message.
 */
#ifndef ROUTE_H
#define ROUTE_H

#include "core/batch_item.h"
#include "core/field.h"

struct request;

struct route {
	const char *topic; /* a topic, or the beginning of one when it ends in ':' */
	const char *event;

	/* What is asked of the database. */
	const char *stmt; /* NULL: nothing, check answers from memory */
	enum lane_kind lane;
	bool locks, settles; /* see batch_item.h */
	const struct field *fields;
	int nfields;

	/* Called with the payload, a valid JSON object. Fills the request's values and submits it
	 * (request_submit), or answers. NULL: bind_common, the fields behind it, submit. */
	void (*check)(struct request *request);
	/* The statement is committed: answer. */
	void (*reply)(struct request *request, const struct batch_result *res);
	/* The statement is committed, and the client is gone: undoes it. NULL: nothing to do. The
	 * request is to be ended afterwards (request_client_gone). */
	void (*on_client_gone)(struct request *request, const struct batch_result *res);
	/* The statement is committed, whether or not its client is there, but it was a part of the
	 * message only: returns true, and goes on with the next part. NULL: it was all. */
	bool (*more)(struct request *request, const struct batch_result *res);
	/* The payload could not be read (`invalid`, `too_large`), or the statement did not come to
	 * an end (`unavailable`, `busy`): answer. NULL: an error reply with this code. */
	void (*failed)(struct request *request, const char *code);

	/* The content of a dataclip in the payload, by the member's name: appends to out what is
	 * stored of it, or returns why nothing is (a constant). May be called in a thread. */
	const char *content;
	const char *(*read_content)(struct slice raw, struct buf *out);

	/* check does not look at the payload, and is called whatever it is. */
	bool accepts_any_payload;
	/* A message that was too large is taken without the member that made it so, if what is left
	 * has the fields that it must have. */
	bool accepts_truncated;
	/* It only asks, and several such questions may be open at once: one of them does not show
	 * that the worker has the replies to the others. */
	bool fetches;
	/* It is what a worker asks first after its join. */
	bool is_first;
};

/* Ends a list of routes. */
#define ROUTES_END                                                                                 \
	{                                                                                          \
		.topic = NULL                                                                      \
	}

#endif

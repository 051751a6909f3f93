/*
 * channel: a joined topic of a session. What its messages mean is its kind's business: a channel
 * has a kind, with operations, and private data of that kind.
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include "core/context.h"
#include "core/run_claim.h"
#include "core/scrubber.h"
#include "ws/ws.h"

struct channel;
struct request;
struct session;

/* What the channels of one kind of topic have in common. The operations may be NULL; all but `end`
 * are called for joined channels only. */
struct channel_kind {
	const char *topic; /* a topic, or the beginning of one when it ends in ':' */
	size_t size;       /* of a channel's private data, which begins zeroed */
	/* The channel goes: releases what its data holds, but not the data. */
	void (*end)(struct channel *channel);
	/* A message for it came, or a heartbeat of its session. */
	void (*on_activity)(struct channel *channel);
	/* Its worker leaves it. */
	void (*on_left)(struct channel *channel);
	/* Its socket is gone. */
	void (*on_disconnect)(struct channel *channel, enum ws_end how, int code);
	/* The daemon is going to shut down. */
	void (*on_drain)(struct channel *channel);
	/* Will the worker say something soon, although it has every answer? */
	bool (*message_expected)(const struct channel *channel);
	/* How many runs its worker offers to execute. */
	int (*capacity)(const struct channel *channel);
	/* The claim that it speaks for. NULL: for none, it is not a run's. */
	const struct run_claim *(*claim)(const struct channel *channel);
	/* Of a run's: what is replaced in its texts. */
	const struct scrubber *(*scrubber)(const struct channel *channel);
	/* Of a run's: are its replies kept for a reconnect? */
	bool (*keeps_replies)(const struct channel *channel);
};

/* Its private data, of its kind's size. */
void *channel_data(const struct channel *channel);
struct session *channel_session(const struct channel *channel);
const char *channel_topic(const struct channel *channel);
/* What the sessions were handed: the context, and what the kinds share. */
const struct context *channel_context(const struct channel *channel);
void *channel_protocol(const struct channel *channel);

/* Pushes an event to its worker. payload is JSON. */
void channel_push(struct channel *channel, const char *event, const char *payload);

/* Each answers and ends a join. It is accepted, with this response: the channel is open, and what
 * came for it meanwhile goes on. It is refused: the channel goes. */
void channel_accept_join(struct request *join, struct slice response);
void channel_refuse_join(struct request *join, const char *code);

#endif

/*
 * What the files of this folder share: their routes, and what a run's channel knows of its run:
 * run.c writes it, the other files read it.
 */
#ifndef RUN_CHANNEL_H
#define RUN_CHANNEL_H

#include "protocol/routes.h"
#include "session/reply.h"
#include "session/request.h"

extern const struct route queue_routes[], run_routes[], step_routes[], log_routes[], plan_routes[];
extern const struct channel_kind queue_kind, run_kind;

struct run_channel {
	struct run_claim claim;
	int joins;                /* of the run, this channel's included */
	int64_t lease_renewed_at; /* mono_ms() */
	bool stale;               /* the claim is over: an empty plan, and every event superseded */
	bool run_started;         /* the run has started or ended, as far as this channel shows */
	bool save_dataclips;
	bool has_dataclip;
	struct uuid dataclip_id, starting_id;
	const struct cached_plan *plan;
};

/* Of a channel of the kind run_kind. */
static inline struct run_channel *run_channel(const struct channel *channel)
{
	return channel_data(channel);
}

/* The run has started or ended; the channel may be gone (NULL). */
void run_channel_started(const struct channel *channel);
/* A worker left a run's channel: a claim that has not started is released. */
void queue_release_left(struct queue *queue, const struct run_claim *claim);
/* So many releases, and records of sockets that are gone, are under way more, or fewer. */
void queue_add_open(struct queue *queue, int n);
/* The channel's socket is gone: writes that into the journal of its run, if the run is still in
 * flight and was not joined from another socket since. Returns at once. */
void disconnect_record(const struct channel *channel, enum ws_end how, int code);
/* Appends the plan of a joined run: the members of an object. */
void plan_add(const struct run_channel *run, struct buf *out);

#endif

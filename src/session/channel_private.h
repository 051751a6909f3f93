/*
 * What the other files of this folder need of channels.
 */
#ifndef CHANNEL_PRIVATE_H
#define CHANNEL_PRIVATE_H

#include "session/channel.h"

#include <sys/queue.h>

TAILQ_HEAD(channel_list, channel);

/* Finds the channel and the route of a request whose message has been read, and hands it on. */
void channel_dispatch(struct request *request);

const char *channel_join_ref(const struct channel *channel); /* raw JSON */
/* The claim that a run's channel speaks for; NULL: it is not a run's. */
const struct run_claim *channel_claim(const struct channel *channel);
const struct scrubber *channel_scrubber(const struct channel *channel);

/* All channels of a session. Its socket is gone. It is gone: they end. A shutdown begins. How many
 * are runs'; how many runs its worker offers to execute; will it say something soon? */
void channels_disconnected(const struct channel_list *channels, enum ws_end how, int code);
void channels_end(struct channel_list *channels);
void channels_drain(const struct channel_list *channels);
int channels_run_count(const struct channel_list *channels);
int channels_capacity(const struct channel_list *channels);
bool channels_expect_message(const struct channel_list *channels);

#endif

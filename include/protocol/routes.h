/*
 * message: what a worker can say. Each file of layer 4 contributes its routes; main puts them into
 * one table.
 */
#ifndef ROUTES_H
#define ROUTES_H

#include "session/channel.h"

/* A worker left a run's channel: a claim that has not started is given back. */
void queue_on_left(struct channel *channel);

/* Gives back what lost claims took; asked from time to time. */
void queue_give_back(void);

/* Appends the plan of a joined run: the members of an object. */
void plan_add(const struct channel *channel, struct buf *out);

extern const struct route queue_routes[], run_routes[], step_routes[], log_routes[], plan_routes[];
extern const int queue_nroutes, run_nroutes, step_nroutes, log_nroutes, plan_nroutes;

#endif

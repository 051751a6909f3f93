/*
 * message: what a worker can say. Each file of layer 4 contributes its routes; main puts them into
 * one table.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "chan.h"

/* A worker left a run's channel: a claim that has not started is given back. */
void queue_left(struct chan *chan);

/* Gives back what lost claims took; asked from time to time. */
void queue_give_back(void);

/* Appends the plan of a joined run: the members of an object. */
void plan_add(const struct chan *chan, struct buf *out);

extern const struct route queue_routes[], run_routes[], step_routes[], log_routes[], plan_routes[];
extern const int queue_nroutes, run_nroutes, step_nroutes, log_nroutes, plan_nroutes;

#endif

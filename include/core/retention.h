/*
 * retention: the periods of [retention] as the database is asked by them, for the daemon's pruner
 * and for `interlock prune`.
 */
#ifndef RETENTION_H
#define RETENTION_H

#include "core/conf.h"

/* The parameters of the statement prune_due, texts: of the projects that have a section an array
 * of ids and three of periods, then the periods of all others, in milliseconds. A period is 0
 * where nothing is to be removed row by row: log lines go by whole partitions where no project
 * keeps its own for longer. */
enum { RETENTION_KINDS = 3, RETENTION_PARAMS = 1 + 2 * RETENTION_KINDS };

/* Fills them in; the caller frees each (buf_free). */
void retention_params(const struct conf *conf, struct buf params[RETENTION_PARAMS]);

/* The tables with partitions, and for how long theirs are kept; 0: for ever. */
enum { RETENTION_PARTITIONED = 2 };
extern const char *const retention_partitioned[RETENTION_PARTITIONED];
int64_t retention_of_partitions(const struct conf *conf, size_t table);

#endif

/*
 * context: what most of the daemon is handed instead of globals. There may be several in a process
 * one day, one for each database, so nothing above this keeps a state of its own in a static.
 */
#ifndef CONTEXT_H
#define CONTEXT_H

#include "core/batch.h"
#include "core/conf.h"
#include "core/db_clock.h"
#include "core/keyring.h"
#include "core/memory.h"

#include <uv.h>

/* Owned and filled in by the program (interlockd.c); everybody else borrows it, for as long as the
 * loop runs. */
struct context {
	uv_loop_t *loop;
	struct conf *conf;   /* replaced in place by a reload */
	struct batch *batch; /* NULL until it is opened */
	struct memory *memory;
	struct db_clock *db_clock;
	struct keyring *keyring; /* exchanged by a reload */
	const char *coordinator; /* this coordinator's name */
};

#endif

/*
 * cli import: what its parts share.
 */
#ifndef CLI_IMPORT_H
#define CLI_IMPORT_H

#include "cli.h"
#include "project.h"

/* One import under way: what it has done so far is reported when it is committed. */
struct import {
	PGconn *db;
	const struct conf *conf;
	const struct project *project;
	const char *id;
	struct buf done;
};

/* Stores the project's credentials; false (reported) if that fails. */
bool import_credentials(struct import *im) __attribute__((warn_unused_result));

#endif

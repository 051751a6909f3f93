/*
 * project: a project's file, read and checked. All mistakes are reported at once, each
 * with its path.
 */
#ifndef CLI_PROJECT_H
#define CLI_PROJECT_H

#include <jansson.h>

#include "lib/base.h"

struct project {
	struct buf text;    /* the file as it came */
	struct slice bytes; /* its value, in text */
	json_t *root;       /* the same, ids in lower case; nothing is missing that is required */
};

/* Reads the file ("-" for stdin). False if it is not a valid project; each mistake has been
 * reported.
 */
bool project_load(const char *path, struct project *project) __attribute__((warn_unused_result));
void project_free(struct project *project);

/* Has the trigger an enabled edge? The worker drops runs of a trigger without one. */
bool project_runnable(const json_t *workflow, const char *trigger_id);

#endif

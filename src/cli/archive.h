/*
 * archive: a workflow that gets no new runs.
 */
#ifndef CLI_ARCHIVE_H
#define CLI_ARCHIVE_H

#include "cli.h"

/* Archives the workflow, as the owner: no new runs from now on, and those that wait are cancelled;
 * what is in flight goes on. May be repeated, and then goes on where it was interrupted. Adds the
 * number of cancelled runs. False (reported) if it fails.
 */
bool archive_workflow(PGconn *db, const char *project, const char *workflow, int64_t *cancelled)
	__attribute__((warn_unused_result));

/* Asks the question, and waits for "yes", unless the command has --yes. False (reported) if that
 * is not the answer, or if stdin is not a terminal.
 */
bool archive_confirm(const struct cli *cli, const char *question)
	__attribute__((warn_unused_result));

#endif

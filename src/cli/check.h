/*
 * cli check: what the checks of `interlock check` share. A check that is a function reports each
 * problem that it finds with check_report.
 */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

#include "cli.h"

enum check_result { CHECK_OK, CHECK_SKIPPED, CHECK_WARN, CHECK_FAIL, CHECK_RESULTS };

struct check_run;

struct check {
	const char *name;
	void (*run)(struct check_run *d); /* NULL: the statement of this name in sql/checks */
	int need;                         /* what it depends on */
	const char *ok;                   /* the message when no problem is found */
};

struct check_run {
	const struct cli *cli;
	PGconn *db;  /* as the daemon's role; NULL: not connected */
	bool schema; /* fits this build */
	bool json;
	int64_t old; /* milliseconds */
	const struct check *check;
	int reported, here; /* results of all checks, of this one */
	int count[CHECK_RESULTS];
};

/* Prints one result, and a hint what to do about it (may be NULL). */
void check_report(struct check_run *d, enum check_result result, const char *hint, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));

void check_keys(struct check_run *d);
void check_clock(struct check_run *d);
void check_credentials(struct check_run *d);

#endif

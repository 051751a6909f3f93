/*
 * cli check: what the checks of `interlock check` share. A check that looks by itself is called
 * with the doctor, and tells it what it finds, if anything.
 */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

#include "cli.h"

enum check_verdict { CHECK_OK, CHECK_SKIPPED, CHECK_WARN, CHECK_FAIL, CHECK_VERDICTS };

struct doctor;

struct check {
	const char *name;
	void (*look)(struct doctor *d); /* NULL: the statement of this name in sql/checks */
	int need;                       /* what it stands on */
	const char *fine;               /* what is said when nothing is found */
};

struct doctor {
	const struct cli *cli;
	PGconn *db;  /* as the daemon's role; NULL until it is there */
	bool schema; /* is this build's */
	bool json;
	int64_t old; /* milliseconds */
	const struct check *check;
	int found, here; /* by all, by this check */
	int count[CHECK_VERDICTS];
};

/* One thing that was found, and what to do about it (may be NULL). */
void check_found(struct doctor *d, enum check_verdict verdict, const char *remedy, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));

void check_keys(struct doctor *d);
void check_clock(struct doctor *d);
void check_credentials(struct doctor *d);

#endif

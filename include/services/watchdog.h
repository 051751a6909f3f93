/*
 * watchdog: the signs of life. As long as the loop turns, systemd's watchdog is fed, its status
 * line is kept up to date and the log reports what it suppressed. It does not use the database, so
 * an outage stops none of it.
 */
#ifndef WATCHDOG_H
#define WATCHDOG_H

#include "lib/base.h"

/* What the status line says. */
struct watchdog_status {
	const char *not_ready; /* why, or "" */
	bool draining;
	int workers, open_requests;
};

/* Milliseconds until the next beat. For a periodic task; does not look at its argument. */
int64_t watchdog_interval(void *arg);

/* One beat. status is borrowed for the call. */
void watchdog_beat(const struct watchdog_status *status);

#endif

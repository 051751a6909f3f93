/*
 * pulse: the signs of life. As long as the loop turns, systemd's watchdog is fed, its status line
 * is kept true and the log tells what it held back; nothing here asks the database, so its absence
 * stops none of it.
 */
#ifndef WATCHDOG_H
#define WATCHDOG_H

#include "session/channel.h"

/* Milliseconds until the next beat. */
int64_t watchdog_interval(void);

/* not_ready: why, or "". */
void watchdog_beat(const struct server *server, const char *not_ready);

#endif

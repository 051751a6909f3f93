/*
 * pulse: the signs of life. As long as the loop turns, systemd's watchdog is fed, its status line
 * is kept true and the log tells what it held back; nothing here asks the database, so its absence
 * stops none of it.
 */
#ifndef PULSE_H
#define PULSE_H

#include "chan.h"

/* Milliseconds until the next beat. */
int64_t pulse_every(void);

/* not_ready: why, or "". */
void pulse_beat(const struct chan_server *server, const char *not_ready);

#endif

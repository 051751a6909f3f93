/*
 * systemd: the little of systemd that a daemon needs: readiness, the watchdog, sockets handed over,
 * credentials.
 */
#ifndef SYSTEMD_H
#define SYSTEMD_H

#include "lib/base.h"

/* Sends a message ("READY=1", "STATUS=…") to $NOTIFY_SOCKET; does nothing when there is none. */
void systemd_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Tells what we are doing now, in a few words; at most every five seconds, and only what is new: it
 * may be called as often as one likes. */
void systemd_status(const char *status);

/* A reload begins; it ends with "READY=1". */
void systemd_reloading(void);

/* The interval at which systemd expects "WATCHDOG=1", halved, in milliseconds; 0 for never. */
int64_t systemd_watchdog_ms(void) __attribute__((warn_unused_result));

/* How many listening sockets were handed over (descriptors 3, 4, …); unsets the variables. */
int systemd_listen_fds(void);
/* The i-th of them, and its name (FileDescriptorName=), "" if it has none. */
int systemd_listen_fd(int i);
const char *systemd_listen_name(int i);

/* Where secrets are that are neither configured nor handed over. */
#define SD_SECRETS "/etc/interlock/keys"

/* Where a secret is: `path`, or, when that is NULL or empty, `name` in $CREDENTIALS_DIRECTORY, or,
 * where that is not set (the command), in SD_SECRETS. The caller frees it. */
char *systemd_secret_path(const char *path, const char *name) __attribute__((warn_unused_result));

/* Is there a secret to read: is a path configured, or is there one of this name? */
bool systemd_has_secret(const char *path, const char *name);

/* Reads the secret that is there. Appends its bytes to b, one newline at the end removed. False,
 * with a sentence in err, if it cannot be read. */
bool systemd_read_secret(const char *path, const char *name, struct buf *b, struct buf *err)
	__attribute__((warn_unused_result));

#endif

/*
 * logger: what the operator reads. A line goes to stderr as logfmt, or to the journal with fields
 * of its own. Stands below everything else, needs no memory, and never fails: a line that cannot be
 * written is counted, not waited for. What a caller passes is never a secret.
 */
#ifndef LOGGER_H
#define LOGGER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_NOTICE, /* what was decided about a run other than what its worker asked for */
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

enum log_target {
	LOG_AUTO,    /* the journal, if stderr leads there anyway; else stderr */
	LOG_STDERR,  /* coloured on a terminal, with priorities for a journal */
	LOG_JOURNAL, /* journald's own socket */
};

struct log_setup {
	enum log_level level;
	enum log_target target;
	const char *socket; /* journald's; borrowed for the call */
	int64_t burst;      /* lines of one kind in ten seconds; 0: no limit */
};

/* How to log from now on. Until it is called: on stderr, up to LOG_LEVEL_INFO, without a limit. */
void log_configure(const struct log_setup *setup);

/* Is it a terminal that knows colours (TERM), and are they wanted (NO_COLOR)? */
bool log_colours(int fd);

/* Lines above this level are dropped. */
extern enum log_level log_threshold;

/* Writes one line: `level=… msg="…"`. The text is printf's, cut at 2 KiB; control characters in it
 * are escaped, so nothing a peer sends can forge a line. */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warnx(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_errorx(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)

/* As log_warnx, with strerror(errno) appended. */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What a line is about; what is NULL or empty is left out. In the journal they are the fields
 * RUN_ID, WORKER, EVENT and CODE, so that `journalctl RUN_ID=…` tells a run's story. */
struct log_about {
	const char *run, *worker, *event, *code;
};

void log_about(enum log_level level, const struct log_about *about, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The last words before an exit: past every limit, err != 0 as its sentence. */
void log_last(int err, const char *fmt, va_list ap);

/* Reports how many lines were suppressed, of each kind whose ten seconds are over, or of all. To be
 * called periodically, since a kind of which no further line comes is not reported otherwise. */
void log_report_suppressed(bool all);

#endif

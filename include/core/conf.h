/*
 * conf: the configuration. One table of options (conf.c) is the only place where an option exists;
 * the parser, the defaults, the errors, the sample file, the manual and --print-config are made
 * from it.
 */
#ifndef CONF_H
#define CONF_H

#include "lib/base.h"

enum late_policy { LATE_YIELD, LATE_ACKNOWLEDGE, LATE_REJECT };

/* How long what belongs to a work order is kept after its last activity, milliseconds; 0: for ever.
 * No period is longer than that of the runs. */
struct retention {
	int64_t runs, dataclips, logs;
};

/* The options that `[project "<uuid>"]` may override. */
struct conf_project {
	struct uuid id;
	int line;            /* of its section in the file */
	int late_completion; /* enum late_policy */
	struct retention retention;
};

/* Every option, by section. Durations are milliseconds, sizes bytes, switches and choices int.
 * Strings belong to the struct; "" where an option is empty. */
struct conf {
	/* [server] */
	char *listen; /* addresses, separated by blanks: 127.0.0.1:4000 [::1]:4000 unix:/run/x.sock
		       */
	char *trusted_proxies; /* a list for net_list_has */
	char *name; /* this coordinator's name in the journal; empty: host name and port */
	int64_t drain;
	/* [database] */
	char *url, *migrate_url;
	int64_t writers;
	int64_t queue_timeout;
	/* [keys] */
	char *worker_secret, *run_token_key, *credential_key;
	char *worker_secret_other, *run_token_key_other, *credential_key_other;
	/* [runs] */
	int64_t default_timeout;
	/* [transitions] */
	int mode; /* enum transitions_mode */
	/* [lost] */
	int late_completion; /* enum late_policy */
	int64_t late_window, grace, lease;
	int after_claim; /* enum after_claim */
	int64_t max_requeues;
	/* [janitor] */
	int64_t interval;
	/* [claims] */
	int64_t join_timeout, poll;
	/* [journal] */
	int64_t journal_max_message;
	/* [retention] */
	struct retention retention;
	int64_t retention_journal;
	/* [intake] */
	char *intake_listen; /* as listen; "" for the same place */
	int64_t max_body;
	/* [metrics] */
	char *metrics_listen; /* likewise */
	/* [limits] */
	int64_t max_message, max_workers, max_workers_per_address, max_http_connections,
		max_http_connections_per_address, memory;
	/* [log] */
	int log_level, log_target; /* enum log_level, enum log_target */
	char *log_socket;
	int64_t log_burst;

	struct conf_project *projects;
	size_t nprojects;
};

enum transitions_mode { MODE_ENFORCE, MODE_OBSERVE };
enum after_claim { AFTER_CLAIM_LOST, AFTER_CLAIM_REQUEUE };

/* The policy's name on the wire, in the journal and in the file. */
const char *conf_policy_name(int late_policy);

/* "lost" or "requeue". */
const char *conf_after_claim_name(int after_claim);

/* Appends the options that decide how lost runs and late messages are treated, as text that is
 * equal for equal policies. */
void conf_print_policy(const struct conf *conf, struct buf *out);

/* A digest of that text, 16 hexadecimal digits and a NUL. */
enum { CONF_DIGEST = 17 };
void conf_digest_policy(const struct conf *conf, char digest[CONF_DIGEST]);

/* Sets an option of this section, which is no string, as the file would. False, and a mistake in
 * err, if there is no such option or it cannot be that. */
bool conf_set(struct conf *conf, const char *section, const char *name, const char *value,
	struct buf *err) __attribute__((warn_unused_result));

/* Reads the file (NULL: all defaults). NULL and one line for each mistake in err — `file:line:
 * [section] option: got "x", expected …` — if anything is wrong; then nothing has been changed. The
 * caller owns the result. */
struct conf *conf_load(const char *path, struct buf *err) __attribute__((warn_unused_result));
void conf_free(struct conf *conf);

/* The project's own late_completion, or the installation's. */
int conf_late_completion(const struct conf *conf, const struct uuid *project);

/* The longest of a period, whose place is its offset in struct retention: of the installation and
 * of all projects. */
int64_t conf_longest(const struct conf *conf, size_t period);

/* Appends the configuration as a file that conf_load reads back. Secrets are file names only; a
 * password in a database url is printed as ***. */
void conf_print(const struct conf *conf, struct buf *out);

/* Appends the sample file: every option, commented out, with its default and its sentence.
 * config/interlock.conf is this text. */
void conf_sample(struct buf *out);

/* Takes over from `next` the options that may change at run time, names in `kept` (a line each)
 * those that differ but need a restart, and frees next. */
void conf_reload(struct conf *conf, struct conf *next, struct buf *kept);

/* "90s" "250ms" "10m" "1h" "30d", a bare 0; "64KiB" "16MiB" "1GiB" or bytes. False if it is
 * invalid. */
bool conf_parse_duration(const char *s, int64_t *ms) __attribute__((warn_unused_result));
bool conf_parse_size(const char *s, int64_t *bytes) __attribute__((warn_unused_result));

#endif

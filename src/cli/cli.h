/*
 * cli: what the subcommands of `interlock` have in common. A subcommand is a table entry that
 * carries its own usage, and a function; what it prints goes to stdout, and every error is one line
 * on stderr, reported where it happens: a caller that gets false or NULL prints nothing more.
 */
#ifndef CLI_H
#define CLI_H

#include <libpq-fe.h>

#include "lib/base.h"
#include "core/conf.h"
#include "core/keyring.h"
#include "db/schema.h"

/* Exit statuses. */
enum { CLI_OK, CLI_FAILED, CLI_USAGE };

enum { CLI_OPTIONS = 8 };

/* arg: what the option takes, in capitals; NULL for a switch. */
struct cli_option {
	const char *name, *arg, *help;
};

struct cli {
	const char *file; /* the configuration's; NULL: there is none */
	const struct conf *conf;
	const char *mistakes; /* errors in it, a line each: then conf is NULL */
	const struct cli_command *command;
	const char *operand; /* if the command takes one */
	const char *given[CLI_OPTIONS];
};

struct cli_command {
	const char *name;
	const char *operand; /* the one it takes, in capitals, [OPTIONAL]; NULL for none */
	const char *help;    /* one sentence */
	struct cli_option options[CLI_OPTIONS];
	bool allows_invalid_conf; /* runs with an invalid configuration too */
	int (*run)(const struct cli *cli);
};

/* clang-format off */
extern const struct cli_command
	cli_migrate,
	cli_import,
	cli_export,
	cli_delete,
	cli_enqueue,
	cli_retry,
	cli_cancel,
	cli_accept,
	cli_discard,
	cli_runs,
	cli_run,
	cli_why,
	cli_journal,
	cli_verify,
	cli_lost,
	cli_policy,
	cli_workers,
	cli_top,
	cli_prune,
	cli_keys,
	cli_rekey,
	cli_triggers,
	cli_trigger_key,
	cli_check;
/* clang-format on */

/* The option's value ("" for a switch), or NULL if it was not given. */
const char *cli_option(const struct cli *cli, const char *name);

/* The option as a number, or the default; false (reported) if it is not one from min to max. */
bool cli_number(const struct cli *cli, const char *name, int min, int max, int def, int *out)
	__attribute__((warn_unused_result));

/* The option as milliseconds, or *ms as it is; false (reported, with what is expected) if it is not
 * a duration, or shorter than min. */
bool cli_duration(const struct cli *cli, const char *name, int64_t min, const char *expected,
	int64_t *ms) __attribute__((warn_unused_result));

/* Is the option absent, or one of the words (NULL at the end)? False (reported) if not. */
bool cli_is_word(const struct cli *cli, const char *name, const char *const *words)
	__attribute__((warn_unused_result));

/* Is the argument a UUID, or absent? False (reported, by this name) if it is something else. */
bool cli_is_id(const char *what, const char *text) __attribute__((warn_unused_result));

/* One line on stderr. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Appends the file's bytes, stdin's for "-". */
bool cli_read(const char *path, struct buf *b) __attribute__((warn_unused_result));

/* The keys for credentials; NULL (reported) if it cannot be read. The caller gives it to
 * keyring_free. */
struct keyring *cli_credential_keys(const struct conf *conf) __attribute__((warn_unused_result));

/* Appends the bytes as hexadecimal digits. */
void cli_add_hex(struct buf *b, struct slice bytes);

/* Colours for a person at a terminal, to be printed; "" if stdout is not a terminal. */
enum cli_colour { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_RED, CLI_GREEN, CLI_YELLOW };
const char *cli_colour(enum cli_colour colour);
enum cli_colour cli_state_colour(const char *state);

/* Prints the text in lines of at most 80 columns, each but the first behind so many spaces. */
void cli_paragraph(const char *text, int indent);

/* Asks the person at the terminal; true if the answer is yes. False (reported) if stdin is no
 * terminal. */
bool cli_confirm(const char *fmt, ...) __attribute__((format(printf, 1, 2), warn_unused_result));

/* Shows the progress of long work, in place, if stderr is a terminal. */
void cli_progress(const char *what, int64_t done, int64_t total);

/* The database. */

/* Connects as the owner of the tables ([database] migrate_url, else url) or as the daemon's role
 * (url). NULL (reported) if that fails. The caller gives it to PQfinish. */
PGconn *cli_connect(const struct conf *conf, bool owner) __attribute__((warn_unused_result));

/* As cli_connect, but fails if the schema does not fit this build. */
PGconn *cli_open(const struct conf *conf, bool owner) __attribute__((warn_unused_result));

/* The database's schema, version 0 if it has none; false (reported) if it cannot be read. */
bool cli_schema(PGconn *db, struct schema *found) __attribute__((warn_unused_result));

/* As cli_connect and cli_query, but the error is appended to why instead of reported. */
PGconn *cli_dial(const struct conf *conf, bool owner, struct buf *why)
	__attribute__((warn_unused_result));
PGresult *cli_ask(PGconn *db, const char *sql, int n, const char *const *values, struct buf *why)
	__attribute__((warn_unused_result));

/* Runs one statement with n text parameters. NULL (reported) if it fails. The caller gives the
 * result to PQclear. */
PGresult *cli_query(PGconn *db, const char *sql, int n, const char *const *values)
	__attribute__((warn_unused_result));

/* The text in the column of that name, "" for NULL; fatal() if the result has no such column. */
const char *cli_value(const PGresult *res, int row, const char *column);
/* The text of a result that is one column, in its first row; NULL if there is no row. */
const char *cli_single(const PGresult *res);

/* As cli_query; the number of rows that were changed, -1 if it fails. */
int cli_change(PGconn *db, const char *sql, int n, const char *const *values)
	__attribute__((warn_unused_result));

/* The text of sql/commands/NAME.sql, filled in as the statements are; valid forever. */
const char *cli_sql(const char *name);

/* Prints a paragraph: why the run (values: its project, its id) is in its state. False (reported)
 * if that fails. */
bool cli_explain(PGconn *db, const char *const *values) __attribute__((warn_unused_result));

/* Changes a run by the statement, with n text parameters, behind the lock of its work order, whose
 * state follows; waiting: behind that of the claims, too. NULL (reported) if that fails; the
 * transaction is open then, for PQfinish to end. The caller gives the result to PQclear. */
PGresult *cli_change_run(PGconn *db, const char *stmt, bool waiting, const char *project,
	const char *run, int n, const char *const *values) __attribute__((warn_unused_result));

/* The workflow's id, given as such or by a unique name. NULL (reported) if there is none; the
 * caller frees it. */
char *cli_workflow(PGconn *db, const char *text) __attribute__((warn_unused_result));

/* The project of a run; NULL (reported) if there is no such run. The caller frees it. */
char *cli_project_of(PGconn *db, const char *run) __attribute__((warn_unused_result));

/* Prints the rows in aligned columns. Columns of type numeric are taken for seconds and shown as
 * durations. */
void cli_table(const PGresult *rows);
void cli_table_to(FILE *out, const PGresult *rows);

/* Runs a query (n text parameters) and prints its rows as a table, or the one row as a record; as
 * JSON by the server itself, without a newline, so that both show the same columns. False
 * (reported) if it fails.
 */
bool cli_show(PGconn *db, const char *query, bool one, bool json, int n, const char *const *values)
	__attribute__((warn_unused_result));

/* All of a command that lists what a query finds: connects, shows it (as JSON with --json), and
 * gives the exit status. */
int cli_list(const struct cli *cli, const char *query, int n, const char *const *values);

/* Prints one row, a line for each column that is not NULL. */
void cli_record(const PGresult *row);

#endif

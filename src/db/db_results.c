/*
 * db_answers: what is sent in the pipeline and what comes back. Answers are matched with a queue of
 * our own, because libpq's NULL says both "end of this statement" and "nothing left". After each
 * call of the owner's the state is looked at again: the owner may have reset or closed us.
 */
#include "db_private.h"

#include <stdlib.h>

static const char *error_text(const PGresult *res)
{
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	if (text == NULL)
		text = PQresultErrorMessage(res);
	return *text != '\0' ? text : "an answer out of step";
}

/* Does this end the session? The server's FATAL does, and so does what libpq made up itself. */
static bool is_fatal(const PGresult *res)
{
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	return severity == NULL || strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0;
}

/* It says FATAL here when it ends an idle session. */
void db_on_notice(void *arg, const PGresult *res)
{
	struct db *db = arg;
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	bool warning = severity != NULL && strcmp(severity, "WARNING") == 0;
	if (db_is_live(db) && severity != NULL && is_fatal(res))
		db_fail(db, "%s", error_text(res));
	else
		log_line(warning ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "%s: %s", db->config.name,
			error_text(res));
}

void db_await(struct db *db, enum db_awaited kind, int sent)
{
	if (sent)
		buf_addc(&db->owed, (char)kind);
	else
		db_fail(db, "%s", PQerrorMessage(db->conn));
}

static void send_listen(struct db *db, const char *channel)
{
	char *quoted = PQescapeIdentifier(db->conn, channel, strlen(channel));
	char *sql = xasprintf("LISTEN %s", quoted);
	db_await(db, STATEMENT, PQsendQueryParams(db->conn, sql, 0, NULL, NULL, NULL, NULL, 0));
	free(sql);
	PQfreemem(quoted);
}

static void prepare(struct db *db, const struct db_stmt *stmt)
{
	db_await(db, STATEMENT, PQsendPrepare(db->conn, stmt->name, stmt->sql, 0, NULL));
	if (stmt->columns != NULL && db_is_live(db))
		db_await(db, STATEMENT, PQsendDescribePrepared(db->conn, stmt->name));
}

void db_prepare(struct db *db)
{
	const struct db_config *c = &db->config;
	db_enter(db, PREPARING, DB_ANSWER);
	if (PQsetnonblocking(db->conn, 1) != 0 || !PQenterPipelineMode(db->conn)) {
		db_fail(db, "%s", PQerrorMessage(db->conn));
		return;
	}
	for (const char *const *s = c->settings; s != NULL && *s != NULL && db_is_live(db); s += 2)
		db_await(db, STATEMENT,
			PQsendQueryParams(db->conn, "SELECT set_config($1, $2, false)", 2, NULL, s,
				NULL, NULL, 0));
	for (size_t i = 0; i < c->nstmts && db_is_live(db); i++)
		prepare(db, &c->stmts[i]);
	if (c->listen != NULL && db_is_live(db))
		send_listen(db, c->listen);
	if (db_is_live(db))
		db_await(db, SYNC, PQpipelineSync(db->conn));
	if (db_is_live(db))
		db_flush(db);
}

/* The i-th thing that db_prepare() sent, for a message. *described: the statement, if this was its
 * description that was asked for. */
static const char *prepared_name(const struct db *db, size_t i, const struct db_stmt **described)
{
	for (const char *const *s = db->config.settings; s != NULL && *s != NULL; s += 2, i--)
		if (i == 0)
			return *s;
	for (size_t n = 0; n < db->config.nstmts; n++, i--) {
		const struct db_stmt *stmt = &db->config.stmts[n];

		if (i == 0)
			return stmt->name;
		if (stmt->columns == NULL)
			continue;
		if (--i == 0) {
			*described = stmt;
			return stmt->name;
		}
	}
	return "LISTEN";
}

/* The code reads results by what the statement's file declares. */
static void check_columns(const struct db *db, const struct db_stmt *stmt, const PGresult *res)
{
	const char *declared = stmt->columns;
	int n = PQnfields(res);

	for (int i = 0; i < n || *declared != '\0'; i++) {
		int len = (int)strcspn(declared, ",");
		const char *found = i < n ? PQfname(res, i) : "missing";

		if (i >= n || (int)strlen(found) != len ||
			strncmp(found, declared, (size_t)len) != 0)
			fatalx("%s: %s: column %d of the result is %s, and declared is %.*s",
				db->config.name, stmt->name, i + 1, found, len > 0 ? len : 4,
				len > 0 ? declared : "none");
		declared += len;
		declared += strspn(declared, ", ");
	}
}

/* Classes 22 and 42 blame the text that was sent, which is ours; the rest blames the server. */
static void check_prepared(struct db *db, const PGresult *res)
{
	const struct db_stmt *described = NULL;
	const char *what = prepared_name(db, db->answered - 1, &described);

	if (PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK) {
		if (described != NULL)
			check_columns(db, described, res);
		return;
	}
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	if (strncmp(sqlstate, "42", 2) == 0 || strncmp(sqlstate, "22", 2) == 0)
		fatalx("%s: %s does not prepare: %s", db->config.name, what, error_text(res));
	db_fail(db, "%s: %s", what, error_text(res));
}

static void pass_sync(struct db *db)
{
	db->owed.n -= db->answered;
	memmove(db->owed.p, db->owed.p + db->answered, db->owed.n);
	db->answered = 0;
	if (db->state == PREPARING)
		db_established(db);
	else
		db->config.ops->synced(db, db->config.arg);
}

/* One answer. An error in the place of a sync's answer is a commit that failed, which the contract
 * has no word for (the schema defers no constraint): then the connection counts as lost, so that
 * nothing is taken for committed. Takes res. */
static void accept_result(struct db *db, PGresult *res)
{
	ExecStatusType status = PQresultStatus(res);
	bool sync = status == PGRES_PIPELINE_SYNC;
	bool expected = sync == (db->owed.p[db->answered] == SYNC);
	if (!expected || (status == PGRES_FATAL_ERROR && is_fatal(res))) {
		db_fail(db, "%s", error_text(res));
		PQclear(res);
		return;
	}
	db->answered++;
	if (!sync && db->state != PREPARING) {
		db->config.ops->result(db, db->config.arg, res);
		return;
	}
	if (sync)
		pass_sync(db);
	else
		check_prepared(db, res);
	PQclear(res);
}

/* NULL ends each statement; a second one in a row would mean that libpq expects nothing more. */
static void read_results(struct db *db)
{
	bool ended = false;
	while (db_is_live(db) && db->answered < db->owed.n && !PQisBusy(db->conn)) {
		PGresult *res = PQgetResult(db->conn);
		if (res != NULL)
			accept_result(db, res);
		else if (ended)
			db_fail(db, "answers are missing");
		ended = res == NULL;
	}
}

static void read_notifications(struct db *db)
{
	PGnotify *note;
	while (db->state == UP && (note = PQnotifies(db->conn)) != NULL) {
		if (db->config.ops->notified != NULL)
			db->config.ops->notified(db, db->config.arg, note->relname);
		PQfreemem(note);
	}
}

void db_read(struct db *db)
{
	/* Also when the socket is only writable: libpq may have read by itself while it wrote. */
	if (!PQconsumeInput(db->conn)) {
		db_fail(db, "%s", PQerrorMessage(db->conn));
		return;
	}
	read_results(db);
	read_notifications(db);
	if (db_is_live(db))
		db_flush(db);
}

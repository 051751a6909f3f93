/*
 * cli journal: the journal of a run, or the newest rows of all runs. The rows come in the order in
 * which they were written; JSON has all columns. Of messages that changed nothing only the first
 * have rows; `more` counts the others.
 */
#include "cli.h"

#include <stdlib.h>

/* The journal's outcomes; `late` stands for several (journal.sql). */
static const char *const outcomes[] = { "late", "refused", "yielded", "too_late", "revived",
	"replayed", "observed", "implicit", "accepted", "released", "requeued", "noted", NULL };

struct filter {
	const char *run, *outcome;
	bool json, message;
	int limit;
	int64_t since; /* milliseconds back; 0: no bound, of one run only */
};

static PGresult *query(PGconn *db, const struct filter *w, const char *project, int64_t since)
{
	char back[24], limit[12];
	const char *rows = cli_sql("journal"), *const values[] = { project, w->run, w->outcome,
		since != 0 ? back : NULL, limit, w->message ? "t" : "f" };
	char *sql = w->json ? xasprintf("SELECT row_to_json(t) AS json FROM (%s) t", rows)
			    : xstrdup(rows);

	snprintf(back, sizeof(back), "%jd", (intmax_t)since);
	snprintf(limit, sizeof(limit), "%d", w->limit);
	PGresult *res = cli_query(db, sql, countof(values), values);
	free(sql);
	return res;
}

/* Searches the last minute first, then further back: a large journal would take long to sort for a
 * few rows. */
static PGresult *query_backwards(PGconn *db, const struct filter *w)
{
	PGresult *res = NULL;

	for (int64_t ms = 60 * 1000;; ms *= 8) {
		bool last = ms >= w->since;

		PQclear(res);
		res = query(db, w, NULL, last ? w->since : ms);
		if (last || res == NULL || PQntuples(res) == w->limit)
			return res;
	}
}

static bool show(PGconn *db, const struct filter *w)
{
	char *project = w->run ? cli_project_of(db, w->run) : NULL;
	PGresult *res = NULL;

	if (project)
		res = query(db, w, project, w->since);
	else if (!w->run)
		res = query_backwards(db, w);
	if (res && w->json)
		for (int i = 0; i < PQntuples(res); i++)
			puts(cli_value(res, i, "json"));
	else if (res)
		cli_table(res);
	PQclear(res);
	free(project);
	return res;
}

/* False (reported) if an option is invalid. */
static bool read_options(const struct cli *cli, struct filter *w)
{
	*w = (struct filter){
		.run = cli->operand,
		.outcome = cli_option(cli, "outcome"),
		.json = cli_option(cli, "json"),
		.message = cli_option(cli, "message"),
		.since = cli->operand ? 0 : 86400 * 1000,
	};
	return cli_is_id("RUN", w->run) &&
	       cli_duration(cli, "since", 1, "like 10m or 1d", &w->since) &&
	       cli_is_word(cli, "outcome", outcomes) &&
	       cli_number(cli, "limit", 1, 1000000, w->run ? 1000 : 20, &w->limit);
}

static int run_journal(const struct cli *cli)
{
	struct filter filter;

	if (!read_options(cli, &filter))
		return CLI_USAGE;
	PGconn *db = cli_open(cli->conf, false);
	bool ok = db && show(db, &filter);
	PQfinish(db);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_journal = {
	.name = "journal",
	.operand = "[RUN]",
	.help = "Show the journal of a run, or the newest rows of all runs.",
	.options = {
		{ "outcome", "WORD", "only rows with this outcome: refused, replayed, …, or late for all late messages" },
		{ "since", "TIME", "only rows of the last TIME, like 10m or 1d (default: 1d; of a run: all)" },
		{ "limit", "N", "at most the newest N rows (default: 20; of a run: 1000)" },
		{ "message", NULL, "with the worker's messages that were not applied" },
		{ "json", NULL, "print one JSON object per line" },
	},
	.run = run_journal,
};

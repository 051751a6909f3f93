/*
 * cli journal: what was decided about a run, or about all of them lately. The rows come in the
 * order in which they were written; a person sees what explains a run, a program sees it all. What
 * changed nothing has only its first rows, and how many `more` there were.
 */
#include "cli.h"

#include <stdlib.h>

/* The answers to `why?`, as the journal spells them; `late` stands for several (journal.sql). */
static const char *const outcomes[] = { "late", "refused", "yielded", "too_late", "revived",
	"replayed", "observed", "implicit", "accepted", "released", "requeued" };

static bool is_outcome(const char *word)
{
	struct buf list = { 0 };

	for (size_t i = 0; i < countof(outcomes); i++) {
		if (strcmp(word, outcomes[i]) == 0) {
			buf_free(&list);
			return true;
		}
		buf_addf(&list, "%s%s", i > 0 ? ", " : "", outcomes[i]);
	}
	cli_error("--outcome: got \"%s\", expected one of %s", word, list.p);
	buf_free(&list);
	return false;
}

/* What is looked for. */
struct wanted {
	const char *run, *outcome;
	bool json, message;
	int limit;
	int64_t since; /* milliseconds back; 0: no bound, of one run only */
};

static PGresult *look(PGconn *db, const struct wanted *w, const char *project, int64_t since)
{
	char back[24], limit[12];
	const char *query = cli_sql("journal"), *const values[] = { project, w->run, w->outcome,
		since != 0 ? back : NULL, limit, w->message ? "t" : "f" };
	char *sql =
		w->json ? xasprintf("SELECT row_to_json(t) FROM (%s) t", query) : xstrdup(query);

	snprintf(back, sizeof(back), "%jd", (intmax_t)since);
	snprintf(limit, sizeof(limit), "%d", w->limit);
	PGresult *res = cli_query(db, sql, countof(values), values);
	free(sql);
	return res;
}

/* Of all runs the newest rows are looked for in the last minute first, then further back: where the
 * journal is large, as much must not be sorted for a few rows. */
static PGresult *query_backwards(PGconn *db, const struct wanted *w)
{
	PGresult *res = NULL;

	for (int64_t ms = 60 * 1000;; ms *= 8) {
		bool last = ms >= w->since;

		PQclear(res);
		res = look(db, w, NULL, last ? w->since : ms);
		if (last || res == NULL || PQntuples(res) == w->limit)
			return res;
	}
}

static bool show(PGconn *db, const struct wanted *w)
{
	char *project = w->run ? cli_project_of(db, w->run) : NULL;
	PGresult *res = NULL;

	if (project)
		res = look(db, w, project, w->since);
	else if (!w->run)
		res = query_backwards(db, w);
	if (res && w->json)
		for (int i = 0; i < PQntuples(res); i++)
			puts(PQgetvalue(res, i, 0));
	else if (res)
		cli_table(res);
	PQclear(res);
	free(project);
	return res;
}

/* False (said) if an option is none. */
static bool read_options(const struct cli *cli, struct wanted *w)
{
	*w = (struct wanted){
		.run = cli->operand,
		.outcome = cli_option(cli, "outcome"),
		.json = cli_option(cli, "json"),
		.message = cli_option(cli, "message"),
		.since = cli->operand ? 0 : 86400 * 1000,
	};
	return cli_is_id("RUN", w->run) &&
	       cli_duration(cli, "since", 1, "like 10m or 1d", &w->since) &&
	       (!w->outcome || is_outcome(w->outcome)) &&
	       cli_number(cli, "limit", 1, 1000000, w->run ? 1000 : 20, &w->limit);
}

static int run_journal(const struct cli *cli)
{
	struct wanted wanted;

	if (!read_options(cli, &wanted))
		return CLI_USAGE;
	PGconn *db = cli_open(cli->conf, false);
	bool ok = db && show(db, &wanted);
	PQfinish(db);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_journal = {
	.name = "journal",
	.operand = "[RUN]",
	.help = "Shows what was decided about a run, or about all runs lately, and why.",
	.options = {
		{ "outcome", "WORD", "only rows like this: refused, replayed, … or late" },
		{ "since", "TIME", "not further back (1d; of a run: everything that is kept)" },
		{ "limit", "N", "at most the last so many (20; of a run: 1000)" },
		{ "message", NULL, "with what the worker had sent, where it was not applied" },
		{ "json", NULL, "prints one JSON object per line" },
	},
	.run = run_journal,
};

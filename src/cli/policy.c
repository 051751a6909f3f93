/*
 * cli policy: which policy for lost runs is in force, and what another one would have made of the
 * runs that were lost. What would have been is decided by the conditions of the daemon's own
 * statements (sql/commands/policy_*.sql), from the journal.
 */
#include "cli.h"

#include <stdlib.h>

enum { PARAMS = 9, WEEK_MS = 7 * 86400 * 1000, BAR = 50 };

struct policy {
	const struct cli *cli;
	PGconn *db;
	const char *project;
	int64_t since;
	char since_text[24];
};

/* What sql/commands/policy_what_if.sql is asked: the losses, and the options. */
struct question {
	char lease[24], grace[24], window[24], requeues[24];
	struct buf projects;
	const char *values[PARAMS];
};

static void number(char out[24], int64_t n)
{
	snprintf(out, 24, "%jd", (intmax_t)n);
}

static void add_duration(struct buf *b, int64_t ms)
{
	if (ms % 1000 != 0)
		buf_addf(b, "%jdms", (intmax_t)ms);
	else if (ms % 3600000 == 0 && ms > 0)
		buf_addf(b, "%jdh", (intmax_t)(ms / 3600000));
	else if (ms % 60000 == 0 && ms > 0)
		buf_addf(b, "%jdm", (intmax_t)(ms / 60000));
	else
		buf_addf(b, "%jds", (intmax_t)(ms / 1000));
}

/* own: the projects' own policies count. */
static void ask(struct question *q, const struct policy *p, const struct conf *conf, bool own)
{
	char id[UUID_TEXT];

	number(q->lease, conf->lease);
	number(q->grace, conf->grace);
	number(q->window, conf->late_window * 1000);
	number(q->requeues, conf->max_requeues);
	buf_addc(&q->projects, '{');
	for (size_t i = 0; own && i < conf->nprojects; i++)
		buf_addf(&q->projects, "%s\"%s\":\"%s\"", i > 0 ? "," : "",
			uuid_format(&conf->projects[i].id, id),
			conf_policy_name(conf->projects[i].late_completion));
	buf_addc(&q->projects, '}');
	const char *const values[PARAMS] = { p->since_text, p->project, q->lease, q->grace,
		q->window, conf_policy_name(conf->late_completion), q->projects.p,
		conf_after_claim_name(conf->after_claim), q->requeues };
	memcpy(q->values, values, sizeof(values));
}

/* ---- what is in force ---- */

static const char coordinators[] =
	"SELECT name AS coordinator, policy = $1 AS same, "
	"	extract(epoch FROM now() - started_at) AS running_for, "
	"	extract(epoch FROM now() - seen_at) AS last_seen "
	"FROM coordinators WHERE seen_at > now() - interval '1 minute' ORDER BY name";

static void describe_late(struct buf *b, const struct conf *conf, int policy)
{
	switch (policy) {
	case LATE_YIELD:
		buf_adds(b, "what a worker reports about a lost run is applied");
		if (conf->late_window > 0) {
			buf_adds(b, " for ");
			add_duration(b, conf->late_window);
			buf_adds(b, " after the loss; later it is kept, and the run stays lost");
		}
		break;
	case LATE_ACKNOWLEDGE:
		buf_adds(b,
			"what a worker reports about a lost run is answered ok and kept, and the "
			"run stays lost");
		break;
	default:
		buf_adds(b,
			"what a worker reports about a lost run is refused and kept, and the run "
			"stays lost");
	}
	buf_addf(b, " (late_completion = %s).", conf_policy_name(policy));
}

static void describe_clocks(struct buf *b, const struct conf *conf)
{
	buf_adds(b, "A run is lost when ");
	if (conf->lease > 0) {
		buf_adds(b, "its worker is silent for ");
		add_duration(b, conf->lease);
		buf_adds(b, " (lease), or when ");
	}
	buf_adds(b, "it takes longer than its time-out (");
	add_duration(b, conf->default_timeout);
	buf_adds(b, ", unless its project sets one) and ");
	add_duration(b, conf->grace);
	buf_adds(b, " (grace). ");
	if (conf->after_claim == AFTER_CLAIM_REQUEUE)
		buf_addf(b,
			"A run that has not started is requeued instead, at most %jd times "
			"(after_claim, max_requeues). ",
			(intmax_t)conf->max_requeues);
	buf_adds(b, conf->nprojects > 0 ? "In all projects but those below " : "In all projects ");
	describe_late(b, conf, conf->late_completion);
}

static bool show_words(const struct policy *p, const char *digest)
{
	const struct conf *conf = p->cli->conf;
	struct buf b = { 0 };
	char id[UUID_TEXT];

	describe_clocks(&b, conf);
	cli_paragraph(b.p, 0);
	for (size_t i = 0; i < conf->nprojects; i++) {
		uuid_format(&conf->projects[i].id, id);
		if ((p->project && strcmp(p->project, id) != 0) ||
			conf->projects[i].late_completion == conf->late_completion)
			continue;
		b.n = 0;
		buf_addf(&b, "In project %s ", id);
		describe_late(&b, conf, conf->projects[i].late_completion);
		putchar('\n');
		cli_paragraph(b.p, 0);
	}
	buf_free(&b);
	puts("\nSo the file says. The coordinators that run, and whether theirs says the same:\n");
	return cli_show(p->db, coordinators, false, false, 1, &digest);
}

static bool show_json(const struct policy *p, const char *digest)
{
	const struct conf *conf = p->cli->conf;
	char id[UUID_TEXT];

	printf("{\"late_completion\":\"%s\",\"late_window_ms\":%jd,\"lease_ms\":%jd,"
	       "\"grace_ms\":%jd,\"default_timeout_ms\":%jd,\"after_claim\":\"%s\","
	       "\"max_requeues\":%jd,\n\"projects\":[",
		conf_policy_name(conf->late_completion), (intmax_t)conf->late_window,
		(intmax_t)conf->lease, (intmax_t)conf->grace, (intmax_t)conf->default_timeout,
		conf_after_claim_name(conf->after_claim), (intmax_t)conf->max_requeues);
	for (size_t i = 0; i < conf->nprojects; i++)
		printf("%s{\"project\":\"%s\",\"late_completion\":\"%s\"}", i > 0 ? "," : "",
			uuid_format(&conf->projects[i].id, id),
			conf_policy_name(conf->projects[i].late_completion));
	printf("],\n\"coordinators\":");
	bool ok = cli_show(p->db, coordinators, false, true, 1, &digest);
	puts("}");
	return ok;
}

static bool show_policy(const struct policy *p)
{
	char digest[CONF_DIGEST];

	conf_digest_policy(p->cli->conf, digest);
	return cli_option(p->cli, "json") ? show_json(p, digest) : show_words(p, digest);
}

/* ---- what if ---- */

/* Changes conf by the words `lease=120s grace=30s`; false (reported) if one is invalid. own becomes
 * false if they say what applies to all projects. */
static bool read_words(const char *text, struct conf *conf, bool *own)
{
	char *words = xstrdup(text), *rest = words, *word;
	struct buf why = { 0 };
	bool ok = true;

	while (ok && (word = strsep(&rest, " ,")) != NULL) {
		char *value = strchr(word, '=');

		if (*word == '\0')
			continue;
		if (value)
			*value++ = '\0';
		ok = value && conf_set(conf, "lost", word, value, &why);
		if (!ok)
			cli_error("--what-if: %s",
				why.n ? why.p : "expected option=value, like lease=120s");
		else if (strcmp(word, "late_completion") == 0)
			*own = false;
	}
	buf_free(&why);
	free(words);
	return ok;
}

/* The lengths of the bars are relative to the longest. */
static bool plot_lateness(const struct policy *p)
{
	const char *values[] = { p->since_text, p->project };
	PGresult *rows = cli_query(p->db, cli_sql("policy_lateness"), 2, values);
	int most = 1;

	for (int i = 0; rows && i < PQntuples(rows); i++) {
		int n = atoi(cli_value(rows, i, "n"));

		most = n > most ? n : most;
	}
	if (rows)
		puts("\nHow long after the loss the results came:\n");
	for (int i = 0; rows && i < PQntuples(rows); i++) {
		int n = atoi(cli_value(rows, i, "n")), bar = (int)((int64_t)n * BAR / most);

		printf("%-10s%6d  ", cli_value(rows, i, "label"), n);
		for (int k = 0; k < bar + (n > 0 && bar == 0); k++)
			putchar('#');
		putchar('\n');
	}
	PQclear(rows);
	return rows;
}

static bool show_what_if(const struct policy *p, const struct question *q)
{
	const char *sql = cli_sql("policy_what_if");
	char *summary =
		xasprintf("SELECT format('Of %%s lost runs, %%s would not have been lost: their "
			  "workers were active "
			  "again in time. Of %%s the late result would count, of %%s it would only "
			  "be kept; %%s have "
			  "had none although their workers came back; %%s would be requeued. The "
			  "workers of %%s never "
			  "came back: they would be noticed %%s later on average, and their slots "
			  "held %%s longer. "
			  "%%s silences would have been losses.', lost, avoided, counted, kept, "
			  "open, requeued, dead, "
			  "interlock_duration(coalesce(later, 0) * interval '1 second'), "
			  "interlock_duration(coalesce(held, 0) * interval '1 second'), new) "
			  "FROM (%s) t WHERE workflow = 'all' AND project IS NULL",
			sql);
	char *table = xasprintf("SELECT left(coalesce(project || '/', '') || workflow, 22) AS "
				"workflow, lost, avoided, "
				"counted, kept, open, dead, new, later FROM (%s) t",
		sql);
	PGresult *res = cli_query(p->db, summary, PARAMS, q->values);

	if (res) {
		cli_paragraph(cli_single(res), 0);
		putchar('\n');
	}
	bool ok =
		res && cli_show(p->db, table, false, false, PARAMS, q->values) && plot_lateness(p);
	PQclear(res);
	free(summary);
	free(table);
	return ok;
}

static bool show_what_if_json(const struct policy *p, const struct question *q)
{
	const char *values[] = { p->since_text, p->project };

	printf("{\"workflows\":");
	if (!cli_show(p->db, cli_sql("policy_what_if"), false, true, PARAMS, q->values))
		return false;
	printf(",\n\"lateness\":");
	if (!cli_show(p->db, cli_sql("policy_lateness"), false, true, 2, values))
		return false;
	puts("}");
	return true;
}

static bool what_if(const struct policy *p, const struct conf *conf, bool own)
{
	struct question q = { 0 };

	ask(&q, p, conf, own);
	bool ok = cli_option(p->cli, "json") ? show_what_if_json(p, &q) : show_what_if(p, &q);
	buf_free(&q.projects);
	return ok;
}

/* ---- advice ---- */

enum { FEW = 20, MANY = 200 };

static const char *certainty(int cases)
{
	return cases < FEW ? "hardly: few cases" : cases < MANY ? "fairly" : "well";
}

static void print_option(
	const PGresult *res, const char *column, const char *name, int64_t now_ms, int cases)
{
	int col = PQfnumber(res, column);
	struct buf now = { 0 };

	add_duration(&now, now_ms);
	if (PQgetisnull(res, 0, col))
		printf("# %s: no case to judge by; it is %s now\n", name, now.p);
	else
		printf("# %s: it is %s now; supported %s (%d)\n%s = %ss\n", name, now.p,
			certainty(cases), cases, name, PQgetvalue(res, 0, col));
	buf_free(&now);
}

static void print_advice(const PGresult *res, const struct conf *conf)
{
	const char *const counts[] = { "losses", "silences", "dead", "overruns", "late",
		"late_p99_s" };
	const char *v[countof(counts)];

	for (size_t i = 0; i < countof(counts); i++)
		v[i] = PQgetvalue(res, 0, PQfnumber(res, counts[i]));
	printf("# %s lost runs; %s silences of workers that lived, %s workers that never came "
	       "back;\n"
	       "# %s results after the deadline. ",
		v[0], v[1], v[2], v[3]);
	if (atoi(v[4]) > 0)
		printf("99 %% of the %s late results came within %s s.\n", v[4], v[5]);
	else
		puts("No result came late.");
	puts("[lost]");
	print_option(res, "lease_s", "lease", conf->lease, atoi(v[1]));
	print_option(res, "grace_s", "grace", conf->grace, atoi(v[3]));
	if (conf->late_window > 0 && atoi(v[5]) * INT64_C(1000) > conf->late_window)
		printf("late_window = %dm\t# some late results came after it\n",
			atoi(v[5]) / 60 + 1);
}

static bool advise(const struct policy *p)
{
	const struct conf *conf = p->cli->conf;
	char lease[24], grace[24];
	const char *values[] = { p->since_text, p->project, lease, grace };

	number(lease, conf->lease);
	number(grace, conf->grace);
	if (cli_option(p->cli, "json")) {
		bool ok = cli_show(p->db, cli_sql("policy_advice"), true, true, 4, values);
		putchar('\n');
		return ok;
	}
	PGresult *res = cli_query(p->db, cli_sql("policy_advice"), 4, values);
	if (res)
		print_advice(res, conf);
	PQclear(res);
	return res;
}

static int run_policy(const struct cli *cli)
{
	const char *words = cli_option(cli, "what-if");
	struct policy p = { .cli = cli, .project = cli_option(cli, "project"), .since = WEEK_MS };
	struct conf conf = *cli->conf; /* what-if changes numbers only */
	bool own = true;

	if (!cli_is_id("--project", p.project) ||
		!cli_duration(cli, "since", 1, "like 12h or 7d", &p.since) ||
		(words && !read_words(words, &conf, &own)))
		return CLI_USAGE;
	if (words && cli_option(cli, "advise")) {
		cli_error("policy takes either --what-if or --advise");
		return CLI_USAGE;
	}
	number(p.since_text, p.since);
	p.db = cli_open(cli->conf, false);
	bool ok = p.db && (words                              ? what_if(&p, &conf, own)
				  : cli_option(cli, "advise") ? advise(&p)
							      : show_policy(&p));
	PQfinish(p.db);
	return ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_policy = {
	.name = "policy",
	.help = "Show the policy for lost runs, what another would have done, or which is best.",
	.options = {
		{ "what-if", "OPTIONS", "decide the losses again with these, like \"lease=120s grace=30s\"" },
		{ "advise", NULL, "print the options that would have cost least, to be pasted" },
		{ "since", "TIME", "by the losses of the last TIME, like 12h (default: 7d)" },
		{ "project", "ID", "only this project" },
		{ "json", NULL, "print a JSON object" },
	},
	.run = run_policy,
};

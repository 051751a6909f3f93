/*
 * conf: the configuration. An option exists as one row of the table below and nowhere else; the
 * defaults go through the same parser as what an operator writes. conf_load reports every
 * mistake before it fails, and no caller ever sees a struct conf with a value that was not checked.
 */
#include "conf_private.h"

#include "lib/crypto.h"

#include <stdlib.h>

static const char *const policies[] = { "yield", "acknowledge", "reject", NULL };
static const char *const modes[] = { "enforce", "observe", NULL };
static const char *const after_claims[] = { "lost", "requeue", NULL };
static const char *const levels[] = { "error", "warn", "notice", "info", "debug", NULL };
static const char *const targets[] = { "auto", "stderr", "journal", NULL };

/* clang-format off */
const struct option conf_options[] = {
	{ .section = "server", .name = "listen", .type = OPTION_ADDRESSES,
	  .def = "127.0.0.1:4000", .field = offsetof(struct conf, listen),
	  .doc = "Addresses for workers and webhooks; not used if systemd passes sockets." },
	{ .section = "server", .name = "trusted_proxies", .type = OPTION_NETWORKS, .reload = true,
	  .def = "", .field = offsetof(struct conf, trusted_proxies),
	  .doc = "Proxies whose X-Forwarded-For header is trusted for the client's address." },
	{ .section = "server", .name = "name", .type = OPTION_STRING,
	  .def = "", .field = offsetof(struct conf, name),
	  .doc = "This coordinator's name in the journal; empty: host name and port." },
	{ .section = "server", .name = "drain_timeout", .type = OPTION_DURATION,
	  .def = "10s", .min = "0", .max = "10m", .field = offsetof(struct conf, drain),
	  .doc = "How long a graceful drain waits for messages under way on each socket." },

	{ .section = "database", .name = "url", .type = OPTION_URL,
	  .def = "", .field = offsetof(struct conf, url),
	  .doc = "Connection string of the PostgreSQL database, a URL or keywords; required." },
	{ .section = "database", .name = "migrate_url", .type = OPTION_URL,
	  .def = "", .field = offsetof(struct conf, migrate_url),
	  .doc = "The same for the role that owns the tables (migrate, import); empty: url." },
	{ .section = "database", .name = "writers", .type = OPTION_NUMBER,
	  .def = "2", .min = "1", .max = "32", .field = offsetof(struct conf, writers),
	  .doc = "Database connections for writes; more than two help only with more processors." },
	{ .section = "database", .name = "queue_timeout", .type = OPTION_DURATION,
	  .def = "25s", .min = "100ms", .max = "29s", .field = offsetof(struct conf, queue_timeout),
	  .doc = "How long a message waits while the database is away; workers time out at 30s." },

	{ .section = "keys", .name = "worker_secret", .type = OPTION_STRING, .reload = true,
	  .def = "", .field = offsetof(struct conf, worker_secret),
	  .doc = "File with the workers' shared secret; empty: systemd credential of that name." },
	{ .section = "keys", .name = "worker_secret_other", .type = OPTION_STRING, .reload = true,
	  .def = "", .field = offsetof(struct conf, worker_secret_other),
	  .doc = "File with a second secret that is accepted during key rotation; optional." },
	{ .section = "keys", .name = "run_token_key", .type = OPTION_STRING, .reload = true,
	  .def = "", .field = offsetof(struct conf, run_token_key),
	  .doc = "File with the private key (PEM) that signs run tokens; empty: systemd credential." },
	{ .section = "keys", .name = "run_token_key_other", .type = OPTION_STRING, .reload = true,
	  .def = "", .field = offsetof(struct conf, run_token_key_other),
	  .doc = "File with a second key whose run tokens are accepted; optional." },
	{ .section = "keys", .name = "credential_key", .type = OPTION_STRING, .reload = true,
	  .def = "", .field = offsetof(struct conf, credential_key),
	  .doc = "File with the key that encrypts stored credentials; empty: systemd credential." },
	{ .section = "keys", .name = "credential_key_other", .type = OPTION_STRING, .reload = true,
	  .def = "", .field = offsetof(struct conf, credential_key_other),
	  .doc = "File with a second key that decrypts stored credentials; optional." },

	{ .section = "runs", .name = "default_timeout", .type = OPTION_DURATION, .reload = true,
	  .def = "300s", .min = "1ms", .max = "30d",
	  .field = offsetof(struct conf, default_timeout),
	  .doc = "Timeout of a run whose project sets none." },

	{ .section = "transitions", .name = "mode", .type = OPTION_CHOICE, .reload = true,
	  .def = "enforce", .words = modes, .field = offsetof(struct conf, mode),
	  .doc = "Refuse invalid transitions, or accept them where possible and journal them." },

	{ .section = "lost", .name = "late_completion", .type = OPTION_CHOICE, .reload = true,
	  .def = "yield", .words = policies, .field = offsetof(struct conf, late_completion),
	  .project = offsetof(struct conf_project, late_completion),
	  .doc = "Late messages about a lost run: apply, acknowledge without effect, or refuse." },
	{ .section = "lost", .name = "late_window", .type = OPTION_DURATION, .reload = true,
	  .def = "1h", .min = "1ms", .max = "3650d", .zero = "forever",
	  .field = offsetof(struct conf, late_window),
	  .doc = "How long after the loss yield applies; after that, acknowledge." },
	{ .section = "lost", .name = "grace", .type = OPTION_DURATION, .reload = true,
	  .def = "10s", .min = "0", .max = "1h", .field = offsetof(struct conf, grace),
	  .doc = "Time added to a run's timeout before the run is declared lost." },
	{ .section = "lost", .name = "lease", .type = OPTION_DURATION, .reload = true,
	  .def = "90s", .min = "75s", .max = "1d", .zero = "off",
	  .field = offsetof(struct conf, lease),
	  .doc = "How long a worker may be silent before its runs are declared lost." },
	{ .section = "lost", .name = "after_claim", .type = OPTION_CHOICE, .reload = true,
	  .def = "lost", .words = after_claims, .field = offsetof(struct conf, after_claim),
	  .doc = "For a lost run that has not started; requeue may execute it twice." },
	{ .section = "lost", .name = "max_requeues", .type = OPTION_NUMBER, .reload = true,
	  .def = "2", .min = "0", .max = "1000", .field = offsetof(struct conf, max_requeues),
	  .doc = "How many times a run is requeued before it is declared lost." },

	{ .section = "janitor", .name = "interval", .type = OPTION_DURATION, .reload = true,
	  .def = "5s", .min = "10ms", .max = "10m", .field = offsetof(struct conf, interval),
	  .doc = "How often the janitor looks for runs past their deadline or lease." },

	{ .section = "claims", .name = "join_timeout", .type = OPTION_DURATION, .reload = true,
	  .def = "30s", .min = "10ms", .max = "1h", .field = offsetof(struct conf, join_timeout),
	  .doc = "When a claimed run that no worker has joined is released; less than lease." },
	{ .section = "claims", .name = "poll_interval", .type = OPTION_DURATION, .reload = true,
	  .def = "1s", .min = "10ms", .max = "1h", .field = offsetof(struct conf, poll),
	  .doc = "How often to look for new runs without a notification." },

	{ .section = "journal", .name = "max_message", .type = OPTION_SIZE, .reload = true,
	  .def = "64KiB", .min = "0", .max = "16MiB",
	  .field = offsetof(struct conf, journal_max_message),
	  .doc = "How much of a message that was not applied is kept in the journal." },

	{ .section = "retention", .name = "runs", .type = OPTION_DURATION, .reload = true,
	  .def = "90d", .min = "1s", .max = "3650d", .zero = "for ever",
	  .field = offsetof(struct conf, retention.runs),
	  .project = offsetof(struct conf_project, retention.runs),
	  .doc = "How long work orders are kept with their runs, after their last activity." },
	{ .section = "retention", .name = "dataclips", .type = OPTION_DURATION, .reload = true,
	  .def = "30d", .min = "1s", .max = "3650d", .zero = "for ever",
	  .field = offsetof(struct conf, retention.dataclips),
	  .project = offsetof(struct conf_project, retention.dataclips),
	  .doc = "How long the texts of their dataclips are kept; at most as long as runs." },
	{ .section = "retention", .name = "logs", .type = OPTION_DURATION, .reload = true,
	  .def = "30d", .min = "1s", .max = "3650d", .zero = "for ever",
	  .field = offsetof(struct conf, retention.logs),
	  .project = offsetof(struct conf_project, retention.logs),
	  .doc = "How long their log lines are kept; at most as long as runs." },
	{ .section = "retention", .name = "journal", .type = OPTION_DURATION, .reload = true,
	  .def = "30d", .min = "1h", .max = "3650d", .zero = "for ever",
	  .field = offsetof(struct conf, retention_journal),
	  .doc = "How long the journal of transitions is kept, in whole days." },

	{ .section = "intake", .name = "listen", .type = OPTION_ADDRESSES,
	  .def = "", .field = offsetof(struct conf, intake_listen),
	  .doc = "Addresses for webhooks only; empty: webhooks use [server] listen." },
	{ .section = "intake", .name = "max_body", .type = OPTION_SIZE,
	  .def = "10MiB", .min = "1KiB", .max = "512MiB", .field = offsetof(struct conf, max_body),
	  .doc = "The largest body of a webhook request." },

	{ .section = "metrics", .name = "listen", .type = OPTION_ADDRESSES,
	  .def = "", .field = offsetof(struct conf, metrics_listen),
	  .doc = "Addresses for /metrics only; empty: /metrics uses [server] listen." },

	{ .section = "limits", .name = "max_message", .type = OPTION_SIZE,
	  .def = "128MiB", .min = "4KiB", .max = "512MiB",
	  .field = offsetof(struct conf, max_message),
	  .doc = "The largest message from a worker; a larger one is discarded and refused." },
	{ .section = "limits", .name = "max_workers", .type = OPTION_NUMBER, .reload = true,
	  .def = "10000", .min = "1", .max = "1000000",
	  .field = offsetof(struct conf, max_workers),
	  .doc = "Maximum number of worker sockets; keep it well below the open files limit." },
	{ .section = "limits", .name = "max_workers_per_address", .type = OPTION_NUMBER,
	  .reload = true, .def = "10000", .min = "1", .max = "1000000",
	  .field = offsetof(struct conf, max_workers_per_address),
	  .doc = "The same for one client address; behind a proxy set trusted_proxies." },
	{ .section = "limits", .name = "max_http_connections", .type = OPTION_NUMBER, .reload = true,
	  .def = "1000", .min = "1", .max = "100000",
	  .field = offsetof(struct conf, max_http_connections),
	  .doc = "Maximum number of connections without a worker; one more closes the oldest." },
	{ .section = "limits", .name = "max_http_connections_per_address", .type = OPTION_NUMBER,
	  .reload = true, .def = "200", .min = "1", .max = "100000",
	  .field = offsetof(struct conf, max_http_connections_per_address),
	  .doc = "The same for one client address, for those silent for 2s; trusted_proxies are not limited." },
	{ .section = "limits", .name = "memory", .type = OPTION_SIZE,
	  .def = "512MiB", .min = "1MiB", .max = "1024GiB", .field = offsetof(struct conf, memory),
	  .doc = "Memory for messages under way; when full, sockets are paused (webhooks: a quarter)." },

	{ .section = "log", .name = "level", .type = OPTION_CHOICE, .reload = true,
	  .def = "info", .words = levels, .field = offsetof(struct conf, log_level),
	  .doc = "Lines of this level and above are logged." },
	{ .section = "log", .name = "target", .type = OPTION_CHOICE, .reload = true,
	  .def = "auto", .words = targets, .field = offsetof(struct conf, log_target),
	  .doc = "Where to log; auto: systemd's journal if stderr is connected to it, else stderr." },
	{ .section = "log", .name = "socket", .type = OPTION_STRING, .reload = true,
	  .def = "/run/systemd/journal/socket", .field = offsetof(struct conf, log_socket),
	  .doc = "Socket of systemd's journal." },
	{ .section = "log", .name = "burst", .type = OPTION_NUMBER, .reload = true,
	  .def = "100", .min = "1", .max = "1000000", .zero = "no limit",
	  .field = offsetof(struct conf, log_burst),
	  .doc = "Maximum number of lines of one kind in ten seconds; the rest is only counted." },
};
/* clang-format on */
const size_t conf_noptions = countof(conf_options);

bool conf_parse_duration(const char *s, int64_t *ms)
{
	return option_parse_duration(s, ms);
}

bool conf_parse_size(const char *s, int64_t *bytes)
{
	return option_parse_size(s, bytes);
}

void *conf_field(const struct option *o, const struct conf *conf)
{
	return (char *)conf + o->field;
}

bool conf_starts_section(const struct option *o)
{
	return o == conf_options || strcmp(o->section, o[-1].section) != 0;
}

void conf_free(struct conf *conf)
{
	if (!conf)
		return;
	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++)
		if (o->type < OPTION_CHOICE)
			free(*(char **)conf_field(o, conf));
	free(conf->projects);
	free(conf);
}

const char *conf_policy_name(int late_policy)
{
	return policies[late_policy];
}

const char *conf_after_claim_name(int after_claim)
{
	return after_claims[after_claim];
}

int64_t conf_longest(const struct conf *conf, size_t period)
{
	int64_t longest = *(const int64_t *)((const char *)&conf->retention + period);

	for (size_t i = 0; i < conf->nprojects && longest > 0; i++) {
		int64_t own =
			*(const int64_t *)((const char *)&conf->projects[i].retention + period);

		longest = own == 0 || own > longest ? own : longest;
	}
	return longest;
}

int conf_late_completion(const struct conf *conf, const struct uuid *project)
{
	for (size_t i = 0; i < conf->nprojects; i++)
		if (uuid_eq(&conf->projects[i].id, project))
			return conf->projects[i].late_completion;
	return conf->late_completion;
}

static void print_option(struct buf *out, const struct option *o, const void *value)
{
	buf_addf(out, "%s = ", o->name);
	option_print(out, o, value);
	buf_addc(out, '\n');
}

static void print_projects(const struct conf *conf, struct buf *out)
{
	char id[UUID_TEXT];

	for (size_t i = 0; i < conf->nprojects; i++) {
		const struct conf_project *project = &conf->projects[i];
		buf_addf(out, "\n[project \"%s\"]\n", uuid_format(&project->id, id));
		for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++)
			if (o->project)
				print_option(out, o, (const char *)project + o->project);
	}
}

void conf_print(const struct conf *conf, struct buf *out)
{
	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++) {
		if (conf_starts_section(o))
			buf_addf(out, "%s[%s]\n", o == conf_options ? "" : "\n", o->section);
		print_option(out, o, conf_field(o, conf));
	}
	print_projects(conf, out);
}

static int by_id(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct uuid));
}

/* Projects whose options equal the global ones are left out. */
void conf_print_policy(const struct conf *conf, struct buf *out)
{
	struct conf own = *conf;

	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++)
		if (strcmp(o->section, "lost") == 0 || strcmp(o->section, "transitions") == 0)
			print_option(out, o, conf_field(o, conf));
	own.projects = xcalloc(conf->nprojects + 1, sizeof(*own.projects));
	own.nprojects = 0;
	for (size_t i = 0; i < conf->nprojects; i++)
		if (conf->projects[i].late_completion != conf->late_completion)
			own.projects[own.nprojects++] = conf->projects[i];
	qsort(own.projects, own.nprojects, sizeof(*own.projects), by_id);
	print_projects(&own, out);
	free(own.projects);
}

void conf_digest_policy(const struct conf *conf, char digest[CONF_DIGEST])
{
	struct buf text = { 0 };
	char hex[65];

	conf_print_policy(conf, &text);
	crypto_sha256_hex(text.p, text.n, hex);
	snprintf(digest, CONF_DIGEST, "%.16s", hex);
	buf_free(&text);
}

bool conf_set(struct conf *conf, const char *section, const char *name, const char *value,
	struct buf *err)
{
	const struct option *found = NULL;

	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++)
		if (strcmp(o->section, section) == 0 && strcmp(o->name, name) == 0)
			found = o;
	if (found && option_parse(found, value, conf_field(found, conf)))
		return true;
	buf_addf(err, "%s: got \"%s\", expected ", name, found ? value : "an unknown option");
	if (found)
		option_print_domain(err, found);
	else
		buf_addf(err, "an option of [%s]", section);
	return false;
}

void conf_sample(struct buf *out)
{
	buf_adds(out,
		"# Configuration of interlockd: every option with its default.\n"
		"# Durations: 250ms, 90s, 10m, 1h, 30d. Sizes: 64KiB, 16MiB, 1GiB.\n"
		"# Options marked (reload) can be changed by a reload, all others by a restart.\n");
	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++) {
		if (conf_starts_section(o))
			buf_addf(out, "\n[%s]\n", o->section);
		bool domain = o->type > OPTION_URL;
		const char *reload = o->reload ? " (reload)" : "";
		buf_addf(out, "\n# %s%s\n", o->doc, domain ? "" : reload);
		if (domain) {
			buf_adds(out, "# Takes ");
			option_print_domain(out, o);
			buf_addf(out, ".%s\n", reload);
		}
		buf_addf(out, "#%s =%s%s\n", o->name, *o->def ? " " : "", o->def);
	}
	buf_adds(out, "\n# Settings of one project, by its id. (reload)\n"
		      "#[project \"00000000-0000-0000-0000-000000000000\"]\n");
	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++)
		if (o->project)
			buf_addf(out, "#%s = %s\n", o->name, o->def);
}

void conf_reload(struct conf *conf, struct conf *next, struct buf *kept)
{
	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++) {
		if (o->reload)
			option_swap(o, conf_field(o, conf), conf_field(o, next));
		else if (!option_same(o, conf_field(o, conf), conf_field(o, next)))
			buf_addf(kept, "[%s] %s\n", o->section, o->name);
	}
	struct conf_project *projects = conf->projects;
	conf->projects = next->projects;
	conf->nprojects = next->nprojects;
	next->projects = projects;
	conf_free(next);
}

/*
 * Reads the configuration file. inih splits the lines; it does not report sections, cuts long lines
 * in two and reports only the first error, so next_line checks every line before inih does.
 */
#include "conf_private.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>

static const char project_section[] = "project";

struct parser {
	FILE *file;
	const char *path;
	int line;
	char *text; /* getline's */
	size_t size;
	const char *section; /* "" before the first one, NULL in an unknown one */
	int *seen;           /* the line of each option */
	int *seen_project;   /* the same within the project's section */
	struct conf *conf;
	struct buf *err;
};

/* Begins the line about a mistake; the caller adds what was found and what is expected. */
static struct buf *mistake(struct parser *p, const char *section, const char *name)
{
	buf_addf(p->err, "%s:%d: ", p->path, p->line);
	if (section)
		buf_addf(p->err, "[%s] ", section);
	if (name)
		buf_addf(p->err, "%s: ", name);
	return p->err;
}

static bool add_project(struct conf *conf, const char *id, int line)
{
	struct conf_project project = {
		.line = line, .late_completion = -1, .retention = { -1, -1, -1 }
	};

	if (!uuid_parse(slice_of(id), &project.id))
		return false;
	for (size_t i = 0; i < conf->nprojects; i++)
		if (uuid_eq(&conf->projects[i].id, &project.id))
			return false;
	conf->projects = xrealloc(conf->projects, (conf->nprojects + 1) * sizeof(project));
	conf->projects[conf->nprojects++] = project;
	return true;
}

/* The section that the line opens; NULL if it is unknown. */
static const char *find_section(struct parser *p, const char *line)
{
	char title[64], id[UUID_TEXT];
	int end = 0, id_end = 0;

	sscanf(line, "[%63[^]]]%n", title, &end);
	if (end == 0 || line[end + (int)strspn(line + end, " \t\r\n")] != '\0')
		return NULL;
	sscanf(title, "project \"%36[^\"]\"%n", id, &id_end);
	if (id_end > 0 && title[id_end] == '\0' && add_project(p->conf, id, p->line)) {
		memset(p->seen_project, 0, conf_noptions * sizeof(*p->seen_project));
		return project_section;
	}
	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++)
		if (strcmp(o->section, title) == 0)
			return o->section;
	return NULL;
}

static void report_section(struct parser *p, const char *line)
{
	struct buf *err = mistake(p, NULL, NULL);

	buf_addf(err, "got \"%.*s\", expected", (int)strcspn(line, "\r\n"), line);
	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++)
		if (conf_starts_section(o))
			buf_addf(err, " [%s]", o->section);
	buf_adds(err, " or [project \"<uuid>\"], each project once\n");
}

/* inih's reader: fgets, but a line that inih would misread is reported and becomes an empty one. */
static char *next_line(char *out, int size, void *arg)
{
	struct parser *p = arg;
	ssize_t n = getline(&p->text, &p->size, p->file);

	if (n < 0)
		return NULL;
	p->line++;
	*out = '\0';
	if (n >= size || memchr(p->text, '\0', (size_t)n)) {
		buf_addf(mistake(p, NULL, NULL), "got %zd bytes, expected text of at most %d\n", n,
			size - 1);
		return out;
	}
	const char *start = p->text + strspn(p->text, " \t\xef\xbb\xbf"); /* or a byte order mark */
	if (*start == '[') {
		p->section = find_section(p, start);
		if (!p->section) {
			report_section(p, start);
			return out;
		}
	}
	return memcpy(out, p->text, (size_t)n + 1);
}

static bool in_section(const struct option *o, const char *section)
{
	return section == project_section ? o->project != 0 : strcmp(o->section, section) == 0;
}

static const struct option *find_option(const char *section, const char *name)
{
	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++)
		if (in_section(o, section) && strcmp(o->name, name) == 0)
			return o;
	return NULL;
}

static void report_option(struct parser *p, const char *title, const char *name)
{
	struct buf *err = mistake(p, title, name);

	buf_adds(err, "got an unknown option, expected one of");
	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++)
		if (in_section(o, p->section))
			buf_addf(err, " %s", o->name);
	buf_addc(err, '\n');
}

static int on_option(void *arg, const char *title, const char *name, const char *value)
{
	struct parser *p = arg;

	if (!p->section)
		return 1;
	/* Only the first word: a secret may follow it. */
	if (!value || !*p->section) {
		buf_addf(mistake(p, NULL, NULL), "got \"%.*s\", expected %s\n",
			(int)strcspn(name, " \t"), name,
			value ? "a [section] first" : "option = value");
		return 1;
	}
	const struct option *o = find_option(p->section, name);
	if (!o) {
		report_option(p, title, name);
		return 1;
	}
	bool project = p->section == project_section;
	int *seen = &(project ? p->seen_project : p->seen)[o - conf_options];
	void *to = project ? (char *)&p->conf->projects[p->conf->nprojects - 1] + o->project
			   : conf_field(o, p->conf);
	if (*seen) {
		buf_addf(mistake(p, title, name), "got it again, expected it once (line %d)\n",
			*seen);
	} else if (!option_parse(o, value, to)) {
		if (o->type == OPTION_URL) /* a password may stand in it */
			buf_adds(mistake(p, title, name), "got an invalid value, expected ");
		else
			buf_addf(mistake(p, title, name), "got \"%s\", expected ", value);
		option_print_domain(p->err, o);
		buf_addc(p->err, '\n');
	}
	*seen = p->line;
	return 1;
}

static void read_file(struct parser *p)
{
	/* inih's settings are global; this is the only user. */
	ini_use_stack = false;
	ini_initial_alloc = ini_max_line = 4096;
	ini_allow_no_value = true;
	ini_allow_multiline = false;
	ini_allow_inline_comments = false;

	p->file = fopen(p->path, "re");
	if (p->file && ini_parse_stream(next_line, p, on_option, p) < 0)
		fatalx("out of memory");
	if (!p->file || ferror(p->file))
		buf_addf(p->err, "%s: cannot read the file: %s\n", p->path, strerror(errno));
	if (p->file)
		fclose(p->file);
	free(p->text);
}

/* What a project does not say is as everywhere. */
static void complete_projects(struct conf *conf)
{
	for (size_t i = 0; i < conf->nprojects; i++) {
		struct conf_project *p = &conf->projects[i];

		if (p->late_completion < 0)
			p->late_completion = conf->late_completion;
		if (p->retention.runs < 0)
			p->retention.runs = conf->retention.runs;
		if (p->retention.dataclips < 0)
			p->retention.dataclips = conf->retention.dataclips;
		if (p->retention.logs < 0)
			p->retention.logs = conf->retention.logs;
	}
}

static void report_together(struct parser *p, int line, const char *title, const struct option *o,
	int64_t value, const char *expected)
{
	p->line = line;
	buf_adds(mistake(p, title, o->name), "got \"");
	option_print(p->err, o, &value);
	buf_addf(p->err, "\", expected %s\n", expected);
}

/* A run is the last thing to go: what belongs to it would not be found without it. `project`: NULL
 * for the installation. */
static void check_retention(
	struct parser *p, const struct conf_project *project, const struct retention *r)
{
	const struct {
		const char *name;
		int64_t period;
	} parts[] = { { "dataclips", r->dataclips }, { "logs", r->logs } };
	char title[64] = "retention", id[UUID_TEXT];

	if (project)
		snprintf(title, sizeof(title), "project \"%s\"", uuid_format(&project->id, id));
	for (size_t i = 0; i < countof(parts); i++) {
		const struct option *o = find_option("retention", parts[i].name);

		if (r->runs > 0 && (parts[i].period == 0 || parts[i].period > r->runs))
			report_together(p, project ? project->line : p->seen[o - conf_options],
				title, o, parts[i].period, "at most that of runs");
	}
}

/* Checks that concern several options. */
static void check_together(struct parser *p)
{
	struct conf *conf = p->conf;
	const struct option *join = find_option("claims", "join_timeout");

	complete_projects(conf);
	if (conf->lease && conf->join_timeout >= conf->lease)
		report_together(p, p->seen[join - conf_options], join->section, join,
			conf->join_timeout, "less than [lost] lease");
	check_retention(p, NULL, &conf->retention);
	for (size_t i = 0; i < conf->nprojects; i++)
		check_retention(p, &conf->projects[i], &conf->projects[i].retention);
}

struct conf *conf_load(const char *path, struct buf *err)
{
	struct parser p = { .path = path, .section = "", .err = err };
	size_t before = err->n;

	p.conf = xcalloc(1, sizeof(*p.conf));
	p.seen = xcalloc(conf_noptions, sizeof(*p.seen));
	p.seen_project = xcalloc(conf_noptions, sizeof(*p.seen_project));
	for (const struct option *o = conf_options; o < conf_options + conf_noptions; o++)
		if (!option_parse(o, o->def, conf_field(o, p.conf)))
			fatalx("the default of [%s] %s is invalid", o->section, o->name);
	if (path)
		read_file(&p);
	check_together(&p);
	free(p.seen);
	free(p.seen_project);
	if (err->n == before)
		return p.conf;
	conf_free(p.conf);
	return NULL;
}

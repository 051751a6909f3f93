/*
 * logger: lines for the operator (logger.h). What is logged is one line whatever the text holds,
 * made on the stack and written at once, because it must work when memory is out. Of one kind (a
 * format, an event, a code) only so many lines come in ten seconds; the others are counted
 * and their number is reported.
 */
#include "lib/logger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { TEXT = 2048, LINE = 4 * TEXT + 2048, KINDS = 64, SAMPLE = 128, WINDOW_MS = 10000 };

enum log_level log_threshold = LOG_LEVEL_INFO;

static const struct level {
	const char *name, *colour;
	int priority; /* syslog's */
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", "\x1b[1;31m", 3 },
	[LOG_LEVEL_WARN] = { "warn", "\x1b[33m", 4 },
	[LOG_LEVEL_NOTICE] = { "notice", "\x1b[36m", 5 },
	[LOG_LEVEL_INFO] = { "info", "\x1b[32m", 6 },
	[LOG_LEVEL_DEBUG] = { "debug", "\x1b[2m", 7 },
};

/* The members of struct log_about, as they are called in a line and in the journal. */
static const struct member {
	const char *key, *field;
	size_t offset;
} members[] = {
	{ "run", "RUN_ID", offsetof(struct log_about, run) },
	{ "worker", "WORKER", offsetof(struct log_about, worker) },
	{ "event", "EVENT", offsetof(struct log_about, event) },
	{ "code", "CODE", offsetof(struct log_about, code) },
	{ 0 },
};

static struct {
	enum log_target target; /* LOG_STDERR or LOG_JOURNAL */
	bool priorities, colours;
	int64_t burst;
	int fd; /* of the socket towards the journal; 0: none */
	struct sockaddr_un journal;
	unsigned refused; /* lines that the journal did not take */
} to = { .target = LOG_STDERR };

/* ---- a line under construction ---- */

struct line {
	size_t n;
	char text[LINE];
};

/* What does not fit is cut. */
static void put(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->n, LINE - l->n, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->n = l->n + (size_t)n < LINE ? l->n + (size_t)n : LINE - 1;
}

/* As it may stand inside the quotes of a line. */
static void put_escaped(struct line *l, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			put(l, "\\%c", *s);
		else if (*s == '\n')
			put(l, "\\n");
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			put(l, "\\x%02x", *s);
		else if (l->n < LINE - 1)
			l->text[l->n++] = *s;
	}
}

static const char *member_of(const struct log_about *about, const struct member *m)
{
	const char *value = *(const char *const *)((const char *)about + m->offset);

	return value != NULL ? value : "";
}

static void put_about(struct line *l, const struct log_about *about)
{
	static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789-_.:/@";

	for (const struct member *m = members; m->key != NULL; m++) {
		const char *value = member_of(about, m);

		if (*value == '\0')
			continue;
		if (value[strspn(value, bare)] == '\0') {
			put(l, " %s=%s", m->key, value);
			continue;
		}
		put(l, " %s=\"", m->key);
		put_escaped(l, value);
		put(l, "\"");
	}
}

/* ---- towards stderr ---- */

static void put_time(struct line *l)
{
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	l->n += strftime(l->text + l->n, LINE - l->n, "time=%FT%T", &utc);
	put(l, ".%06ldZ ", now.tv_nsec / 1000);
}

static void write_stderr(enum log_level level, const struct log_about *about, const char *text)
{
	const struct level *lv = &levels[level];
	struct line l = { 0 };
	ssize_t n;

	if (to.priorities) /* their reader adds the time */
		put(&l, "<%d>", lv->priority);
	else
		put_time(&l);
	put(&l, to.colours ? "level=%2$s%1$s\x1b[0m msg=\"" : "level=%s msg=\"", lv->name,
		lv->colour);
	put_escaped(&l, text);
	put(&l, "\"");
	put_about(&l, about);
	l.n = l.n < LINE - 1 ? l.n : LINE - 2;
	put(&l, "\n");
	for (size_t done = 0; done < l.n; done += (size_t)n) {
		n = write(STDERR_FILENO, l.text + done, l.n - done);
		if (n < 0 && errno != EINTR)
			return;
		n = n < 0 ? 0 : n;
	}
}

/* ---- towards the journal ---- */

/* With its length, because a value may have lines. */
static void put_field(struct line *l, const char *name, const char *value)
{
	size_t size = strlen(value);
	uint64_t le = htole64(size);

	if (l->n + strlen(name) + size + sizeof(le) + 3 > LINE)
		return;
	put(l, "%s\n", name);
	memcpy(l->text + l->n, &le, sizeof(le));
	l->n += sizeof(le);
	memcpy(l->text + l->n, value, size);
	l->n += size;
	put(l, "\n");
}

/* False if the journal is not there. If it is there and too slow, it goes without the line. */
static bool send_journal(const struct line *l)
{
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				     strlen(to.journal.sun_path) + 1);

	if (to.fd == 0)
		to.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (to.fd < 0) {
		to.fd = 0;
		return false;
	}
	if (sendto(to.fd, l->text, l->n, MSG_DONTWAIT | MSG_NOSIGNAL,
		    (const struct sockaddr *)&to.journal, size) >= 0)
		return true;
	if (errno != EAGAIN && errno != ENOBUFS)
		return false;
	to.refused++;
	return true;
}

static bool write_journal(enum log_level level, const struct log_about *about, const char *text)
{
	struct line l = { 0 }, message = { 0 };

	put(&message, "%s", text);
	put_about(&message, about);
	put(&l, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\n", levels[level].priority,
		program_invocation_short_name);
	put_field(&l, "MESSAGE", message.text);
	for (const struct member *m = members; m->key != NULL; m++)
		if (*member_of(about, m) != '\0')
			put_field(&l, m->field, member_of(about, m));
	return send_journal(&l);
}

static void write_line(enum log_level level, const struct log_about *about, const char *text)
{
	unsigned refused = to.refused;

	if (to.target != LOG_JOURNAL || !write_journal(level, about, text)) {
		write_stderr(level, about, text);
	} else if (refused > 0 && to.refused == refused) {
		char lines[64];

		to.refused = 0;
		snprintf(lines, sizeof(lines), "the journal did not take %u lines", refused);
		write_journal(LOG_LEVEL_WARN, &(struct log_about){ 0 }, lines);
	}
}

/* ---- so many lines of a kind ---- */

static struct kind {
	uint64_t key;
	int64_t since; /* 0: free */
	enum log_level level;
	int64_t lines, suppressed;
	char event[32], code[32], sample[SAMPLE]; /* the last line that was written */
} kinds[KINDS];

static int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t mix(uint64_t h, const char *s)
{
	for (; s != NULL && *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3;
	return h * 0x100000001b3 + 1;
}

static void report_kind(struct kind *k)
{
	char text[512];

	if (k->suppressed > 0) {
		snprintf(text, sizeof(text), "suppressed %lld lines like \"%s\"",
			(long long)k->suppressed, k->sample);
		write_line(
			k->level, &(struct log_about){ .event = k->event, .code = k->code }, text);
	}
	*k = (struct kind){ 0 };
}

/* The kind's, or in its place the one that began first. */
static struct kind *find_kind(uint64_t key)
{
	struct kind *oldest = kinds;

	for (struct kind *k = kinds; k < kinds + KINDS; k++) {
		if (k->key == key)
			return k;
		if (k->since < oldest->since)
			oldest = k;
	}
	return oldest;
}

/* NULL if there were too many of its kind. */
static struct kind *admit(enum log_level level, const struct log_about *about, const char *fmt)
{
	uint64_t key = mix(mix(mix(0xcbf29ce484222325, fmt), about->event), about->code);
	struct kind *k = find_kind(key);
	int64_t now = clock_ms();

	if (k->key != key || now - k->since >= WINDOW_MS) {
		report_kind(k);
		k->key = key;
		k->since = now;
		k->level = level;
		snprintf(k->event, sizeof(k->event), "%s", about->event ?: "");
		snprintf(k->code, sizeof(k->code), "%s", about->code ?: "");
	}
	if (++k->lines <= to.burst)
		return k;
	k->suppressed++;
	return NULL;
}

void log_report_suppressed(bool all)
{
	int64_t now = clock_ms();

	for (struct kind *k = kinds; k < kinds + KINDS; k++)
		if (k->since != 0 && (all || now - k->since >= WINDOW_MS))
			report_kind(k);
}

/* ---- the calls ---- */

/* err != 0 is appended as its sentence. */
static void format(char text[TEXT], int err, const char *fmt, va_list ap)
{
	int n = vsnprintf(text, TEXT, fmt, ap);

	if (n < 0)
		n = snprintf(text, TEXT, "cannot format: %s", fmt);
	if (err != 0 && n < TEXT)
		snprintf(text + n, (size_t)(TEXT - n), ": %s", strerror(err));
}

static void emit(
	enum log_level level, const struct log_about *about, int err, const char *fmt, va_list ap)
{
	/* At level debug nothing is suppressed. */
	bool limited = to.burst > 0 && level != LOG_LEVEL_DEBUG;
	struct kind *k = NULL;
	char text[TEXT];
	int saved = errno;

	if (level > log_threshold || (limited && (k = admit(level, about, fmt)) == NULL))
		return;
	format(text, err, fmt, ap);
	if (k != NULL)
		snprintf(k->sample, sizeof(k->sample), "%.*s", SAMPLE - 1, text);
	write_line(level, about, text);
	errno = saved;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(level, &(struct log_about){ 0 }, 0, fmt, ap);
	va_end(ap);
}

void log_warn(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	emit(LOG_LEVEL_WARN, &(struct log_about){ 0 }, err, fmt, ap);
	va_end(ap);
}

void log_about(enum log_level level, const struct log_about *about, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(level, about, 0, fmt, ap);
	va_end(ap);
}

void log_last(int err, const char *fmt, va_list ap)
{
	char text[TEXT];

	log_report_suppressed(true);
	format(text, err, fmt, ap);
	write_line(LOG_LEVEL_ERROR, &(struct log_about){ 0 }, text);
}

/* Does stderr lead to the journal? JOURNAL_STREAM names the socket that systemd made for that, and
 * is inherited also by those whose stderr is something else. */
static bool on_journal_stream(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

bool log_colours(int fd)
{
	const char *none = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fd) && (none == NULL || *none == '\0') && term != NULL && *term != '\0' &&
	       strcmp(term, "dumb") != 0;
}

void log_configure(const struct log_setup *setup)
{
	bool stream = on_journal_stream();

	log_threshold = setup->level;
	to.target = setup->target != LOG_AUTO ? setup->target : stream ? LOG_JOURNAL : LOG_STDERR;
	to.priorities = stream;
	to.colours = log_colours(STDERR_FILENO);
	to.burst = setup->burst;
	to.journal = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strncpy(to.journal.sun_path, setup->socket ?: "", sizeof(to.journal.sun_path) - 1);
}

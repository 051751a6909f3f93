/*
 * cli top: a live view. A frame is made from one snapshot of the database, cut to the terminal's
 * size and written at once. The terminal is restored however the command ends: the view uses the
 * alternate screen, and the signal handlers leave it themselves, because libpq waits through
 * signals.
 */
#include "cli.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "core/stmt.h"

/* How far back `top_late` searches: less when the journal grows so fast that it takes long. */
enum { LATE_MAX_MS = 600 * 1000, LATE_MIN_MS = 10 * 1000, SLOW_MS = 50 };

static const struct section {
	const char *name, *title; /* NULL: the first line */
	bool sampled, late;       /* what its statement needs */
} sections[] = {
	{ "rate", NULL, false, false },
	{ "runs", "runs", true, false },
	{ "queues", "fullest queues", true, false },
	{ "coordinators", "coordinators", false, false },
	{ "workers", "busiest workers", false, false },
	{ "late", "lost, released, late", false, true },
};

struct top {
	PGconn *db;
	int64_t interval, late_ms;
	bool once, json;
};

/* ---- the terminal ---- */

static const char enter_screen[] = "\33[?1049h\33[?25l\33[2J",
		  leave_screen[] = "\33[?25h\33[?1049l";

static void write_terminal(const char *sequence, size_t n)
{
	if (write(STDOUT_FILENO, sequence, n) < 0)
		return; /* there is no terminal */
}

static void on_signal(int signum)
{
	write_terminal(leave_screen, sizeof(leave_screen) - 1);
	signal(signum, SIG_DFL);
	raise(signum);
}

/* Stopped by ^Z: leaves the screen, and enters it again when continued. */
static void on_stop(int signum)
{
	(void)signum;
	write_terminal(leave_screen, sizeof(leave_screen) - 1);
	raise(SIGSTOP);
	write_terminal(enter_screen, sizeof(enter_screen) - 1);
}

static void on_resize(int signum)
{
	(void)signum; /* it has ended the pause between two frames */
}

static void enter(void)
{
	static const struct {
		int signum;
		void (*handler)(int);
	} handlers[] = { { SIGINT, on_signal }, { SIGTERM, on_signal }, { SIGHUP, on_signal },
		{ SIGQUIT, on_signal }, { SIGTSTP, on_stop }, { SIGWINCH, on_resize } };

	for (size_t i = 0; i < countof(handlers); i++) {
		struct sigaction action = { .sa_handler = handlers[i].handler,
			.sa_flags = SA_NODEFER };

		sigaction(handlers[i].signum, &action, NULL);
	}
	write_terminal(enter_screen, sizeof(enter_screen) - 1);
}

/* Appends a line cut to so many characters; colour codes do not count. */
static void add_cut(struct buf *out, const char *line, size_t n, int width)
{
	bool colour = false;

	for (size_t i = 0; i < n; i++) {
		bool starts = ((unsigned char)line[i] & 0xc0) != 0x80;

		colour = colour || line[i] == '\33';
		if (!colour && starts && width-- <= 0)
			break;
		buf_addc(out, line[i]);
		colour = colour && line[i] != 'm';
	}
	buf_adds(out, cli_colour(CLI_PLAIN));
}

/* Overwrites the previous frame: each line to the end of its row, then the rest of the screen. */
static void show_frame(const char *text)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	struct buf out = { 0 };

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	buf_adds(&out, "\33[H");
	for (int row = 0; *text != '\0' && row < size.ws_row; row++) {
		size_t n = strcspn(text, "\n");

		if (row > 0)
			buf_addc(&out, '\n');
		add_cut(&out, text, n, size.ws_col);
		buf_adds(&out, "\33[K");
		text += n + (text[n] == '\n');
	}
	buf_adds(&out, "\33[J");
	write_terminal(out.p, out.n);
	buf_free(&out);
}

/* ---- a frame ---- */

static PGresult *ask(struct top *t, const struct section *s, struct buf *why)
{
	char *name = xasprintf("top_%s", s->name), back[24], *sql;
	const char *values[] = { back },
		   *json = t->json ? "SELECT coalesce(json_agg(t), '[]') FROM (" : "";
	int64_t before = mono_ms();

	snprintf(back, sizeof(back), "%jd", (intmax_t)t->late_ms);
	if (s->sampled)
		sql = xasprintf("WITH sampled AS MATERIALIZED (%s) %s%s%s", stmt_get("sample")->sql,
			json, cli_sql(name), *json ? ") t" : "");
	else
		sql = xasprintf("%s%s%s", json, cli_sql(name), *json ? ") t" : "");
	PGresult *res = cli_ask(t->db, sql, s->late, values, why);
	if (s->late && mono_ms() - before > SLOW_MS && t->late_ms / 2 >= LATE_MIN_MS)
		t->late_ms /= 2;
	free(sql);
	free(name);
	return res;
}

static void print_section(
	FILE *out, const struct top *t, const struct section *s, const PGresult *res)
{
	if (t->json) {
		fprintf(out, ",\"%s\":", s->name);
		for (const char *c = cli_single(res); *c != '\0'; c++)
			if (*c != '\n') /* the server breaks lines between rows */
				fputc(*c, out);
		return;
	}
	if (s->title == NULL) {
		fprintf(out, "%s%s transitions/s%s\n", cli_colour(CLI_BOLD), cli_single(res),
			cli_colour(CLI_PLAIN));
		return;
	}
	if (PQntuples(res) == 0)
		return;
	fprintf(out, "\n%s%s%s\n", cli_colour(CLI_BOLD), s->title, cli_colour(CLI_PLAIN));
	cli_table_to(out, res);
}

static bool print_sections(FILE *out, struct top *t, struct buf *why)
{
	const struct section *s = sections;

	for (; s < sections + countof(sections); s++) {
		PGresult *res = ask(t, s, why);

		if (res == NULL)
			return false;
		print_section(out, t, s, res);
		PQclear(res);
	}
	return true;
}

static bool command(struct top *t, const char *sql, struct buf *why)
{
	PGresult *res = cli_ask(t->db, sql, 0, NULL, why);

	PQclear(res);
	return res;
}

/* Makes the frame; false, with the error in why, if the database does not answer. */
static bool print_frame(FILE *out, struct top *t, struct buf *why)
{
	char at[64];
	time_t now = time(NULL);
	struct tm tm;

	strftime(at, sizeof(at), t->json ? "%FT%T%z" : "%F %T", localtime_r(&now, &tm));
	fprintf(out, t->json ? "{\"at\":\"%s\"" : "interlock  %s  ", at);
	bool ok = command(t, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", why) &&
		  print_sections(out, t, why) && command(t, "COMMIT", why);
	if (ok && t->json)
		fprintf(out, "}\n");
	return ok;
}

/* The frame, or the error, as text; the caller frees it. */
static char *make_frame(struct top *t, bool *ok)
{
	struct buf why = { 0 };
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	if (out == NULL)
		fatal("open_memstream");
	*ok = print_frame(out, t, &why);
	fclose(out);
	if (!*ok) {
		free(text);
		text = xasprintf("the database is not available: %s", why.p);
		PQreset(t->db);
	}
	buf_free(&why);
	return text;
}

static int watch(struct top *t)
{
	bool screen = !t->once && !t->json && isatty(STDOUT_FILENO), ok;
	struct timespec pause = { t->interval / 1000, t->interval % 1000 * 1000000 };

	if (screen)
		enter();
	do {
		char *text = make_frame(t, &ok);

		if (screen)
			show_frame(text);
		else if (ok)
			fputs(text, stdout);
		else
			cli_error("%s", text);
		free(text);
		if (fflush(stdout) != 0)
			break; /* main says why */
	} while (!t->once && (nanosleep(&pause, NULL) == 0 || screen));
	if (screen)
		write_terminal(leave_screen, sizeof(leave_screen) - 1);
	return ok ? CLI_OK : CLI_FAILED;
}

static int run_top(const struct cli *cli)
{
	struct top t = { .interval = 2000,
		.late_ms = LATE_MAX_MS,
		.once = cli_option(cli, "once"),
		.json = cli_option(cli, "json") };

	if (!cli_duration(cli, "interval", 100, "of at least 100ms, like 2s", &t.interval))
		return CLI_USAGE;
	t.db = cli_open(cli->conf, false);
	int status = t.db ? watch(&t) : CLI_FAILED;
	PQfinish(t.db);
	return status;
}

const struct cli_command cli_top = {
	.name = "top",
	.help = "Show live counts of runs, queues and workers, and lost and late runs.",
	.options = {
		{ "interval", "TIME", "how often to refresh (default: 2s)" },
		{ "once", NULL, "print once and exit" },
		{ "json", NULL, "print one JSON object per line" },
	},
	.run = run_top,
};

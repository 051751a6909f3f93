/*
 * load: see load.h. Prints a table on stderr and the same as JSON on stdout. What is answered
 * before the warm-up is over counts nowhere; a run is one that was left within the time. At the end
 * the runs that were begun are finished, so that the next measurement begins with nothing in
 * flight.
 */
#include "load.h"

#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <uv.h>

enum { DRAIN = 15 * 1000000, SHOWN_ERRORS = 3 };

/* All latencies of an event, in microseconds: few enough to be kept, so percentiles are exact. */
struct samples {
	uint32_t *us;
	size_t n, cap;
};

static struct {
	struct sockets_config sockets;
	double seconds, warmup, rate; /* rate: runs begun in a second; 0: as many as fit */
	int64_t limit;                /* runs to be begun; 0: no limit */

	int64_t started, from, to; /* microseconds: of the talk, of what counts */
	int64_t begun, answered, done, dry, errors, behind;
	int talking;        /* slots that are not idle */
	struct slot **idle; /* a stack */
	int nidle;
	struct samples *samples; /* for each message of the script */
	uv_timer_t tick;
} l = { .sockets = { .sockets = 20, .slots = 50 }, .seconds = 10 };

int64_t load_now(void)
{
	return (int64_t)(uv_hrtime() / 1000);
}

static bool counts(int64_t now)
{
	return now >= l.from && now < l.to;
}

static void samples_add(struct samples *s, int64_t us)
{
	if (s->n == s->cap) {
		s->cap = s->cap > 0 ? 2 * s->cap : 4096;
		s->us = xrealloc(s->us, s->cap * sizeof(*s->us));
	}
	s->us[s->n++] = (uint32_t)us;
}

/* ---- the talk ---- */

static bool may_begin(int64_t now)
{
	return now < l.to && (l.limit == 0 || l.begun < l.limit);
}

static void begin(struct slot *slot)
{
	l.begun++;
	l.talking++;
	slot->at = 0;
	slot_send(slot);
}

static void rest(struct slot *slot)
{
	l.talking--;
	l.idle[l.nidle++] = slot;
}

void load_answered(struct slot *slot, bool ok, struct slice response)
{
	const struct mode *mode = l.sockets.mode;
	const struct message *m = &mode->script[slot->at];
	int64_t now = load_now();

	l.answered++;
	if (counts(now))
		samples_add(&l.samples[slot->at], now - slot->sent);
	if (!ok && l.errors++ < SHOWN_ERRORS)
		log_warnx("%s %s: %.*s", slot->topic, m->event, (int)response.n, response.p);
	if (m->take != NULL && (!ok || !m->take(slot, response))) {
		l.dry += ok;
		rest(slot);
		return;
	}
	if (++slot->at < mode->n) {
		slot_send(slot);
		return;
	}
	if (counts(now))
		l.done++;
	rest(slot);
	if (!mode->holds && l.rate == 0 && may_begin(now))
		begin(l.idle[--l.nidle]);
}

/* Those that hold: all that there will be is there, runs or only sockets. */
static void hold(void)
{
	static bool reported;

	if (!reported)
		printf("{\"holding\": %lld}\n",
			l.sockets.mode->n > 0 ? (long long)l.begun : l.sockets.sockets);
	reported = true;
	fflush(stdout);
}

static void on_tick(uv_timer_t *timer)
{
	int64_t now = load_now(), due = (int64_t)(l.rate * (double)(now - l.started) / 1e6);

	if (l.rate > 0) {
		while (l.nidle > 0 && l.begun < due && may_begin(now))
			begin(l.idle[--l.nidle]);
		if (now < l.to && due - l.begun > l.behind)
			l.behind = due - l.begun;
	}
	if (l.sockets.mode->holds && l.talking == 0)
		hold();
	if (l.talking == 0 ? now >= l.to || (l.limit > 0 && l.begun >= l.limit)
			   : now >= l.to + DRAIN) {
		if (l.talking > 0)
			log_warnx("%d conversations were not finished", l.talking);
		if (now < l.to)
			l.to = now;
		uv_close((uv_handle_t *)timer, NULL);
		sockets_stop();
	}
}

void load_ready(void)
{
	int slots = l.sockets.mode->n > 0 ? l.sockets.sockets * l.sockets.slots : 0;

	l.started = load_now();
	l.from = l.started + (int64_t)(l.warmup * 1e6);
	l.to = l.from + (int64_t)(l.seconds * 1e6);
	for (int i = slots - 1; i >= 0; i--)
		l.idle[l.nidle++] = sockets_slot(i);
	while (l.rate == 0 && l.nidle > 0 && may_begin(l.started))
		begin(l.idle[--l.nidle]);
	uv_timer_start(&l.tick, on_tick, 1, 1);
}

/* ---- the sums ---- */

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile(const struct samples *s, double p)
{
	return s->n > 0 ? s->us[(size_t)(p * (double)(s->n - 1))] / 1000.0 : 0;
}

static void samples_merge(struct samples *to, const struct samples *from)
{
	for (size_t i = 0; i < from->n; i++)
		samples_add(to, from->us[i]);
}

/* Milliseconds. */
static json_t *report_samples(const char *name, struct samples *s)
{
	double p50, p99;

	if (s->n > 0)
		qsort(s->us, s->n, sizeof(*s->us), by_size);
	p50 = percentile(s, 0.5);
	p99 = percentile(s, 0.99);
	fprintf(stderr, "%-16s %10zu %10.2f %10.2f\n", name, s->n, p50, p99);
	return json_pack("{s:I, s:f, s:f}", "n", (json_int_t)s->n, "p50_ms", p50, "p99_ms", p99);
}

static void report(void)
{
	const struct mode *mode = l.sockets.mode;
	double seconds = (double)(l.to - l.from) / 1e6;
	json_t *events = json_object(), *result;
	struct samples all = { 0 }, changes = { 0 };

	fprintf(stderr, "%-16s %10s %10s %10s\n", mode->name, "n", "p50 ms", "p99 ms");
	for (int i = 0; i < mode->n; i++) {
		const struct message *m = &mode->script[i];
		struct samples one = { 0 };

		samples_merge(&all, &l.samples[i]);
		if (m->change)
			samples_merge(&changes, &l.samples[i]);
		if (json_object_get(events, m->event) != NULL)
			continue;
		for (int j = i; j < mode->n; j++)
			if (strcmp(mode->script[j].event, m->event) == 0)
				samples_merge(&one, &l.samples[j]);
		json_object_set_new(events, m->event, report_samples(m->event, &one));
		free(one.us);
	}
	result = json_pack(
		"{s:s, s:i, s:i, s:f, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:o, s:o, s:o}",
		"mode", mode->name, "sockets", l.sockets.sockets, "in_flight", l.sockets.slots,
		"rate", l.rate, "messages", (json_int_t)l.answered, "seconds", seconds, "runs_s",
		(double)l.done / seconds, "messages_s", (double)all.n / seconds, "changes_s",
		(double)changes.n / seconds, "errors", (json_int_t)l.errors, "dry",
		(json_int_t)l.dry, "behind", (json_int_t)l.behind, "events", events, "all",
		report_samples("all", &all), "changes", report_samples("changes", &changes));
	fprintf(stderr, "%.0f runs/s, %.0f messages/s, %.0f changes/s, %lld errors\n",
		(double)l.done / seconds, (double)all.n / seconds, (double)changes.n / seconds,
		(long long)l.errors);
	json_dumpf(result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(result);
	free(all.us);
	free(changes.us);
}

static struct buf read_file(const char *path)
{
	FILE *f = fopen(path, "re");
	struct buf b = { 0 };
	char part[4096];
	size_t n;

	if (f == NULL)
		fatal("%s", path);
	while ((n = fread(part, 1, sizeof(part), f)) > 0)
		buf_add(&b, part, n);
	fclose(f);
	return b;
}

static const char usage[] =
	"usage: load --url ws://HOST:PORT [--secret-file FILE] [--mode MODE] [--sockets N]\n"
	"            [--in-flight N] [--runs N] [--rate N] [--warmup SECONDS] [--seconds SECONDS]\n"
	"\n"
	"  --mode       lifecycle (runs, from their claim to their end), heartbeat, claim-empty, "
	"or\n"
	"               idle (sockets), joined (runs' channels): these two stay as they are\n"
	"  --in-flight  conversations on each socket at a time\n"
	"  --rate       runs begun in a second, whatever the answers take; else as many as fit\n";

static struct buf read_options(int argc, char **argv)
{
	static const struct option options[] = { { "url", required_argument, NULL, 'u' },
		{ "secret-file", required_argument, NULL, 'k' },
		{ "mode", required_argument, NULL, 'm' },
		{ "sockets", required_argument, NULL, 's' },
		{ "in-flight", required_argument, NULL, 'f' },
		{ "runs", required_argument, NULL, 'n' }, { "rate", required_argument, NULL, 'r' },
		{ "warmup", required_argument, NULL, 'w' },
		{ "seconds", required_argument, NULL, 't' }, { NULL, 0, NULL, 0 } };
	const char *mode = "lifecycle";
	struct buf secret = { 0 };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'u': l.sockets.url = optarg; break;
		case 'k': secret = read_file(optarg); break;
		case 'm': mode = optarg; break;
		case 's': l.sockets.sockets = atoi(optarg); break;
		case 'f': l.sockets.slots = atoi(optarg); break;
		case 'n': l.limit = atoll(optarg); break;
		case 'r': l.rate = atof(optarg); break;
		case 'w': l.warmup = atof(optarg); break;
		case 't': l.seconds = atof(optarg); break;
		default: fputs(usage, stderr); exit(2);
		}
	}
	l.sockets.mode = mode_find(mode);
	if (optind < argc || l.sockets.url == NULL || l.sockets.mode == NULL ||
		l.sockets.sockets < 1 || l.sockets.slots < 1) {
		fputs(usage, stderr);
		exit(2);
	}
	return secret;
}

int main(int argc, char **argv)
{
	struct buf secret = read_options(argc, argv);

	while (secret.n > 0 && strchr(" \t\r\n", secret.p[secret.n - 1]) != NULL)
		secret.n--;
	l.sockets.secret = (struct slice){ secret.p, secret.n };
	l.samples = xcalloc((size_t)l.sockets.mode->n + 1, sizeof(*l.samples));
	l.idle = xcalloc((size_t)(l.sockets.sockets * l.sockets.slots), sizeof(struct slot *));
	sockets_open(&l.sockets);
	uv_timer_init(sockets_loop(), &l.tick);
	sockets_run();
	if (!l.sockets.mode->holds)
		report();
	for (int i = 0; i < l.sockets.mode->n; i++)
		free(l.samples[i].us);
	free(l.samples);
	free(l.idle);
	buf_free(&secret);
	return l.errors > 0;
}

/*
 * interlockd: options, keys, the loop, signals; puts the pieces together and takes them apart in
 * order. It shuts down in stages: stop listening, close each worker at a quiet moment, stop reading
 * those that have none, answer what is open, then the database, then lws, then the loop.
 */
#include "lib/periodic.h"
#include "http/health.h"
#include "core/fsm.h"
#include "http/intake.h"
#include "services/janitor.h"
#include "services/lease.h"
#include "http/endpoints.h"
#include "protocol/routes.h"
#include "services/registry.h"
#include "services/watchdog.h"
#include "services/sampler.h"
#include "db/schema.h"
#include "lib/systemd.h"
#include "lib/signer.h"
#include "lib/loop_monitor.h"
#include "services/listener.h"
#include "sql_columns.h"

#include <assert.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	WORKER_SOFT = 256 * 1024, /* src/README.md, Bounds */
	WORKER_HARD = 16 * 1024 * 1024,
	SILENCE = 60,      /* seconds */
	STALL = 10,        /* seconds */
	FD_RESERVE = 64,   /* descriptors of our own; of the others an eighth is for callers */
	QUIET_MS = 200,    /* of silence before a worker is closed; less, the longer it drains */
	CLOSING_MS = 2000, /* for what is open to be answered, and then for close frames */
	STAGE_MS = 20,
	STOP_MS = 30000, /* for everything behind the draining */
	GIVE_BACK_MS = 200,
	HOUR_MS = 3600 * 1000,
};

enum stage { SERVING, DRAINING, ANSWERING, CLOSING_WORKERS, CLOSING_DATABASE, CLOSING_SERVER };

/* The one daemon of this process. */
static struct {
	uv_loop_t loop;
	const char *conf_path;
	struct conf *conf;
	char name[300];
	struct server server;
	struct route *routes;
	uv_signal_t sigterm, sigint, sighup;
	uv_timer_t stage_timer;
	struct batch_item version_item, partitions_item;
	char not_ready[300]; /* "" when ready */
	enum stage stage;
	int64_t stage_since;
	int databases_open;
} d = { .not_ready = "connecting to the database" };

/* ---- readiness ---- */

static void set_not_ready(const char *why)
{
	if (strcmp(d.not_ready, why) == 0)
		return;
	snprintf(d.not_ready, sizeof(d.not_ready), "%s", why);
	if (*why != '\0')
		log_warnx("not ready: %s", why);
	else
		log_info("ready");
}

static void on_version(struct batch_item *item, const struct batch_result *res)
{
	struct buf why = { 0 };
	struct schema found;

	(void)item;
	if (res->status != BATCH_DONE || res->rows != 1)
		return;
	found = (struct schema){ atoi(PQgetvalue(res->res, res->first, SCHEMA_VERSION_OUT_VERSION)),
		atoi(PQgetvalue(res->res, res->first, SCHEMA_VERSION_OUT_SERVES)) };
	if (!schema_fits(&found))
		schema_mismatch(&why, &found);
	set_not_ready(why.n > 0 ? why.p : "");
	buf_free(&why);
}

static void on_partitions(struct batch_item *item, const struct batch_result *res)
{
	(void)item;
	if (res->status != BATCH_DONE)
		log_warnx("the journal's partitions could not be created ahead");
}

/* Asks a statement without parameters, unless it is being asked. */
static void ask(struct batch_item *item, const char *stmt,
	void (*done)(struct batch_item *, const struct batch_result *))
{
	if (item->submitted)
		return;
	*item = (struct batch_item){ .stmt = stmt_get(stmt), .rows = 1, .done = done };
	batch_submit(d.server.batch, LANE_READ, item);
}

/* ---- what is done from time to time ---- */

static int64_t poll_ms(void)
{
	return d.conf->poll;
}

static void make_partitions(void)
{
	ask(&d.partitions_item, "journal_partitions", on_partitions);
}

static void publish(void)
{
	registry_publish(&d.server, d.name);
}

static void beat(void)
{
	watchdog_beat(&d.server, d.not_ready);
}

static void sample(void)
{
	sampler_run(d.server.batch);
}

static void forgive(void)
{
	backpressure_forgive(&d.server);
}

static struct periodic_task periodic_tasks[] = {
	{ .run = listener_poll, .every = poll_ms },
	{ .run = janitor_sweep, .every = janitor_interval },
	{ .run = make_partitions, .ms = HOUR_MS },
	{ .run = publish, .ms = REGISTRY_MS },
	{ .run = beat, .every = watchdog_interval },
	{ .run = sample, .ms = SAMPLER_MS },
	{ .run = forgive, .ms = 100 },
	{ .run = queue_give_back, .ms = GIVE_BACK_MS },
	{ .run = channel_resend_expire, .ms = 1000 },
};

static void on_database(void *arg, bool up, const char *why)
{
	(void)arg;
	if (!up) {
		char text[256];

		snprintf(text, sizeof(text), "the database is away: %s", why);
		set_not_ready(text);
		return;
	}
	ask(&d.version_item, "schema_version", on_version);
	make_partitions();
	publish();
	sample();
}

/* ---- what ws calls ---- */

static void on_head(void *arg, struct ws_http *http, const struct ws_head *head, size_t length)
{
	(void)arg;
	if (strncmp(head->path, "/i/", 3) == 0 && (head->serves & WS_INTAKE))
		intake_head(&d.server, http, head, length);
	else
		health_request(http, head, d.not_ready[0] != '\0' ? d.not_ready : NULL);
}

static void on_request(
	void *arg, struct ws_http *http, const struct ws_head *head, struct buf *body)
{
	(void)arg;
	intake_request(&d.server, http, head, body, listener_run_available);
}

static const struct ws_ops ws_ops = {
	.handshake = session_handshake,
	.open = session_open,
	.message = session_message,
	.closed = session_closed,
	.begin = session_admit,
	.scarce = channel_scarce,
	.callers = channel_callers,
	.held = memory_changed,
	.head = on_head,
	.request = on_request,
	.request_gone = intake_gone,
};

/* ---- the end ---- */

static void enter(enum stage stage)
{
	d.stage = stage;
	d.stage_since = mono_ms();
}

static void on_database_closed(void *arg)
{
	(void)arg;
	d.databases_open--;
}

static void close_handles(void)
{
	uv_close((uv_handle_t *)&d.sigterm, NULL);
	uv_close((uv_handle_t *)&d.sigint, NULL);
	uv_close((uv_handle_t *)&d.sighup, NULL);
	uv_close((uv_handle_t *)&d.stage_timer, NULL);
	turn_stop();
}

/* One step further, as soon as the stage's work is done or its time is over. */
static void on_stage(uv_timer_t *timer)
{
	int64_t spent = mono_ms() - d.stage_since;

	(void)timer;
	switch (d.stage) {
	case SERVING: break;
	case DRAINING:
		if (spent < d.conf->drain &&
			(d.server.nsessions > 0 || d.server.open_requests > 0 ||
				ws_has_requests(d.server.ws))) {
			session_close_quiet(&d.server, QUIET_MS - QUIET_MS * spent / d.conf->drain);
			break;
		}
		session_stop_reading(&d.server);
		enter(ANSWERING);
		break;
	case ANSWERING:
		session_close_quiet(&d.server, 0);
		if (d.server.open_requests > 0 && spent < CLOSING_MS)
			break;
		session_close_all(&d.server, 1001);
		enter(CLOSING_WORKERS);
		break;
	case CLOSING_WORKERS:
		if (spent < CLOSING_MS && (d.server.nsessions > 0 || d.server.open_requests > 0 ||
						  ws_other_connections(d.server.ws) > 0))
			break;
		if (pool_open() > 0)
			batch_stop(d.server.batch);
		if (signer_open_jobs() > 0 || plan_cache_open_jobs() > 0 || pool_open() > 0)
			break;
		d.databases_open = 3;
		janitor_close(on_database_closed, NULL);
		batch_close(d.server.batch, on_database_closed, NULL);
		listener_close(on_database_closed, NULL);
		periodic_stop(periodic_tasks, countof(periodic_tasks));
		enter(CLOSING_DATABASE);
		break;
	case CLOSING_DATABASE:
		if (d.databases_open > 0)
			break;
		ws_shutdown(d.server.ws);
		close_handles();
		enter(CLOSING_SERVER);
		break;
	case CLOSING_SERVER: break;
	}
}

static void on_terminate(uv_signal_t *handle, int signum)
{
	(void)handle;
	if (d.stage != SERVING)
		return;
	log_info("signal %d: draining", signum);
	systemd_notify(
		"STOPPING=1\nEXTEND_TIMEOUT_USEC=%jd", (intmax_t)(d.conf->drain + STOP_MS) * 1000);
	enter(DRAINING);
	ws_stop_listening(d.server.ws);
	session_drain(&d.server);
	uv_timer_start(&d.stage_timer, on_stage, 0, STAGE_MS);
}

/* ---- the configuration, at the start and again ---- */

static void configure_log(void)
{
	log_configure(&(struct log_setup){ (enum log_level)d.conf->log_level,
		(enum log_target)d.conf->log_target, d.conf->log_socket, d.conf->log_burst });
}

static void on_reload(uv_signal_t *handle, int signum)
{
	struct buf err = { 0 }, kept = { 0 };
	struct conf *next;
	struct keyring *keys = NULL;

	(void)handle;
	(void)signum;
	systemd_reloading();
	next = conf_load(d.conf_path, &err);
	if (next != NULL)
		keys = keyring_load(next, &err);
	if (keys == NULL) {
		conf_free(next);
		log_errorx("reload failed, nothing changed: %s", err.p);
	} else {
		conf_reload(d.conf, next, &kept);
		keyring_free(d.server.keys);
		d.server.keys = keys;
		configure_log();
		periodic_reschedule(periodic_tasks, countof(periodic_tasks));
		log_info("configuration reloaded");
		if (kept.n > 0)
			log_warnx("these options need a restart: %s", kept.p);
	}
	systemd_notify("READY=1");
	buf_free(&err);
	buf_free(&kept);
}

/* ---- the beginning ---- */

static void gather_routes(void)
{
	const struct {
		const struct route *routes;
		int n;
	} parts[] = { { queue_routes, queue_nroutes }, { run_routes, run_nroutes },
		{ step_routes, step_nroutes }, { log_routes, log_nroutes },
		{ plan_routes, plan_nroutes } };
	int n = 0;

	for (size_t i = 0; i < countof(parts); i++) {
		d.routes = xrealloc(d.routes, (size_t)(n + parts[i].n) * sizeof(*d.routes));
		memcpy(d.routes + n, parts[i].routes, (size_t)parts[i].n * sizeof(*d.routes));
		n += parts[i].n;
	}
	d.server.routes = d.routes;
	d.server.nroutes = n;
}

static void start(void)
{
	const int files = ws_max_descriptors();

	uv_loop_init(&d.loop);
	signal(SIGPIPE, SIG_IGN);
	metrics_begin(INTERLOCK_VERSION, schema_version());
	d.server.loop = &d.loop;
	d.server.conf = d.conf;
	d.server.on_activity = lease_touch;
	d.server.left = queue_on_left;
	gather_routes();
	channel_init(&d.server);
	d.server.ws = ws_new(&d.loop, &(struct ws_config){
					      .max_message = (size_t)d.conf->max_message,
					      .soft = WORKER_SOFT,
					      .hard = WORKER_HARD,
					      .silence = SILENCE,
					      .stall = STALL,
					      .max_sockets = files - files / 8 - FD_RESERVE,
					      .max_callers = files / 8,
					      .ops = &ws_ops,
					      .arg = &d.server,
				      });
	snprintf(d.name, sizeof(d.name), "%s", d.conf->name);
	endpoints_open(d.server.ws, d.conf, d.name, sizeof(d.name));
	d.server.batch = batch_new(&d.loop, &(struct batch_config){
						    .conninfo = d.conf->url,
						    .coordinator = d.name,
						    .writers = (int)d.conf->writers,
						    .patience = d.conf->patience,
						    .up = on_database,
					    });
	listener_open(&d.server, d.conf->url);
	janitor_open(&d.server, d.conf->url, d.name);
	uv_signal_init(&d.loop, &d.sigterm);
	uv_signal_init(&d.loop, &d.sigint);
	uv_signal_init(&d.loop, &d.sighup);
	uv_signal_start(&d.sigterm, on_terminate, SIGTERM);
	uv_signal_start(&d.sigint, on_terminate, SIGINT);
	uv_signal_start(&d.sighup, on_reload, SIGHUP);
	uv_timer_init(&d.loop, &d.stage_timer);
	turn_start(&d.loop);
	periodic_start(&d.loop, periodic_tasks, countof(periodic_tasks));
	systemd_notify("READY=1");
}

static void finish(void)
{
	int rc;

	ws_free(d.server.ws);
	batch_free(d.server.batch);
	rc = uv_loop_close(&d.loop);
	assert(rc == 0);
	(void)rc;
	keyring_free(d.server.keys);
	free(d.server.route_stats);
	free(d.routes);
	conf_free(d.conf);
	log_info("stopped");
}

static void print(void (*write)(struct buf *))
{
	struct buf b = { 0 };

	write(&b);
	fwrite(b.p, 1, b.n, stdout);
	buf_free(&b);
}

static void print_config(struct buf *b)
{
	conf_print(d.conf, b);
}

static const char usage[] =
	"usage: interlockd [-c FILE] [--check | --print-config | --fsm[=mermaid] | --version]\n"
	"\n"
	"  -c, --config FILE  the configuration; without it every option has its default\n"
	"      --check        read the configuration and the keys, and exit\n"
	"      --print-config the configuration as it is understood, and exit\n"
	"      --fsm          the state machine of a run as a graphviz digraph, and exit;\n"
	"                     --fsm=mermaid as a flowchart\n"
	"      --version      its version and its schema's, and exit\n"
	"  -h, --help         this text\n";

int main(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 'k' }, { "print-config", no_argument, NULL, 'p' },
		{ "fsm", optional_argument, NULL, 'f' }, { "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	struct buf err = { 0 };
	int c, mode = 0;

	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (c == 'c') {
			d.conf_path = optarg;
		} else if (c == 'f' && optarg != NULL && strcmp(optarg, "mermaid") == 0) {
			mode = 'm';
		} else if (c == '?' || (c == 'f' && optarg != NULL)) {
			fputs(usage, stderr);
			return 2;
		} else {
			mode = c;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (mode == 'h') {
		fputs(usage, stdout);
		return 0;
	}
	if (mode == 'f') {
		print(fsm_dot);
		return 0;
	}
	if (mode == 'm') {
		print(fsm_mermaid);
		return 0;
	}
	if (mode == 'v') {
		printf("interlockd %s, schema %d\n", INTERLOCK_VERSION, schema_version());
		return 0;
	}
	d.conf = conf_load(d.conf_path, &err);
	if (d.conf == NULL) {
		fputs(err.p, stderr);
		buf_free(&err);
		return 1;
	}
	if (mode == 'p') {
		print(print_config);
		return 0;
	}
	configure_log();
	d.server.keys = keyring_load(d.conf, &err);
	if (d.server.keys == NULL)
		fatalx("%s", err.p);
	if (mode == 'k')
		return 0;
	if (d.conf->url[0] == '\0')
		fatalx("[database] url is not set: `make run` starts a private PostgreSQL");
	if (!schema_check(d.conf->url, &err))
		fatalx("%s", err.p);
	start();
	uv_run(&d.loop, UV_RUN_DEFAULT);
	finish();
	return 0;
}

/*
 * interlockd: options, keys, the loop, signals; puts the pieces together and takes them apart in
 * order. It shuts down in stages: stop listening, close each worker at a quiet moment, stop reading
 * those that have none, answer what is open, then the database, then lws, then the loop. Ownership:
 * struct daemon is main's, and everything below is handed it or a part of it.
 */
#include "lib/periodic.h"
#include "lib/pool.h"
#include "http/health.h"
#include "core/fsm.h"
#include "core/plan_cache.h"
#include "http/intake.h"
#include "services/janitor.h"
#include "http/endpoints.h"
#include "protocol/routes.h"
#include "services/registry.h"
#include "services/watchdog.h"
#include "services/sampler.h"
#include "db/schema.h"
#include "lib/systemd.h"
#include "lib/signer.h"
#include "lib/metrics.h"
#include "lib/loop_monitor.h"
#include "services/listener.h"
#include "services/pruner.h"
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
	FD_RESERVE = 64,   /* descriptors of our own; of the others an eighth is for HTTP */
	QUIET_MS = 200,    /* of silence before a worker is closed; less, the longer it drains */
	CLOSING_MS = 2000, /* for what is open to be answered, and then for close frames */
	STAGE_MS = 20,
	STOP_MS = 30000, /* for everything behind the draining */
	RELEASE_MS = 200,
	FORGIVE_MS = 100,
	EXPIRE_MS = 1000,
	HOUR_MS = 3600 * 1000,
};

enum stage { SERVING, DRAINING, ANSWERING, CLOSING_WORKERS, CLOSING_DATABASE, CLOSING_SERVER };

enum { TASKS = 10 };

struct daemon {
	uv_loop_t loop;
	const char *conf_path;
	struct conf *conf;
	char name[300];
	struct context context;
	struct ws *ws;
	struct backpressure *backpressure;
	struct resend *resend;
	struct sessions *sessions;
	struct queue *queue;
	struct listener *listener;
	struct registry *registry;
	struct janitor *janitor;
	struct pruner *pruner;
	struct sampler *sampler;
	struct periodic_task tasks[TASKS];
	uv_signal_t sigterm, sigint, sighup;
	uv_timer_t stage_timer;
	struct batch_item version_item, partitions_item;
	char not_ready[300]; /* "" when ready */
	enum stage stage;
	int64_t stage_since; /* mono_ms() */
	int connections_open;
};

/* ---- readiness ---- */

static void set_not_ready(struct daemon *d, const char *why)
{
	if (strcmp(d->not_ready, why) == 0)
		return;
	snprintf(d->not_ready, sizeof(d->not_ready), "%s", why);
	if (*why != '\0')
		log_warnx("not ready: %s", why);
	else
		log_info("ready");
}

static void on_version(struct batch_item *item, const struct batch_result *res)
{
	struct daemon *d = container_of(item, struct daemon, version_item);
	struct buf why = { 0 };
	struct schema found;

	if (res->status != BATCH_DONE || res->rows != 1)
		return;
	found = (struct schema){ atoi(PQgetvalue(res->res, res->first, SCHEMA_VERSION_OUT_VERSION)),
		atoi(PQgetvalue(res->res, res->first, SCHEMA_VERSION_OUT_SERVES)) };
	if (!schema_fits(&found))
		schema_mismatch(&why, &found);
	set_not_ready(d, why.n > 0 ? why.p : "");
	buf_free(&why);
}

static void on_partitions(struct batch_item *item, const struct batch_result *res)
{
	(void)item;
	if (res->status != BATCH_DONE)
		log_warnx("the partitions of the coming days could not be created");
}

/* Submits a statement without parameters, unless its last execution is still running. */
static void submit(struct daemon *d, struct batch_item *item, const char *stmt,
	void (*done)(struct batch_item *, const struct batch_result *))
{
	if (item->submitted)
		return;
	*item = (struct batch_item){ .stmt = stmt_get(stmt), .rows = 1, .done = done };
	batch_submit(d->context.batch, LANE_READ, item);
}

/* ---- periodic tasks ---- */

static int64_t poll_interval(void *arg)
{
	const struct daemon *d = arg;

	return d->conf->poll;
}

static void poll_waiting_runs(void *arg)
{
	const struct daemon *d = arg;

	listener_poll(d->listener);
}

static void create_partitions(void *arg)
{
	struct daemon *d = arg;

	submit(d, &d->partitions_item, "make_partitions", on_partitions);
}

static void publish(void *arg)
{
	const struct daemon *d = arg;

	registry_publish(d->registry);
}

/* A shutdown waits for them. */
static int open_requests(const struct daemon *d)
{
	return sessions_open_requests(d->sessions) + queue_open(d->queue);
}

static void beat(void *arg)
{
	const struct daemon *d = arg;

	watchdog_beat(&(struct watchdog_status){
		.not_ready = d->not_ready,
		.draining = sessions_are_draining(d->sessions),
		.workers = sessions_count(d->sessions),
		.open_requests = open_requests(d),
	});
}

static void start_tasks(struct daemon *d)
{
	const struct periodic_task tasks[TASKS] = {
		{ .run = poll_waiting_runs, .every = poll_interval, .arg = d },
		{ .run = janitor_sweep, .every = janitor_interval, .arg = d->janitor },
		{ .run = pruner_run, .every = pruner_interval, .arg = d->pruner },
		{ .run = create_partitions, .ms = HOUR_MS, .arg = d },
		{ .run = publish, .ms = REGISTRY_MS, .arg = d },
		{ .run = beat, .every = watchdog_interval, .arg = d },
		{ .run = sampler_run, .ms = SAMPLER_MS, .arg = d->sampler },
		{ .run = backpressure_forgive, .ms = FORGIVE_MS, .arg = d->backpressure },
		{ .run = queue_release_due, .ms = RELEASE_MS, .arg = d->queue },
		{ .run = resend_expire, .ms = EXPIRE_MS, .arg = d->resend },
	};

	memcpy(d->tasks, tasks, sizeof(tasks));
	periodic_start(&d->loop, d->tasks, TASKS);
}

static void on_database(void *arg, bool up, const char *why)
{
	struct daemon *d = arg;

	if (!up) {
		char text[256];

		snprintf(text, sizeof(text), "the database is away: %s", why);
		set_not_ready(d, text);
		return;
	}
	submit(d, &d->version_item, "schema_version", on_version);
	create_partitions(d);
	publish(d);
	sampler_run(d->sampler);
}

/* ---- what ws calls ---- */

static int on_handshake(void *arg, const struct ws_head *head, void **user, const char **why)
{
	const struct daemon *d = arg;

	return session_handshake(d->sessions, head, user, why);
}

static bool is_memory_scarce(void *arg)
{
	const struct daemon *d = arg;

	return backpressure_memory_is_scarce(d->backpressure);
}

static int max_connections(void *arg, const char *address)
{
	const struct daemon *d = arg;

	return endpoints_max_connections(d->conf, address);
}

static void on_buffered(void *arg)
{
	const struct daemon *d = arg;

	memory_sockets_changed(d->context.memory);
}

static void on_head(void *arg, struct ws_http *http, const struct ws_head *head, size_t length)
{
	const struct daemon *d = arg;

	if (strncmp(head->path, "/i/", 3) == 0 && (head->serves & WS_INTAKE))
		intake_head(&d->context, http, head, length);
	else
		health_request(http, head, d->not_ready[0] != '\0' ? d->not_ready : NULL);
}

static void on_request(
	void *arg, struct ws_http *http, const struct ws_head *head, struct buf *body)
{
	const struct daemon *d = arg;

	intake_request(&d->context, http, head, body, listener_run_available, d->listener);
}

static const struct ws_ops ws_ops = {
	.handshake = on_handshake,
	.open = session_open,
	.message = session_message,
	.closed = session_closed,
	.admit = session_admit,
	.memory_is_scarce = is_memory_scarce,
	.max_connections = max_connections,
	.buffered = on_buffered,
	.head = on_head,
	.request = on_request,
	.request_gone = intake_gone,
};

/* ---- the end ---- */

static void enter(struct daemon *d, enum stage stage)
{
	d->stage = stage;
	d->stage_since = mono_ms();
}

static void on_connection_closed(void *arg)
{
	struct daemon *d = arg;

	d->connections_open--;
}

static void close_handles(struct daemon *d)
{
	uv_close((uv_handle_t *)&d->sigterm, NULL);
	uv_close((uv_handle_t *)&d->sigint, NULL);
	uv_close((uv_handle_t *)&d->sighup, NULL);
	uv_close((uv_handle_t *)&d->stage_timer, NULL);
	turn_stop();
}

/* One step further, as soon as the stage's work is done or its time is over. */
static void on_stage(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	int64_t spent = mono_ms() - d->stage_since;

	switch (d->stage) {
	case SERVING: break;
	case DRAINING:
		if (spent < d->conf->drain &&
			(sessions_count(d->sessions) > 0 || open_requests(d) > 0 ||
				ws_has_requests(d->ws))) {
			sessions_close_quiet(
				d->sessions, QUIET_MS - QUIET_MS * spent / d->conf->drain);
			break;
		}
		backpressure_stop_reading(d->backpressure);
		enter(d, ANSWERING);
		break;
	case ANSWERING:
		sessions_close_quiet(d->sessions, 0);
		if (open_requests(d) > 0 && spent < CLOSING_MS)
			break;
		sessions_close_all(d->sessions, 1001);
		enter(d, CLOSING_WORKERS);
		break;
	case CLOSING_WORKERS:
		if (spent < CLOSING_MS &&
			(sessions_count(d->sessions) > 0 || open_requests(d) > 0 ||
				ws_other_connections(d->ws) > 0))
			break;
		if (pool_open() > 0)
			batch_stop(d->context.batch);
		if (signer_open_jobs() > 0 || plan_cache_open_jobs() > 0 || pool_open() > 0)
			break;
		d->connections_open = 4;
		janitor_close(d->janitor, on_connection_closed, d);
		pruner_close(d->pruner, on_connection_closed, d);
		batch_close(d->context.batch, on_connection_closed, d);
		listener_close(d->listener, on_connection_closed, d);
		periodic_stop(d->tasks, TASKS);
		enter(d, CLOSING_DATABASE);
		break;
	case CLOSING_DATABASE:
		if (d->connections_open > 0)
			break;
		ws_shutdown(d->ws);
		close_handles(d);
		enter(d, CLOSING_SERVER);
		break;
	case CLOSING_SERVER: break;
	}
}

static void on_terminate(uv_signal_t *handle, int signum)
{
	struct daemon *d = handle->data;

	if (d->stage != SERVING)
		return;
	log_info("signal %d: draining", signum);
	systemd_notify(
		"STOPPING=1\nEXTEND_TIMEOUT_USEC=%jd", (intmax_t)(d->conf->drain + STOP_MS) * 1000);
	enter(d, DRAINING);
	ws_stop_listening(d->ws);
	sessions_drain(d->sessions);
	uv_timer_start(&d->stage_timer, on_stage, 0, STAGE_MS);
}

/* ---- the configuration, at the start and again ---- */

static void configure_log(const struct conf *conf)
{
	log_configure(&(struct log_setup){ (enum log_level)conf->log_level,
		(enum log_target)conf->log_target, conf->log_socket, conf->log_burst });
}

static void on_reload(uv_signal_t *handle, int signum)
{
	struct daemon *d = handle->data;
	struct buf err = { 0 }, kept = { 0 };
	struct conf *next;
	struct keyring *keys = NULL;

	(void)signum;
	systemd_reloading();
	next = conf_load(d->conf_path, &err);
	if (next != NULL)
		keys = keyring_load(next, &err);
	if (keys == NULL) {
		conf_free(next);
		log_errorx("reload failed, nothing changed: %s", err.p);
	} else {
		conf_reload(d->conf, next, &kept);
		keyring_free(d->context.keyring);
		d->context.keyring = keys;
		configure_log(d->conf);
		periodic_reschedule(d->tasks, TASKS);
		log_info("configuration reloaded");
		if (kept.n > 0)
			log_warnx("these options need a restart: %s", kept.p);
	}
	systemd_notify("READY=1");
	buf_free(&err);
	buf_free(&kept);
}

/* ---- the beginning ---- */

static const struct listener_ops queue_ops = {
	.capacity = queue_capacity,
	.offer = queue_offer,
};

static void handle_signal(struct daemon *d, uv_signal_t *handle, int signum, uv_signal_cb callback)
{
	uv_signal_init(&d->loop, handle);
	handle->data = d;
	uv_signal_start(handle, callback, signum);
}

static void start(struct daemon *d)
{
	struct conf *conf = d->conf;
	const int files = ws_max_descriptors();

	uv_loop_init(&d->loop);
	signal(SIGPIPE, SIG_IGN);
	metrics_begin(INTERLOCK_VERSION, schema_version());
	d->context.loop = &d->loop;
	d->context.conf = conf;
	d->context.memory = memory_new(conf);
	d->context.db_clock = db_clock_new();
	d->context.coordinator = d->name;
	d->backpressure = backpressure_new(d->context.memory);
	d->resend = resend_new(d->context.memory);
	d->queue = queue_new(&d->context);
	d->sessions = sessions_new(&(struct sessions_config){
		.context = &d->context,
		.backpressure = d->backpressure,
		.resend = d->resend,
		.routes = protocol_routes,
		.kinds = protocol_kinds,
		.protocol = d->queue,
	});
	d->ws = ws_new(&d->loop, &(struct ws_config){
					 .max_message = (size_t)conf->max_message,
					 .soft = WORKER_SOFT,
					 .hard = WORKER_HARD,
					 .silence = SILENCE,
					 .stall = STALL,
					 .max_sockets = files - files / 8 - FD_RESERVE,
					 .max_http_connections = files / 8,
					 .ops = &ws_ops,
					 .arg = d,
				 });
	memory_watch_sockets(d->context.memory, d->ws);
	snprintf(d->name, sizeof(d->name), "%s", conf->name);
	endpoints_open(d->ws, conf, d->name, sizeof(d->name));
	d->context.batch = batch_new(&d->loop, &(struct batch_config){
						       .conninfo = conf->url,
						       .coordinator = d->name,
						       .writers = (int)conf->writers,
						       .queue_timeout = conf->queue_timeout,
						       .up = on_database,
						       .arg = d,
					       });
	memory_watch_batch(d->context.memory, d->context.batch);
	d->listener = listener_open(&d->context, &queue_ops, d->queue);
	queue_connect(d->queue, d->listener, d->sessions);
	d->registry = registry_new(&d->context, sessions_print, d->sessions);
	d->janitor = janitor_open(&d->context);
	d->pruner = pruner_open(&d->context);
	d->sampler = sampler_new(&d->context);
	handle_signal(d, &d->sigterm, SIGTERM, on_terminate);
	handle_signal(d, &d->sigint, SIGINT, on_terminate);
	handle_signal(d, &d->sighup, SIGHUP, on_reload);
	uv_timer_init(&d->loop, &d->stage_timer);
	d->stage_timer.data = d;
	turn_start(&d->loop);
	start_tasks(d);
	systemd_notify("READY=1");
}

static void finish(struct daemon *d)
{
	int rc;

	queue_free(d->queue);
	resend_free(d->resend);
	sessions_free(d->sessions);
	ws_free(d->ws);
	memory_watch_batch(d->context.memory, NULL);
	batch_free(d->context.batch);
	registry_free(d->registry);
	listener_free(d->listener);
	sampler_free(d->sampler);
	rc = uv_loop_close(&d->loop);
	assert(rc == 0);
	(void)rc;
	keyring_free(d->context.keyring);
	free(d->backpressure);
	free(d->context.memory);
	free(d->context.db_clock);
	conf_free(d->conf);
	log_info("stopped");
}

static void print(struct buf *text)
{
	fwrite(text->p, 1, text->n, stdout);
	buf_free(text);
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
	static struct daemon daemon = { .not_ready = "connecting to the database" };
	struct daemon *d = &daemon;
	struct buf err = { 0 }, text = { 0 };
	int c, mode = 0;

	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (c == 'c') {
			d->conf_path = optarg;
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
	switch (mode) {
	case 'h': fputs(usage, stdout); return 0;
	case 'f':
		fsm_dot(&text);
		print(&text);
		return 0;
	case 'm':
		fsm_mermaid(&text);
		print(&text);
		return 0;
	case 'v':
		printf("interlockd %s, schema %d\n", INTERLOCK_VERSION, schema_version());
		return 0;
	default: break;
	}
	d->conf = conf_load(d->conf_path, &err);
	if (d->conf == NULL) {
		fputs(err.p, stderr);
		buf_free(&err);
		return 1;
	}
	if (mode == 'p') {
		conf_print(d->conf, &text);
		print(&text);
		return 0;
	}
	configure_log(d->conf);
	d->context.keyring = keyring_load(d->conf, &err);
	if (d->context.keyring == NULL)
		fatalx("%s", err.p);
	if (mode == 'k')
		return 0;
	if (d->conf->url[0] == '\0')
		fatalx("[database] url is not set: `make run` starts a private PostgreSQL");
	if (!schema_check(d->conf->url, &err))
		fatalx("%s", err.p);
	start(d);
	uv_run(&d->loop, UV_RUN_DEFAULT);
	finish(d);
	return 0;
}

/*
 * The sockets: libwebsockets' client on libuv. Refs distinguish the slots of a socket: the n-th
 * slot uses n + 2, n + 2 + slots, …; ref 1 joins worker:queue. What is said on one socket within a
 * turn of the loop goes out by one system call, so that the processor is left to those who are
 * measured.
 */
#include "load.h"
#include "lib/jwt.h"
#include "ws/phx.h"
#include "lib/jscan.h"

#include <libwebsockets.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <uv.h>

enum { CONNECTING = 64, BUFFER = 65536, QUEUE_REF = 1, FIRST_REF = 2 };

struct peer {
	struct lws *wsi;
	struct buf in;  /* of the message that is coming */
	struct buf out; /* frames that have not been written */
	bool due;       /* is in s.due */
	TAILQ_ENTRY(peer) write_link;
	struct slot *slots;
};

static struct {
	const struct sockets_config *config;
	uv_loop_t loop;
	uv_timer_t leave;
	uv_prepare_t turn; /* the last before the loop waits */
	TAILQ_HEAD(, peer) due;
	struct lws_context *lws;
	struct peer *peers;
	char path[1024], host[64];
	int port, asked, there;
	bool leaving;
} s;

static const struct lws_retry_bo no_pings;

static void connect_next(void)
{
	struct lws_client_connect_info info = {
		.context = s.lws,
		.address = s.host,
		.host = s.host,
		.origin = s.host,
		.port = s.port,
		.path = s.path,
		.opaque_user_data = &s.peers[s.asked],
		.retry_and_idle_policy = &no_pings,
	};

	if (s.asked == s.config->sockets)
		return;
	s.asked++;
	if (lws_client_connect_via_info(&info) == NULL)
		fatalx("no connection to %s", s.config->url);
}

/* One more socket is as it should be. */
static void there(void)
{
	connect_next();
	if (++s.there == s.config->sockets)
		load_ready();
}

static void flush(struct peer *peer)
{
	if (peer->out.n == 0)
		return;
	if (lws_partial_buffered(peer->wsi)) {
		lws_callback_on_writable(peer->wsi);
		return;
	}
	if (lws_write(peer->wsi, (unsigned char *)peer->out.p, peer->out.n, LWS_WRITE_HTTP) < 0)
		fatalx("a socket does not take what is written");
	peer->out.n = 0;
}

static void on_turn(uv_prepare_t *turn)
{
	struct peer *peer;

	(void)turn;
	while ((peer = TAILQ_FIRST(&s.due)) != NULL) {
		TAILQ_REMOVE(&s.due, peer, write_link);
		peer->due = false;
		flush(peer);
	}
}

/* A frame of text (RFC 6455, 5.2), masked by zeros: what is masked so stays as it is. */
static void write_text(struct peer *peer, const struct buf *b)
{
	const unsigned char size[] = { 0x80 | 126, (unsigned char)(b->n >> 8),
		(unsigned char)b->n };

	buf_addc(&peer->out, (char)0x81);
	if (b->n < 126)
		buf_addc(&peer->out, (char)(0x80 | b->n));
	else
		buf_add(&peer->out, size, sizeof(size));
	buf_add(&peer->out, "\0\0\0\0", 4);
	buf_add(&peer->out, b->p, b->n);
	if (!peer->due)
		TAILQ_INSERT_TAIL(&s.due, peer, write_link);
	peer->due = true;
}

static void join_queue(struct peer *peer)
{
	struct buf b = { 0 };

	buf_adds(&b, "[\"1\",\"1\",\"worker:queue\",\"phx_join\",{\"capacity\":64}]");
	write_text(peer, &b);
	buf_free(&b);
}

void slot_send(struct slot *slot)
{
	static struct buf b;
	const struct message *m = &s.config->mode->script[slot->at];

	slot->ref += (unsigned)s.config->slots;
	b.n = 0;
	switch (m->topic) {
	case TOPIC_PHOENIX: buf_addf(&b, "[null,\"%u\",\"phoenix\"", slot->ref); break;
	case TOPIC_QUEUE: buf_addf(&b, "[\"1\",\"%u\",\"worker:queue\"", slot->ref); break;
	case TOPIC_RUN:
		if (strcmp(m->event, "phx_join") == 0)
			slot->join_ref = slot->ref;
		buf_addf(&b, "[\"%u\",\"%u\",\"%s\"", slot->join_ref, slot->ref, slot->topic);
		break;
	}
	buf_addf(&b, ",\"%s\",", m->event);
	m->put(slot, &b);
	buf_addc(&b, ']');
	slot->sent = load_now();
	write_text(slot->peer, &b);
}

static void answered(struct peer *peer, unsigned ref, bool ok, struct slice response)
{
	struct slot *slot;

	if (ref == QUEUE_REF) {
		there();
		return;
	}
	slot = &peer->slots[(ref - FIRST_REF) % (unsigned)s.config->slots];
	if (slot->ref == ref) /* a phx_close bears the ref of its join */
		load_answered(slot, ok, response);
}

/* Ours have sizes of one digit each behind the kind. */
static void on_binary(struct peer *peer)
{
	const unsigned char *p = (const unsigned char *)peer->in.p;

	if (peer->in.n > 5 && p[0] == 1)
		answered(peer, (unsigned)atoi(peer->in.p + 5 + p[1]), true, (struct slice){ 0 });
}

static void on_text(struct peer *peer)
{
	struct phx_frame frame;

	if (phx_parse_text(peer->in.p, peer->in.n, &frame) != PHX_OK)
		fatalx("not a frame: %s", peer->in.p);
	if (frame.ref.p[0] == '"')
		answered(peer, (unsigned)atoi(frame.ref.p + 1),
			!slice_is(jscan_member(frame.payload, "status"), "\"error\""),
			jscan_member(frame.payload, "response"));
}

static void on_receive(struct peer *peer, const void *p, size_t n)
{
	buf_add(&peer->in, p, n);
	if (!lws_is_final_fragment(peer->wsi) || lws_remaining_packet_payload(peer->wsi) > 0)
		return;
	if (lws_frame_is_binary(peer->wsi))
		on_binary(peer);
	else
		on_text(peer);
	peer->in.n = 0;
}

static int on_lws(
	struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct peer *peer = wsi != NULL ? lws_get_opaque_user_data(wsi) : NULL;

	(void)user;
	switch (reason) {
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		peer->wsi = wsi;
		if (s.config->mode->joins)
			join_queue(peer);
		else
			there();
		return 0;
	case LWS_CALLBACK_CLIENT_RECEIVE: on_receive(peer, in, len); return 0;
	case LWS_CALLBACK_CLIENT_WRITEABLE: flush(peer); return 0;
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		fatalx("no connection to %s: %s", s.config->url,
			in != NULL ? (const char *)in : "?");
	case LWS_CALLBACK_CLIENT_CLOSED:
		if (!s.leaving)
			fatalx("a socket was closed");
		return 0;
	default: return 0;
	}
}

/* The path with a worker's token in it. */
static void make_path(const struct sockets_config *config)
{
	struct buf token = { 0 };

	if (sscanf(config->url, "ws://%63[^:/]:%d", s.host, &s.port) != 2)
		fatalx("%s: expected ws://HOST:PORT", config->url);
	if (config->secret.n > 0) {
		struct jwt_key *key = jwt_key_hs256(config->secret.p, config->secret.n);
		json_t *claims = json_pack("{s:s, s:s, s:I}", "worker_id", "bench", "iss",
			"urn:openfn:worker", "iat", (json_int_t)(now_us() / 1000000));

		jwt_sign(key, claims, &token);
		json_decref(claims);
		jwt_key_free(key);
	}
	snprintf(s.path, sizeof(s.path), "/worker/websocket?token=%s&vsn=2.0.0",
		token.n > 0 ? token.p : "");
	buf_free(&token);
}

/* As many descriptors as it takes; lws makes tables of that size. */
static void allow_descriptors(int sockets)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		fatal("getrlimit");
	limit.rlim_cur = (rlim_t)sockets + 256;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		fatal("no %d sockets", sockets);
}

void sockets_open(const struct sockets_config *config)
{
	static const struct lws_protocols protocols[] = {
		{ .name = "bench",
			.callback = on_lws,
			.rx_buffer_size = BUFFER,
			.tx_packet_size = BUFFER },
		{ 0 },
	};
	void *loops[] = { &s.loop };
	struct lws_context_creation_info info = {
		.options = LWS_SERVER_OPTION_LIBUV,
		.foreign_loops = loops,
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.retry_and_idle_policy = &no_pings,
		.pt_serv_buf_size = BUFFER,
	};

	s.config = config;
	make_path(config);
	allow_descriptors(config->sockets);
	uv_loop_init(&s.loop);
	uv_timer_init(&s.loop, &s.leave);
	TAILQ_INIT(&s.due);
	uv_prepare_init(&s.loop, &s.turn);
	uv_prepare_start(&s.turn, on_turn);
	lws_set_log_level(LLL_ERR, NULL);
	s.lws = lws_create_context(&info);
	if (s.lws == NULL)
		fatalx("libwebsockets does not start; is libwebsockets-evlib-uv installed?");
	s.peers = xcalloc((size_t)config->sockets, sizeof(*s.peers));
	for (int i = 0; i < config->sockets; i++) {
		struct peer *peer = &s.peers[i];

		peer->slots = xcalloc((size_t)config->slots, sizeof(*peer->slots));
		for (int j = 0; j < config->slots; j++) {
			peer->slots[j].peer = peer;
			peer->slots[j].ref = (unsigned)(FIRST_REF + j);
		}
	}
	for (int i = 0; i < CONNECTING; i++)
		connect_next();
}

struct slot *sockets_slot(int i)
{
	/* Neighbours are on different sockets. */
	return &s.peers[i % s.config->sockets].slots[i / s.config->sockets];
}

void *sockets_loop(void)
{
	return &s.loop;
}

/* Not inside one of lws's own callbacks. */
static void on_leave(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, NULL);
	uv_close((uv_handle_t *)&s.turn, NULL);
	lws_context_destroy(s.lws);
}

void sockets_stop(void)
{
	if (s.leaving)
		return;
	s.leaving = true;
	uv_timer_start(&s.leave, on_leave, 0, 0);
}

void sockets_run(void)
{
	uv_run(&s.loop, UV_RUN_DEFAULT);
	lws_context_destroy(s.lws);
	if (uv_loop_close(&s.loop) != 0)
		log_warnx("the loop has handles left");
	for (int i = 0; i < s.config->sockets; i++) {
		for (int j = 0; j < s.config->slots; j++)
			buf_free(&s.peers[i].slots[j].token);
		buf_free(&s.peers[i].in);
		buf_free(&s.peers[i].out);
		free(s.peers[i].slots);
	}
	free(s.peers);
}

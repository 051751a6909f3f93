/*
 * ws: the peers. A message is put together from its fragments, one allocation that is handed on; an
 * outgoing one is queued (ws_out.c) and written when the turn of the loop is over, with all that
 * came together until then. A peer is read only while neither its owner nor what is queued for it
 * forbids that.
 *
 * lws takes a socket away in ws_socket_closed; until ws_socket_free the peer is then an empty shell
 * on which every call does nothing.
 */
#include "ws_private.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define FLUSH_BYTES 65536  /* bytes for which the end of the turn is not waited for */
#define TURN_BYTES 1048576 /* and after which others have theirs, however fast the peer reads */
#define KEPT_HEAD 4096     /* what is kept of a message that is too large */
#define CUT_TAIL 16384
#define CLOSE_NO_CODE 1005 /* RFC 6455, 7.4.1 */
#define CLOSE_BROKEN 1006
#define DRAIN_MS 2000
#define CLOSE_WAIT_MS 1000 /* for the peer to read our close frame, and to leave by itself */

struct ws_socket {
	TAILQ_ENTRY(ws_socket) link;
	struct ws *ws;
	void *user;
	struct lws *wsi; /* NULL before it is open and after it is closed */

	struct buf in;                /* of the message that is coming */
	bool incoming, admitted, cut; /* more of it follows; and may be read */
	size_t expected;              /* how large it will be, as far as that is known */
	struct ws_buffered counted;   /* what of ws->buffered is this socket's */
	uint64_t
		since; /* uv_now() when the message began, was admitted, or last made progress, … */
	size_t moved;                   /* … and the bytes of it since */
	uint64_t progress_timeout;      /* ms it may take to the next progress */
	uint64_t active_at, written_at; /* uv_now() of the last activity, and of the last write */
	bool pinged;                    /* since then */
	bool paused, output_full,
		not_reading;  /* paused by the owner, by the soft limit; as set in lws */
	bool masked;          /* the first frame is */
	struct ws_mask *mask; /* it is not known yet whether it is */

	struct ws_out out;
	bool due; /* in the server's list of those to be written to */
	TAILQ_ENTRY(ws_socket) write_link;

	bool closing; /* nothing is handed on or queued any more */
	int code; /* to close with, after the queue; 0 when there is nothing to say (any more) */
	uint64_t deadline; /* uv_now() at which it is dropped without a word */
	enum ws_end end;   /* why it goes, and with which code */
	int end_code;
};

struct ws_socket *ws_peer_new(struct ws *ws, void *user, bool masked)
{
	struct ws_socket *peer = xcalloc(1, sizeof(*peer));

	peer->ws = ws;
	peer->user = user;
	peer->masked = masked;
	peer->end_code = CLOSE_BROKEN;
	ws_out_init(&peer->out, ws->loop);
	TAILQ_INSERT_TAIL(&ws->peers, peer, link);
	ws->nsockets++;
	return peer;
}

static void forget_mask(struct ws_socket *peer)
{
	if (peer->mask != NULL)
		ws_mask_forget(peer->mask);
	peer->mask = NULL;
}

/* Brings the server's sums up to date; true if that changes them. */
static bool update_buffered(struct ws_socket *peer)
{
	return ws_count(peer->ws, &peer->counted,
		(struct ws_buffered){ .incoming = peer->expected, .queued = peer->out.queued });
}

static void notify_buffered(struct ws_socket *peer)
{
	if (update_buffered(peer))
		ws_notify_buffered(peer->ws);
}

static void drop_queue(struct ws_socket *peer)
{
	ws_out_drop(&peer->out);
	notify_buffered(peer);
}

static void set_output_full(struct ws_socket *peer, bool output_full)
{
	if (output_full != peer->output_full)
		metrics_add(peer->ws->stat_output_full, output_full ? 1 : -1);
	if (output_full && !peer->output_full)
		metrics_add(peer->ws->stat_output_pauses, 1);
	peer->output_full = output_full;
}

static void unschedule_write(struct ws_socket *peer)
{
	if (peer->due)
		TAILQ_REMOVE(&peer->ws->due, peer, write_link);
	peer->due = false;
}

void ws_socket_closed(struct ws_socket *peer)
{
	peer->wsi = NULL;
	peer->closing = true;
	forget_mask(peer);
	drop_queue(peer);
}

void ws_socket_free(struct ws_socket *peer)
{
	void (*closed)(void *user, enum ws_end how, int code) = peer->ws->config.ops->closed;
	void *user = peer->user;
	enum ws_end end = peer->end;
	int code = peer->end_code;

	peer->expected = 0;
	forget_mask(peer);
	drop_queue(peer);
	set_output_full(peer, false);
	unschedule_write(peer);
	buf_free(&peer->in);
	TAILQ_REMOVE(&peer->ws->peers, peer, link);
	peer->ws->nsockets--;
	free(peer);
	closed(user, end, code);
}

/* Reading. */

static void touch(struct ws_socket *peer)
{
	peer->active_at = uv_now(peer->ws->loop);
	peer->pinged = false;
}

void ws_socket_pong(struct ws_socket *peer)
{
	touch(peer);
}

/* Appends to what is kept of a message that is too large: its head, a NUL, and its tail, which is
 * moved up when it has grown to twice its size. */
static void keep_ends(struct buf *in, const char *p, size_t n)
{
	const size_t tail = KEPT_HEAD + 1;

	if (in->n < KEPT_HEAD) {
		size_t missing = KEPT_HEAD - in->n, part = n < missing ? n : missing;

		buf_add(in, p, part);
		p += part;
		n -= part;
	}
	if (n == 0)
		return;
	if (in->n == KEPT_HEAD)
		buf_addc(in, '\0');
	if (n > CUT_TAIL) {
		p += n - CUT_TAIL;
		n = CUT_TAIL;
		in->n = tail;
	} else if (in->n - tail + n > 2 * CUT_TAIL) {
		memmove(in->p + tail, in->p + in->n - CUT_TAIL, CUT_TAIL);
		in->n = tail + CUT_TAIL;
	}
	buf_add(in, p, n);
}

static void collect(struct ws_socket *peer, const void *p, size_t n)
{
	struct buf whole = peer->in;

	if (!peer->cut && n <= peer->ws->config.max_message - peer->in.n) {
		buf_add(&peer->in, p, n);
		return;
	}
	if (!peer->cut) {
		peer->in = (struct buf){ 0 };
		keep_ends(&peer->in, whole.p, whole.n);
		buf_free(&whole);
		peer->cut = true;
	}
	keep_ends(&peer->in, p, n);
}

/* Without the flag lws would only take note and not tell the loop. */
static void apply_pause(struct ws_socket *peer)
{
	bool paused = (peer->paused || peer->output_full) && !(peer->incoming && peer->admitted);
	bool not_reading = paused || peer->mask != NULL;

	if (peer->wsi == NULL || not_reading == peer->not_reading)
		return;
	peer->not_reading = not_reading;
	lws_rx_flow_control(peer->wsi, (not_reading ? 0 : 1) | LWS_RXFLOW_REASON_FLAG_PROCESS_NOW);
}

static void on_mask(void *arg, bool masked)
{
	struct ws_socket *peer = arg;

	forget_mask(peer);
	if (!masked)
		ws_close(peer, 1002); /* RFC 6455, 5.1 */
	apply_pause(peer);
}

void ws_socket_open(struct ws_socket *peer, struct lws *wsi)
{
	uv_loop_t *loop = peer->ws->loop;

	peer->wsi = wsi;
	peer->active_at = peer->written_at = uv_now(loop);
	if (!peer->masked)
		peer->mask = ws_mask_watch(loop, lws_get_socket_fd(wsi), on_mask, peer);
	apply_pause(peer);
	peer->ws->config.ops->open(peer->user, peer);
	if (!peer->masked && peer->mask == NULL) /* there are no descriptors left */
		ws_close(peer, 1013);
}

/* As much of the message as is known to come, and will be kept. */
static size_t size_of(const struct ws_socket *peer)
{
	size_t room = peer->ws->config.max_message - peer->in.n;
	size_t rest = lws_remaining_packet_payload(peer->wsi);

	return peer->cut ? peer->in.n : peer->in.n + (rest < room ? rest : room);
}

/* Makes room for the rest of the frame. */
static void expect(struct ws_socket *peer)
{
	if (!peer->admitted)
		return;
	peer->expected = size_of(peer);
	buf_reserve(&peer->in, peer->expected - peer->in.n);
	notify_buffered(peer);
}

/* What a message waited for room counts: its peer has had that time to send, too, so those that
 * stall behind one another are given up at about the same time. */
static void admit(struct ws_socket *peer)
{
	uint64_t now = uv_now(peer->ws->loop), stall = (uint64_t)peer->ws->config.stall * 1000;
	uint64_t waited = now - peer->since;

	peer->admitted = true;
	peer->progress_timeout = waited < stall - stall / 5 ? stall - waited : stall / 5;
	peer->since = now;
	peer->moved = 0;
	expect(peer);
}

/* More of the message follows: of its only frame, or in further ones, whose number is not known. */
static void message_continues(struct ws_socket *peer)
{
	const struct ws_ops *ops = peer->ws->config.ops;
	bool first = !peer->incoming;

	peer->incoming = true;
	if (first)
		peer->since = uv_now(peer->ws->loop);
	if (!first && !peer->admitted)
		return;
	if (ops->admit != NULL && (first || size_of(peer) > peer->expected))
		peer->admitted = ops->admit(peer->user, size_of(peer));
	else
		peer->admitted = true;
	if (peer->closing || !peer->admitted) {
		apply_pause(peer);
		return;
	}
	if (first)
		admit(peer);
	else
		expect(peer);
}

void ws_socket_receive(struct ws_socket *peer, const void *p, size_t n)
{
	struct buf whole;
	bool cut;

	touch(peer);
	metrics_add(peer->ws->stat_in, (double)n);
	peer->moved += n;
	if (peer->closing)
		return;
	collect(peer, p, n);
	if (!lws_is_final_fragment(peer->wsi) || lws_remaining_packet_payload(peer->wsi) > 0) {
		message_continues(peer);
		return;
	}
	peer->incoming = false;
	buf_reserve(&peer->in, 0); /* an empty message is an allocation too */
	whole = peer->in;
	whole.p[whole.n] = '\0';
	cut = peer->cut;
	peer->in = (struct buf){ 0 };
	peer->cut = false;
	apply_pause(peer);
	/* From here on it is the owner's, who counts it: not twice, and not less in between. */
	peer->expected = 0;
	update_buffered(peer);
	peer->ws->config.ops->message(
		peer->user, whole.p, whole.n, lws_frame_is_binary(peer->wsi), cut);
}

void ws_pause(struct ws_socket *peer)
{
	peer->paused = true;
	apply_pause(peer);
}

void ws_resume(struct ws_socket *peer)
{
	peer->paused = false;
	touch(peer);
	if (peer->incoming && !peer->admitted && peer->wsi != NULL)
		admit(peer);
	apply_pause(peer);
}

/* Writing. */

/* Writes until the socket is full: then lws holds the rest of one write and calls back; or until it
 * is another's turn. */
static void flush(struct ws_socket *peer)
{
	const size_t soft = peer->ws->config.soft, before = peer->out.queued;

	unschedule_write(peer);
	if (peer->wsi == NULL)
		return;
	while (!TAILQ_EMPTY(&peer->out.queue) && !lws_partial_buffered(peer->wsi) &&
		before - peer->out.queued < TURN_BYTES) {
		peer->written_at = uv_now(peer->ws->loop);
		if (!ws_out_write(&peer->out, peer->wsi)) {
			ws_abort(peer);
			return;
		}
		if (peer->not_reading) /* all that can be seen of a peer that we do not read */
			touch(peer);
	}
	metrics_add(peer->ws->stat_out, (double)(before - peer->out.queued));
	if (!TAILQ_EMPTY(&peer->out.queue))
		lws_callback_on_writable(peer->wsi);
	else
		peer->out.largest = 0;
	if (peer->out.queued > soft)
		set_output_full(peer, true);
	else if (peer->out.queued < soft / 2)
		set_output_full(peer, false);
	apply_pause(peer);
	notify_buffered(peer);
}

void ws_socket_writable(struct ws_socket *peer)
{
	flush(peer);
	if (peer->code != 0)
		ws_run_timer(peer->ws);
}

void ws_sockets_write(struct ws *ws)
{
	struct ws_socket *peer;

	while ((peer = TAILQ_FIRST(&ws->due)) != NULL)
		ws_socket_writable(peer);
}

void ws_send(struct ws_socket *peer, struct buf *b, bool binary)
{
	assert(b->n >= LWS_PRE);
	if (peer->closing) {
		buf_free(b);
		return;
	}
	ws_out_add(&peer->out, b, binary);
	if (!peer->due) {
		TAILQ_INSERT_TAIL(&peer->ws->due, peer, write_link);
		peer->due = true;
		ws_schedule_write(peer->ws);
	}
	if (peer->out.queued >= FLUSH_BYTES)
		flush(peer);
	if (peer->out.queued > peer->ws->config.hard + peer->out.largest) {
		drop_queue(peer);
		ws_close(peer, 1013);
	}
}

int64_t ws_quiet(const struct ws_socket *peer)
{
	uint64_t last = peer->active_at > peer->written_at ? peer->active_at : peer->written_at;
	int not_reading = 0;

	if (peer->wsi == NULL || peer->incoming || (peer->not_reading && peer->mask == NULL) ||
		peer->out.queued > 0 || lws_partial_buffered(peer->wsi) ||
		ioctl(lws_get_socket_fd(peer->wsi), FIONREAD, &not_reading) < 0 || not_reading > 0)
		return 0;
	return (int64_t)(uv_now(peer->ws->loop) - last);
}

/* Closing. */

/* The first reason is the one: what follows is only how the connection is taken down. */
static void note_end(struct ws_socket *peer, enum ws_end end, int code)
{
	if (peer->end != WS_END_BROKEN)
		return;
	peer->end = end;
	peer->end_code = code;
}

void ws_close(struct ws_socket *peer, int code)
{
	assert(code != 1000); /* Phoenix clients take that for a good-bye and never come back */
	if (peer->closing)
		return;
	metrics_add(metrics_seriesf(METRIC_SOCKET_CLOSES, "code=\"%d\"", code), 1);
	peer->closing = true;
	peer->code = code;
	note_end(peer, WS_END_CLOSED, code);
	peer->deadline = uv_now(peer->ws->loop) + DRAIN_MS;
	buf_free(&peer->in);
	peer->expected = 0;
	notify_buffered(peer);
	ws_run_timer(peer->ws);
}

void ws_abort(struct ws_socket *peer)
{
	peer->closing = true;
	peer->code = 0;
	peer->deadline = 0;
	ws_run_timer(peer->ws);
}

void ws_socket_leaving(struct ws_socket *peer, struct slice close)
{
	const unsigned char *code = (const unsigned char *)close.p;

	note_end(peer, WS_END_LEFT, close.n >= 2 ? code[0] << 8 | code[1] : CLOSE_NO_CODE);
	peer->closing = true;
	peer->code = 0;
	peer->deadline = uv_now(peer->ws->loop) + CLOSE_WAIT_MS;
	drop_queue(peer);
}

/* Says good-bye by our own hand. lws's way (lws_close_reason) has to read the peer for its answer,
 * and with a paused peer's bytes in its buffer it turns round and round instead. Dropping the
 * socket at once could take the frame away from a client that has not read it yet. */
static void send_close_frame(struct ws_socket *peer)
{
	unsigned char room[LWS_PRE + 4], *frame = room + LWS_PRE;

	frame[0] = 0x88; /* RFC 6455, 5.2: final, close; two bytes of payload, not masked */
	frame[1] = 2;
	frame[2] = (unsigned char)(peer->code >> 8);
	frame[3] = (unsigned char)peer->code;
	peer->code = 0;
	peer->deadline = uv_now(peer->ws->loop) + CLOSE_WAIT_MS;
	if (lws_write(peer->wsi, frame, 4, LWS_WRITE_HTTP) < 0) /* as it stands */
		ws_abort(peer);
	else if (!lws_partial_buffered(peer->wsi))
		shutdown(lws_get_socket_fd(peer->wsi), SHUT_WR);
}

/* lws first wants to get rid of what it has buffered; on a socket that is shut it cannot. */
static void drop(struct ws_socket *peer)
{
	drop_queue(peer);
	shutdown(lws_get_socket_fd(peer->wsi), SHUT_RDWR);
	lws_set_timeout(peer->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

/* With a byte in it: lws keeps an empty pong to itself. */
static void ping(struct ws_socket *peer)
{
	unsigned char frame[LWS_PRE + 1] = { 0 };

	peer->pinged = true;
	if (!lws_partial_buffered(peer->wsi) &&
		lws_write(peer->wsi, frame + LWS_PRE, 1, LWS_WRITE_PING) < 0)
		ws_abort(peer);
}

/* Others wait for the memory of a message that does not come. */
static bool stalls(struct ws_socket *peer, uint64_t now)
{
	const struct ws_config *config = &peer->ws->config;

	if (!peer->incoming || !peer->admitted || peer->expected < WS_PROGRESS)
		return false;
	if (peer->moved >= WS_PROGRESS) {
		peer->since = now;
		peer->moved = 0;
	}
	return now - peer->since >= peer->progress_timeout &&
	       config->ops->memory_is_scarce != NULL && config->ops->memory_is_scarce(config->arg);
}

static void tick(struct ws_socket *peer, uint64_t now)
{
	uint64_t limit = (uint64_t)peer->ws->config.silence * 1000;

	if (peer->closing) {
		if (now >= peer->deadline)
			drop(peer);
		else if (peer->code != 0 && TAILQ_EMPTY(&peer->out.queue) &&
			 !lws_partial_buffered(peer->wsi))
			send_close_frame(peer);
	} else if (peer->not_reading && peer->mask == NULL && peer->out.queued == 0) {
		peer->active_at = now; /* it is we who do not listen */
	} else if (now - peer->active_at >= limit) {
		metrics_add(metrics_series(METRIC_SOCKET_CLOSES, "code=\"1006\""), 1);
		note_end(peer, WS_END_SILENT, CLOSE_BROKEN);
		drop(peer);
	} else if (stalls(peer, now)) {
		ws_close(peer, 1013);
	} else if (now - peer->active_at >= limit / 2 && !peer->pinged) {
		ping(peer);
	}
}

void ws_sockets_tick(struct ws *ws)
{
	struct ws_socket *peer;

	TAILQ_FOREACH (peer, &ws->peers, link)
		if (peer->wsi != NULL)
			tick(peer, uv_now(ws->loop));
}

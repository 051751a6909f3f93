/*
 * ws: what goes out to a peer. Messages wait in a queue and are made into frames by our own hand,
 * so that one system call takes as many of them as have come together: lws would make one for each.
 * Small ones are copied into one stretch of memory, large ones are written from where they are, in
 * fragments, so that a ping or a close gets in between and lws never copies more than one of them.
 * Invariant: every write ends with a frame, and begins one.
 */
#include "ws_private.h"

#include "lib/pool.h"

#include <stdlib.h>

/* Bytes: of one write; of a message that is copied; of the header of a frame that is no longer
 * than a write (RFC 6455, 5.2). */
enum { CHUNK = 65536, SMALL = 8192, HEADER = 4 };

enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, FINAL = 0x80, SIZE_FOLLOWS = 126 };

struct message {
	TAILQ_ENTRY(message) link;
	struct buf b;
	size_t at; /* written so far */
	bool binary;
};

void ws_reserve_header(struct buf *b)
{
	static const char room[LWS_PRE];

	buf_add(b, room, sizeof(room));
}

void ws_out_init(struct ws_out *out, uv_loop_t *loop)
{
	out->loop = loop;
	TAILQ_INIT(&out->queue);
}

static void end(struct ws_out *out, struct message *m)
{
	TAILQ_REMOVE(&out->queue, m, link);
	pool_free(out->loop, m->b.p);
	free(m);
}

void ws_out_drop(struct ws_out *out)
{
	struct message *m;

	while ((m = TAILQ_FIRST(&out->queue)) != NULL)
		/* TAILQ_REMOVE has put another one first. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		end(out, m);
	out->queued = out->largest = 0;
}

void ws_out_add(struct ws_out *out, struct buf *b, bool binary)
{
	struct message *m = xmalloc(sizeof(*m));
	size_t n = b->n - LWS_PRE;

	*m = (struct message){ .b = *b, .at = LWS_PRE, .binary = binary };
	*b = (struct buf){ 0 };
	TAILQ_INSERT_TAIL(&out->queue, m, link);
	out->queued += n;
	if (n > out->largest)
		out->largest = n;
}

static size_t left(const struct message *m)
{
	return m->b.n - m->at;
}

/* The header of a frame with the next n bytes of the message. Returns its size. */
static size_t put_header(const struct message *m, size_t n, unsigned char h[HEADER])
{
	int kind = m->at > LWS_PRE ? CONTINUATION : m->binary ? BINARY : TEXT;

	h[0] = (unsigned char)(kind | (n == left(m) ? FINAL : 0));
	if (n < SIZE_FOLLOWS) {
		h[1] = (unsigned char)n;
		return 2;
	}
	h[1] = SIZE_FOLLOWS;
	h[2] = (unsigned char)(n >> 8);
	h[3] = (unsigned char)n;
	return 4;
}

static bool write_raw(struct lws *wsi, unsigned char *p, size_t n)
{
	return lws_write(wsi, p, n, LWS_WRITE_HTTP) >= 0; /* as it stands */
}

/* The header overwrites what is before the fragment: the room of ws_reserve_header, or the end of
 * the fragment before, which is gone by then. */
static bool write_fragment(struct ws_out *out, struct lws *wsi, struct message *m)
{
	size_t n = left(m) < CHUNK - HEADER ? left(m) : CHUNK - HEADER, size;
	unsigned char header[HEADER], *p = (unsigned char *)m->b.p + m->at;

	size = put_header(m, n, header);
	memcpy(p - size, header, size);
	if (!write_raw(wsi, p - size, size + n))
		return false;
	out->queued -= n;
	m->at += n;
	if (left(m) == 0)
		end(out, m);
	return true;
}

/* All small messages at the head of the queue, as far as they fit. */
static bool write_several(struct ws_out *out, struct lws *wsi)
{
	static unsigned char chunk[CHUNK];
	struct message *m;
	size_t n = 0;

	/* TAILQ_REMOVE has put another one first. */
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	while ((m = TAILQ_FIRST(&out->queue)) != NULL && left(m) <= SMALL &&
		n + HEADER + left(m) <= CHUNK) {
		size_t size = left(m);

		n += put_header(m, size, chunk + n);
		memcpy(chunk + n, m->b.p + m->at, size);
		n += size;
		out->queued -= size;
		end(out, m);
	}
	return write_raw(wsi, chunk, n);
}

bool ws_out_write(struct ws_out *out, struct lws *wsi)
{
	struct message *m = TAILQ_FIRST(&out->queue);

	if (left(m) > SMALL || TAILQ_NEXT(m, link) == NULL)
		return write_fragment(out, wsi, m);
	return write_several(out, wsi);
}

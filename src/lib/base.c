/*
 * base: what every other file stands on (base.h). Nothing here returns an error for a fault of our
 * own: it says so and exits.
 */
#include "lib/base.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

void fatal(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	log_last(err, fmt, ap);
	va_end(ap);
	exit(1);
}

void fatalx(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_last(0, fmt, ap);
	va_end(ap);
	exit(1);
}

/* A size of 0 gives a pointer too, so that NULL always means absent. */
void *xrealloc(void *p, size_t size)
{
	void *q = realloc(p, size > 0 ? size : 1);

	if (q == NULL)
		fatalx("out of memory: %zu bytes", size);
	return q;
}

void *xmalloc(size_t size)
{
	return xrealloc(NULL, size);
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n > 0 ? n : 1, size > 0 ? size : 1);

	if (p == NULL)
		fatalx("out of memory: %zu times %zu bytes", n, size);
	return p;
}

void *xmemdup(const void *p, size_t n)
{
	void *q = xmalloc(n);

	if (n > 0)
		memcpy(q, p, n);
	return q;
}

char *xstrndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *t = xmalloc(len + 1);

	memcpy(t, s, len);
	t[len] = '\0';
	return t;
}

char *xstrdup(const char *s)
{
	return xmemdup(s, strlen(s) + 1);
}

char *xasprintf(const char *fmt, ...)
{
	char *s;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		fatal("cannot format: %s", fmt);
	va_end(ap);
	return s;
}

struct slice slice_of(const char *s)
{
	return (struct slice){ s, s != NULL ? strlen(s) : 0 };
}

bool slice_eq(struct slice a, struct slice b)
{
	if (a.p == NULL || b.p == NULL)
		return a.p == b.p;
	return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

bool slice_is(struct slice a, const char *s)
{
	return a.p != NULL && slice_eq(a, slice_of(s));
}

void buf_reserve(struct buf *b, size_t more)
{
	size_t need;

	if (more < b->cap - b->n)
		return;
	if (__builtin_add_overflow(b->n, more, &need) || need >= SIZE_MAX / 2)
		fatalx("a buffer of %zu bytes cannot take %zu more", b->n, more);
	b->cap = need < 2 * b->cap ? 2 * b->cap : need + 1;
	b->p = xrealloc(b->p, b->cap);
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0)
		return;
	buf_reserve(b, n);
	memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	int n;
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		fatal("cannot format: %s", fmt);
	buf_reserve(b, (size_t)n);
	va_start(ap, fmt);
	vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->n += (size_t)n;
}

void buf_add_json(struct buf *b, struct slice text)
{
	size_t done = 0;

	buf_reserve(b, text.n + 2);
	buf_addc(b, '"');
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_add(b, text.p + done, i - done);
		if (c >= 0x20)
			buf_addf(b, "\\%c", c);
		else if (c == '\n')
			buf_adds(b, "\\n");
		else
			buf_addf(b, "\\u%04x", c);
		done = i + 1;
	}
	if (text.n > done)
		buf_add(b, text.p + done, text.n - done);
	buf_addc(b, '"');
}

int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void buf_add_hex(struct buf *b, struct slice hex)
{
	int high, low;

	buf_reserve(b, hex.n / 2);
	for (size_t i = 0; i + 1 < hex.n; i += 2) {
		if ((high = hex_digit(hex.p[i])) < 0 || (low = hex_digit(hex.p[i + 1])) < 0)
			break;
		b->p[b->n++] = (char)(high << 4 | low);
	}
	b->p[b->n] = '\0';
}

void buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ 0 };
}

/* Where the text form has its dashes: before these bytes. */
static bool dash_before(size_t byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

bool uuid_parse(struct slice s, struct uuid *out)
{
	struct uuid u;
	const char *c = s.p;

	if (s.p == NULL || s.n != UUID_TEXT - 1)
		return false;
	for (size_t i = 0; i < sizeof(u.b); i++, c += 2) {
		if (dash_before(i) && *c++ != '-')
			return false;
		int high = hex_digit(c[0]), low = hex_digit(c[1]);
		if (high < 0 || low < 0)
			return false;
		u.b[i] = (uint8_t)(high << 4 | low);
	}
	*out = u;
	return true;
}

char *uuid_format(const struct uuid *u, char out[UUID_TEXT])
{
	char *c = out;

	for (size_t i = 0; i < sizeof(u->b); i++) {
		if (dash_before(i))
			*c++ = '-';
		*c++ = "0123456789abcdef"[u->b[i] >> 4];
		*c++ = "0123456789abcdef"[u->b[i] & 15];
	}
	*c = '\0';
	return out;
}

/* 48 bits of milliseconds, then 12 bits that hold the fraction of the millisecond: one number of
 * 60 bits, which never goes back, whatever the wall clock does. */
uint64_t uuid_reserve(size_t n)
{
	static uint64_t next;
	uint64_t us = (uint64_t)now_us();
	uint64_t stamp = us / 1000 << 12 | (us % 1000 << 12) / 1000;

	stamp = stamp > next ? stamp : next;
	next = stamp + n;
	return stamp;
}

struct uuid uuid_new(void)
{
	return uuid_at(uuid_reserve(1));
}

struct uuid uuid_at(uint64_t stamp)
{
	struct uuid u;

	for (size_t i = 0; i < 6; i++)
		u.b[i] = (uint8_t)(stamp >> (52 - 8 * i));
	u.b[6] = (uint8_t)(0x70 | (stamp >> 8 & 0x0f));
	u.b[7] = (uint8_t)stamp;
	random_bytes(u.b + 8, 8);
	u.b[8] = (uint8_t)(0x80 | (u.b[8] & 0x3f));
	return u;
}

bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

void random_bytes(void *p, size_t n)
{
	for (char *to = p; n > 0;) {
		ssize_t got = getrandom(to, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			fatal("getrandom");
		to += got;
		n -= (size_t)got;
	}
}

int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t mono_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

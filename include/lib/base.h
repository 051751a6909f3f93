/*
 * base: what every other file stands on. Memory that succeeds or dies, growable buffers, byte
 * ranges, UUIDs and the two clocks; the logger comes with it. Knows nothing of the project.
 */
#ifndef BASE_H
#define BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/logger.h"

#define countof(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

/* Our own fault: says so and exits with status 1. fatal appends strerror(errno). */
void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void fatalx(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Memory: these succeed or die. The caller owns the result and gives it to free(3). */

void *xmalloc(size_t size) __attribute__((malloc, warn_unused_result));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, warn_unused_result));
void *xrealloc(void *p, size_t size) __attribute__((warn_unused_result));
char *xstrdup(const char *s) __attribute__((malloc, warn_unused_result));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, warn_unused_result));
void *xmemdup(const void *p, size_t n) __attribute__((malloc, warn_unused_result));
char *xasprintf(const char *fmt, ...)
	__attribute__((malloc, warn_unused_result, format(printf, 1, 2)));

/* A byte range that is owned elsewhere. p == NULL means absent. */
struct slice {
	const char *p;
	size_t n;
};

/* A slice of the string, or the absent one for NULL; borrows s. */
struct slice slice_of(const char *s);
bool slice_is(struct slice a, const char *s);  /* equal to the string; absent equals nothing */
bool slice_eq(struct slice a, struct slice b); /* same bytes; two absent ones are equal */

/* A growable buffer. Zero-initialise it; buf_free releases and zeroes. p is NUL-terminated
 * whenever n > 0 (the NUL is not counted). */
struct buf {
	char *p;
	size_t n, cap;
};

void buf_reserve(struct buf *b, size_t more); /* room for that many bytes beyond n, and a NUL */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_add_json(struct buf *b, struct slice text); /* as a JSON string, quotes included */
/* The bytes that pairs of hexadecimal digits mean, up to the first pair that is not one. */
void buf_add_hex(struct buf *b, struct slice hex);
void buf_free(struct buf *b);

int hex_digit(char c); /* the value of a hexadecimal digit in either case, -1 if it is not one */

/* UUIDs. */

struct uuid {
	uint8_t b[16];
};

#define UUID_TEXT 37 /* 36 characters and a NUL */

/* Accepts the 36-character form in either case and nothing else; false leaves *out alone. */
bool uuid_parse(struct slice s, struct uuid *out) __attribute__((warn_unused_result));
/* Writes the lower-case form and returns out. */
char *uuid_format(const struct uuid *u, char out[UUID_TEXT]);
/* Version 7 (RFC 9562): ordered by creation time within this process. */
struct uuid uuid_new(void);
/* The same in two steps: n places in that order, and an id at each of them, made when and by
 * whatever thread it is needed. */
uint64_t uuid_reserve(size_t n);
struct uuid uuid_at(uint64_t place);
bool uuid_eq(const struct uuid *a, const struct uuid *b);

/* Fills p with bytes from the kernel's generator, or dies. */
void random_bytes(void *p, size_t n);

/* Clocks. */

int64_t now_us(void);  /* wall clock, microseconds since 1970; for stamps, never for decisions */
int64_t mono_ms(void); /* monotonic, milliseconds; for timers */

#endif

/*
 * Values on their way to PostgreSQL, in its binary format: numbers in network order, times in
 * microseconds since 2000, arrays with one dimension. No quoting anywhere, so nothing to escape.
 */
#include "db/value.h"

#include <endian.h>
#include <stdlib.h>

/* Seconds from 1970 to 2000; POSTGRES_EPOCH_JDATE less UNIX_EPOCH_JDATE in PostgreSQL's
 * timestamp.h. */
#define EPOCH_2000 946684800LL

static void set_raw(struct value *v, const void *p, int n)
{
	memcpy(v->raw, p, (size_t)n);
	v->p = v->raw;
	v->n = n;
}

void value_uuid(struct value *v, const struct uuid *u)
{
	set_raw(v, u->b, sizeof(u->b));
}

void value_bool(struct value *v, bool b)
{
	set_raw(v, b ? "\1" : "\0", 1);
}

void value_int(struct value *v, int32_t i)
{
	uint32_t be = htobe32((uint32_t)i);

	set_raw(v, &be, sizeof(be));
}

void value_bigint(struct value *v, int64_t i)
{
	uint64_t be = htobe64((uint64_t)i);

	set_raw(v, &be, sizeof(be));
}

void value_time(struct value *v, int64_t us)
{
	value_bigint(v, us - EPOCH_2000 * 1000000);
}

int64_t value_time_of(const struct value *v)
{
	uint64_t be;

	memcpy(&be, v->p, sizeof(be));
	return (int64_t)be64toh(be) + EPOCH_2000 * 1000000;
}

void value_text(struct value *v, struct slice text)
{
	v->p = text.p;
	v->n = (int)text.n;
}

void value_take(struct value *v, struct buf *text)
{
	value_clear(v);
	v->owned = text->p != NULL ? text->p : xstrdup("");
	v->p = v->owned;
	v->n = (int)text->n;
	*text = (struct buf){ 0 };
}

void value_copy16(struct value *v, const struct value *id)
{
	if (id->p != NULL)
		set_raw(v, id->p, (int)sizeof(v->raw));
}

void value_move(struct value *v, struct value *from)
{
	*v = *from;
	if (from->p == from->raw)
		v->p = v->raw;
	*from = (struct value){ 0 };
}

void value_clear(struct value *v)
{
	free(v->owned);
	v->owned = NULL;
	v->p = NULL;
	v->n = 0;
}

static void add32(struct buf *out, uint32_t i)
{
	uint32_t be = htobe32(i);

	buf_add(out, &be, sizeof(be));
}

void value_array(struct buf *out, uint32_t oid, int n)
{
	add32(out, 1); /* dimensions */
	add32(out, 1); /* there may be NULLs */
	add32(out, oid);
	add32(out, (uint32_t)n);
	add32(out, 1); /* the lower bound */
}

void value_element(struct buf *out, const struct value *v)
{
	if (v->p == NULL) {
		add32(out, UINT32_MAX);
		return;
	}
	add32(out, (uint32_t)v->n);
	buf_add(out, v->p, (size_t)v->n);
}

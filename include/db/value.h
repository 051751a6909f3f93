/*
 * value: one SQL value in PostgreSQL's binary form, and columns of them as array parameters.
 */
#ifndef VALUE_H
#define VALUE_H

#include "lib/base.h"

/* Absent (SQL NULL) when zeroed. p points into raw, at borrowed bytes, or at owned;
 * so a value must not be moved. */
struct value {
	const char *p;
	int n;
	char raw[16];
	char *owned;
};

void value_uuid(struct value *v, const struct uuid *u);
void value_bool(struct value *v, bool b);
void value_int(struct value *v, int32_t i);
void value_bigint(struct value *v, int64_t i);
void value_time(struct value *v, int64_t us);        /* microseconds since 1970 */
int64_t value_time_of(const struct value *v);        /* what value_time has put in */
void value_text(struct value *v, struct slice text); /* borrows; absent becomes NULL */
void value_take(struct value *v, struct buf *text);  /* takes the buffer and zeroes it */

void value_copy16(struct value *v, const struct value *id); /* a UUID that another value holds */
void value_move(struct value *v, struct value *from);       /* what from held; from becomes NULL */

/* Frees what the value owns and makes it NULL. */
void value_clear(struct value *v);

/* An array of n elements of type oid (of pg_type): value_array begins it in out, value_element
 * appends one. */
void value_array(struct buf *out, uint32_t oid, int n);
void value_element(struct buf *out, const struct value *v);

#endif

/*
 * field: turns payloads into parameters. Invariant: every value is storable; nothing that a worker
 * can send makes a statement fail.
 */
#include "core/field.h"

#include <stdlib.h>

enum { TEXT_LIMIT = 255 };

/* The latest time, in microseconds: the year 9999. */
#define TIME_MAX 253402300799000000LL
/* Smaller numbers have 13 digits: milliseconds. */
#define MILLISECONDS_MAX 100000000000000LL

bool field_uuid(struct slice raw, struct uuid *out)
{
	if (jscan_type(raw) != JSCAN_STRING || raw.n != 2 + UUID_TEXT - 1)
		return false;
	return uuid_parse((struct slice){ raw.p + 1, raw.n - 2 }, out);
}

bool field_time(struct slice raw, int64_t *us)
{
	int64_t t;

	if (jscan_type(raw) == JSCAN_STRING && raw.n > 2)
		raw = (struct slice){ raw.p + 1, raw.n - 2 };
	if (jscan_type(raw) != JSCAN_NUMBER || !jscan_int(raw, &t) || t <= 0 || t > TIME_MAX)
		return false;
	*us = t < MILLISECONDS_MAX ? t * 1000 : t;
	return true;
}

bool field_text(struct slice raw, struct value *v)
{
	struct buf b = { 0 };

	if (jscan_type(raw) != JSCAN_STRING)
		return false;
	/* A string has its quotes: raw.p is not NULL. */
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
	if (memchr(raw.p, '\\', raw.n) == NULL) {
		value_text(v, (struct slice){ raw.p + 1, raw.n - 2 });
		return true;
	}
	if (!jscan_decode(raw, &b)) {
		buf_free(&b);
		return false;
	}
	value_take(v, &b);
	return true;
}

/* Cuts a text between two characters. */
static void cut(struct value *v, size_t limit)
{
	size_t n = (size_t)v->n;

	if (n <= limit)
		return;
	while (limit > 0 && ((unsigned char)v->p[limit] & 0xc0) == 0x80)
		limit--;
	v->n = (int)limit;
}

void field_scrub(const struct scrubber *scrub, struct value *text)
{
	struct buf clean = { 0 };

	if (text->p != NULL &&
		scrubber_apply(scrub, (struct slice){ text->p, (size_t)text->n }, &clean))
		value_take(text, &clean);
	buf_free(&clean);
}

/* False if the raw value is not of the field's type. */
static bool convert(const struct field *f, struct slice raw, const struct scrubber *scrub,
	int64_t received, struct value *v)
{
	struct uuid u;
	int64_t us;

	switch (f->type) {
	case FIELD_UUID:
		if (!field_uuid(raw, &u)) {
			if (!f->unknown)
				return false;
			u = uuid_new();
		}
		value_uuid(v, &u);
		return true;
	case FIELD_TEXT:
		if (!field_text(raw, v))
			return false;
		if (f->scrub)
			field_scrub(scrub, v);
		cut(v, f->limit != 0 ? f->limit : TEXT_LIMIT);
		return true;
	case FIELD_TIME:
		if (!field_time(raw, &us))
			us = received;
		value_time(v, us);
		return true;
	case FIELD_RAW:
		if (raw.n > (f->limit != 0 ? f->limit : TEXT_LIMIT))
			return false;
		value_text(v, raw);
		return true;
	}
	return false;
}

static bool refuse(
	const struct field *f, const char *message, const char *code, struct error_reply *why)
{
	*why = (struct error_reply){
		.field = f->as != NULL ? f->as : f->name, .message = message, .code = code
	};
	return false;
}

/* Missing, null, or, if the field is required, an empty text. */
static bool is_missing(const struct field *f, struct slice raw)
{
	enum jscan_type type = jscan_type(raw);

	return type == JSCAN_ABSENT || type == JSCAN_NULL ||
	       (f->missing != NULL && type == JSCAN_STRING && raw.n == 2);
}

bool field_parse(const struct field *fields, int n, struct slice payload,
	const struct scrubber *scrub, int64_t received, struct value *values,
	struct error_reply *why)
{
	struct slice raw[16] = { { 0 } }, cursor = payload, key, value;

	/* One pass, however large the payload; the last of repeated keys counts. */
	while (jscan_next(&cursor, &key, &value))
		for (int i = 0; i < n; i++)
			if (jscan_equals(key, fields[i].name))
				raw[i] = value;
	for (int i = 0; i < n; i++) {
		const struct field *f = &fields[i];
		bool missing = is_missing(f, raw[i]);
		struct value *v = values++;
		int64_t us;

		if (missing && f->missing != NULL)
			return refuse(f, f->missing, "invalid", why);
		if (f->type == FIELD_TIME) {
			missing = missing || !field_time(raw[i], &us);
			value_time(v, missing ? received : us);
		} else if (!missing && !convert(f, raw[i], scrub, received, v) && f->bad != NULL) {
			return refuse(f, f->bad, f->code, why);
		}
		if (f->given)
			value_bool(values++, !missing);
	}
	return true;
}

/*
 * phx: Phoenix's serializer 2.0.0 (phx.h). A frame that is accepted can be answered: its refs and
 * its topic fit in either form, and everything but the payload is text without NUL. The payload is
 * validated in the one pass that finds where it ends, and copied nowhere.
 */
#include "ws/phx.h"

#include "lib/jscan.h"
#include "lib/jscan_cut.h"

enum { JOIN_REF, REF, TOPIC, EVENT, HEAD }; /* the elements before the payload, and their number */

enum { PUSH = 0, REPLY = 1 }; /* kinds of binary messages */

/* Moves *p behind the character, if that is what comes next. */
static bool expect(const char **p, const char *end, char what)
{
	const char *c = jscan_skip_space(*p, end);

	if (c == end || *c != what)
		return false;
	*p = c + 1;
	return true;
}

/* The first four elements and the comma behind each: *p moves to the payload. */
static bool head(const char **p, const char *end, struct slice raw[HEAD])
{
	if (!expect(p, end, '['))
		return false;
	for (size_t i = 0; i < HEAD; i++)
		if (jscan_value(p, end, &raw[i]) != JSCAN_OK || !expect(p, end, ','))
			return false;
	return true;
}

/* Replaces what text holds by what the raw JSON string says; false if it is none or too long. */
static bool decode(struct slice raw, struct buf *text)
{
	text->n = 0;
	return jscan_type(raw) == JSCAN_STRING && raw.n <= 6 * PHX_MAX_FIELD + 2 &&
	       jscan_decode(raw, text) && text->n <= PHX_MAX_FIELD;
}

/* The same for a ref, which may be null. */
static bool decode_ref(struct slice raw, struct buf *text)
{
	text->n = 0;
	return raw.p == NULL || jscan_type(raw) == JSCAN_NULL || decode(raw, text);
}

/* The same for a topic or an event, which are then rewritten in place. */
static bool decode_name(char *data, struct slice raw, struct buf *text, struct slice *out)
{
	if (!decode(raw, text))
		return false;
	*out = (struct slice){ memcpy(data + (raw.p - data), text->p, text->n), text->n };
	return true;
}

static enum phx_error fill(char *data, const struct slice raw[HEAD], struct phx_frame *out)
{
	struct buf text = { 0 };
	struct phx_frame frame = { .join_ref = raw[JOIN_REF], .ref = raw[REF] };
	bool good = decode_ref(raw[JOIN_REF], &text) && decode_ref(raw[REF], &text) &&
		    decode_name(data, raw[TOPIC], &text, &frame.topic) &&
		    decode_name(data, raw[EVENT], &text, &frame.event);

	buf_free(&text);
	if (!good)
		return PHX_NOT_FRAME;
	*out = frame;
	return PHX_OK;
}

enum phx_error phx_parse_text(char *data, size_t n, struct phx_frame *out)
{
	const char *p = data, *end = data + n;
	struct slice raw[HEAD], payload = { 0 };
	enum jscan_error error = JSCAN_BAD_SYNTAX;
	enum phx_error result;

	if (head(&p, end, raw))
		error = jscan_value(&p, end, &payload);
	if (error == JSCAN_OK && (!expect(&p, end, ']') || jscan_skip_space(p, end) != end))
		error = JSCAN_BAD_SYNTAX;
	if (error != JSCAN_OK && error != JSCAN_TOO_DEEP) {
		error = jscan_document((struct slice){ data, n }, &payload);
		return error == JSCAN_OK || error == JSCAN_TOO_DEEP ? PHX_NOT_FRAME : PHX_NOT_JSON;
	}
	result = fill(data, raw, out);
	if (result == PHX_OK) {
		out->payload = payload;
		out->deep = error == JSCAN_TOO_DEEP;
	}
	return result;
}

/* Puts together, from what is whole at both ends of a payload, an object at p. A comma or the gap
 * stood behind the first members and a brace behind the last, so that there is room. */
static struct slice whole_members(char *p, const char *gap, const char *end)
{
	struct slice first = jscan_cut_head((struct slice){ p, (size_t)(gap - p) }), last = { 0 };
	struct slice object;
	char *to = p;

	if (first.p == NULL || first.n + 2 > (size_t)(end - p)) /* nothing behind: no room */
		return (struct slice){ 0 };
	while (end > gap && end[-1] != ']')
		end--;
	if (end > gap)
		last = jscan_cut_tail((struct slice){ gap + 1, (size_t)(end - 1 - (gap + 1)) });
	*to++ = '{';
	to = (char *)memmove(to, first.p, first.n) + first.n;
	if (first.n > 0 && last.n > 0)
		*to++ = ',';
	if (last.n > 0)
		to = (char *)memmove(to, last.p, last.n) + last.n;
	*to++ = '}';
	if (jscan_document((struct slice){ p, (size_t)(to - p) }, &object) != JSCAN_OK)
		return (struct slice){ 0 };
	return object;
}

enum phx_error phx_parse_truncated(char *data, size_t n, struct phx_frame *out)
{
	const char *p = data, *end = data + n, *gap = memchr(data, '\0', n);
	struct slice raw[HEAD];
	enum phx_error result = PHX_NOT_FRAME;

	if (gap == NULL)
		gap = end;
	if (head(&p, gap, raw))
		result = fill(data, raw, out);
	if (result == PHX_OK) {
		out->cut = true;
		out->payload = whole_members(data + (p - data), gap, end);
	}
	return result;
}

static void add_raw(struct buf *b, struct slice raw)
{
	if (raw.p != NULL)
		buf_add(b, raw.p, raw.n);
	else
		buf_adds(b, "null");
}

/* A ref as raw JSON, at *to, which moves behind it. An empty one is what null becomes in the binary
 * form. */
static struct slice add_ref(char **to, struct slice ref)
{
	struct buf b = { 0 };
	struct slice raw;

	if (ref.n == 0)
		return slice_of("null");
	buf_add_json(&b, ref);
	raw = (struct slice){ memcpy(*to, b.p, b.n), b.n };
	*to += b.n;
	buf_free(&b);
	return raw;
}

enum phx_error phx_parse_binary(const char *data, size_t n,
	char scratch[2 * (6 * PHX_MAX_FIELD + 2)], struct phx_frame *out)
{
	struct slice field[HEAD];
	size_t at = 1 + HEAD;

	if (n < at || data[0] != PUSH)
		return PHX_NOT_FRAME;
	for (size_t i = 0; i < HEAD; i++) {
		size_t size = (unsigned char)data[1 + i];

		if (size > n - at || memchr(data + at, '\0', size) != NULL)
			return PHX_NOT_FRAME;
		if (!utf8_valid(data + at, size))
			return PHX_NOT_JSON;
		field[i] = (struct slice){ data + at, size };
		at += size;
	}
	*out = (struct phx_frame){
		.join_ref = add_ref(&scratch, field[JOIN_REF]),
		.ref = add_ref(&scratch, field[REF]),
		.topic = field[TOPIC],
		.event = field[EVENT],
		.payload = { data + at, n - at },
		.binary = true,
	};
	return PHX_OK;
}

/* Everything before the payload. */
static void begin(struct buf *b, struct slice join_ref, struct slice ref, struct slice topic,
	const char *event)
{
	buf_addc(b, '[');
	add_raw(b, join_ref);
	buf_addc(b, ',');
	add_raw(b, ref);
	buf_addc(b, ',');
	buf_add_json(b, topic);
	buf_addc(b, ',');
	buf_add_json(b, slice_of(event));
	buf_addc(b, ',');
}

void phx_reply(struct buf *b, struct slice join_ref, struct slice ref, struct slice topic, bool ok,
	struct slice response)
{
	begin(b, join_ref, ref, topic, "phx_reply");
	buf_adds(
		b, ok ? "{\"status\":\"ok\",\"response\":" : "{\"status\":\"error\",\"response\":");
	add_raw(b, response);
	buf_adds(b, "}]");
}

void phx_push(struct buf *b, struct slice join_ref, struct slice ref, struct slice topic,
	const char *event, struct slice payload)
{
	begin(b, join_ref, ref, topic, event);
	add_raw(b, payload);
	buf_addc(b, ']');
}

bool phx_binary_head(struct buf *b, struct slice join_ref, struct slice ref, struct slice topic)
{
	const struct slice status = slice_of("ok");
	struct buf join_text = { 0 }, ref_text = { 0 };
	bool fits = decode_ref(join_ref, &join_text) && decode_ref(ref, &ref_text) &&
		    topic.n <= PHX_MAX_FIELD;

	if (fits) {
		const uint8_t sizes[] = { REPLY, (uint8_t)join_text.n, (uint8_t)ref_text.n,
			(uint8_t)topic.n, (uint8_t)status.n };

		buf_add(b, sizes, sizeof(sizes));
		buf_add(b, join_text.p, join_text.n);
		buf_add(b, ref_text.p, ref_text.n);
		buf_add(b, topic.p, topic.n);
		buf_add(b, status.p, status.n);
	}
	buf_free(&join_text);
	buf_free(&ref_text);
	return fits;
}

/*
 * payload: one walk over a large message's payload, so that there need be no other. Invariant: what
 * is left is small, whatever was sent.
 */
#include "core/payload.h"

#include "lib/crypto.h"

enum {
	LARGE = 64 * 1024, /* bytes of a member */
	SMALL = 4 * LARGE, /* of all members that are left */
};

/* What may be large; of the first CONTENTS the journal has digests. */
enum { CONTENTS = 3 };
static const char *const names[PAYLOAD_NAMES] = { "output_dataclip", "final_state",
	"webhook_response", "logs", "message" };

static int find(struct slice key)
{
	for (int i = 0; i < PAYLOAD_NAMES; i++)
		if (jscan_equals(key, names[i]))
			return i;
	return -1;
}

bool payload_is_content(struct slice key)
{
	int i = find(key);

	return i >= 0 && i < CONTENTS;
}

void payload_describe(struct slice content, struct buf *out)
{
	char digest[65];

	crypto_sha256_hex(content.p, content.n, digest);
	buf_addf(out, "{\"length\":%zu,\"sha256\":\"%s\"}", content.n, digest);
}

/* Begins the next member. */
static void add_key(struct buf *out, struct slice key)
{
	if (out->n > 1)
		buf_addc(out, ',');
	buf_add(out, key.p, key.n);
	buf_addc(out, ':');
}

/* A string's beginning. What has no text is left out. */
static void add_cut(struct buf *out, struct slice key, struct slice string)
{
	struct buf text = { 0 };

	if (slice_decode_some(string, LARGE, &text)) {
		while (text.n > 0 && !utf8_valid(text.p, text.n))
			text.n--;
		add_key(out, key);
		buf_add_json(out, (struct slice){ text.p, text.n });
	}
	buf_free(&text);
}

static void add_member(struct payload *out, struct slice key, struct slice value)
{
	int i = find(key);

	if (i >= 0) {
		out->taken[i] = value;
		add_key(&out->text, key);
		if (i < CONTENTS)
			payload_describe(value, &out->text);
		else
			buf_addf(&out->text, "{\"length\":%zu}", value.n);
	} else if (value.n <= LARGE) {
		add_key(&out->text, key);
		buf_add(&out->text, value.p, value.n);
	} else if (jscan_type(value) == JSCAN_STRING) {
		add_cut(&out->text, key, value);
	}
}

bool payload_split(struct slice raw, struct payload *out)
{
	struct slice key, value;

	buf_addc(&out->text, '{');
	while (out->text.n <= SMALL && jscan_next(&raw, &key, &value))
		if (key.n <= LARGE)
			add_member(out, key, value);
	buf_addc(&out->text, '}');
	out->small = (struct slice){ out->text.p, out->text.n };
	return out->text.n <= SMALL;
}

struct slice payload_taken(const struct payload *payload, const char *name)
{
	for (int i = 0; i < PAYLOAD_NAMES; i++)
		if (strcmp(names[i], name) == 0)
			return payload->taken[i];
	return (struct slice){ 0 };
}

void payload_free(struct payload *payload)
{
	buf_free(&payload->text);
	*payload = (struct payload){ 0 };
}

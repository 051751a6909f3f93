/*
 * Frames: nothing that a peer sends may be read beyond its end, and whatever is accepted can be
 * answered by frames that are accepted in their turn and say the same.
 */
#include "ws/phx.h"

#include "fuzz.h"
#include "lib/jscan.h"

static void answer(const struct phx_frame *f)
{
	struct buf b = { 0 };
	struct phx_frame back;

	require(f->topic.n <= PHX_MAX_FIELD && utf8_valid(f->topic.p, f->topic.n), "topic");
	require(f->event.n <= PHX_MAX_FIELD && utf8_valid(f->event.p, f->event.n), "event");
	require(phx_binary_head(&b, f->join_ref, f->ref, f->topic), "no binary reply");
	b.n = 0;
	phx_reply(&b, f->join_ref, f->ref, f->topic, true,
		f->binary ? (struct slice){ 0 } : f->payload);
	require(phx_parse_text(b.p, b.n, &back) == PHX_OK, "the reply is no frame");
	require(slice_eq(back.join_ref, f->join_ref) && slice_eq(back.ref, f->ref) &&
			slice_eq(back.topic, f->topic) && slice_is(back.event, "phx_reply"),
		"the reply says something else");
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char scratch[2 * (6 * PHX_MAX_FIELD + 2)];
	struct phx_frame f;
	/* Rewritten in place, hence a copy for each, of exactly its size. */
	char *text = xmemdup(data, n), *head = xmemdup(data, n);

	if (phx_parse_text(text, n, &f) == PHX_OK) {
		answer(&f);
		require(phx_parse_truncated(head, n, &f) == PHX_OK,
			"a frame, but its head is none");
	} else if (phx_parse_truncated(head, n, &f) == PHX_OK) {
		answer(&f);
	}
	if (phx_parse_binary((const char *)data, n, scratch, &f) == PHX_OK)
		answer(&f);
	free(text);
	free(head);
	return 0;
}

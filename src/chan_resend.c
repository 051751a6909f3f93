/*
 * What a lost connection left without an answer. A Phoenix client matches a reply by topic, ref and
 * the channel's current join_ref; its refs count on over reconnects, and it ignores a reply to a
 * ref that it does not wait for. So whoever joins again can be answered what was asked before.
 * Invariant: no ref is answered with anything but its own reply, or with what every request that
 * can be open on that topic would be answered.
 */
#include "chan_private.h"

#include <stdlib.h>

enum {
	BELOW = 64,                /* refs before a join's that are answered */
	BELOW_BYTES = 1024 * 1024, /* and the bytes for which no further one is */
};

static void count(const char *what)
{
	stats_add(stats_seriesf(STATS_LATE_REPLIES, "what=\"%s\"", what), 1);
}

/* The number in a ref, raw JSON: "12"; 0 if it is none. */
static int64_t number_of(struct slice ref)
{
	int64_t n;

	if (slice_type(ref) != SLICE_STRING || ref.n < 3 ||
		!slice_int((struct slice){ ref.p + 1, ref.n - 2 }, &n))
		return 0;
	return n;
}

void chan_note_ref(struct chan_conn *conn, struct slice ref)
{
	if (conn->first_ref == 0)
		conn->first_ref = number_of(ref);
}

void req_answer_below(const struct req *join, struct slice response, const char *what)
{
	int64_t ref = join->conn->first_ref;
	size_t bytes = 0;

	if (number_of(join->frame.ref) < ref)
		return;

	for (int i = 0; i < BELOW && --ref > 0 && bytes < BELOW_BYTES; i++) {
		char text[24];
		struct buf b = { 0 };

		snprintf(text, sizeof(text), "\"%lld\"", (long long)ref);
		ws_begin(&b);
		phx_reply(&b, join->frame.join_ref, slice_of(text), join->frame.topic, true,
			response);
		bytes += b.n;
		ws_send(join->conn->peer, &b, false);
		count(what);
	}
}

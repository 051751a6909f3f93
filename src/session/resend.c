/*
 * What a lost connection left without an answer. A Phoenix client matches a reply by topic, ref and
 * the channel's current join_ref; its refs count on over reconnects, and it ignores a reply to a
 * ref that it does not wait for. So a worker that joins again can be answered what it asked before.
 * Invariant: no ref is answered with anything but its own reply, or with what every request that
 * can be open on that topic would be answered.
 *
 * The replies to one claim's worker are kept until it shows that it has them: by its next request,
 * since it asks for one thing after another (what it fetches apart). When its channel goes they
 * stay for a minute, and those that are decided meanwhile are added.
 */
#include "resend_private.h"

#include "channel_private.h"
#include "request_private.h"
#include "session_private.h"

#include "lib/metrics.h"

#include <stdlib.h>

enum {
	KEPT_MS = 60 * 1000,     /* after the channel is gone */
	KEPT = 16,               /* replies of one claim */
	KEPT_BYTES = 256 * 1024, /* of one reply; a larger one is not kept */
	BUCKETS = 4096,
	BELOW = 64,                /* refs before a join's that are answered */
	BELOW_BYTES = 1024 * 1024, /* and the bytes for which no further one is */
};

static void count(const char *what)
{
	metrics_add(metrics_seriesf(METRIC_LATE_REPLIES, "kind=\"%s\"", what), 1);
}

int64_t resend_ref_number(struct slice ref)
{
	int64_t n;

	if (jscan_type(ref) != JSCAN_STRING || ref.n < 3 ||
		!jscan_int((struct slice){ ref.p + 1, ref.n - 2 }, &n))
		return 0;
	return n;
}

void resend_answer_below(const struct request *join, struct slice response, const char *what)
{
	const struct phx_frame *frame = request_frame(join);
	struct session *session = request_session(join);
	int64_t ref = session_first_ref(session);
	size_t bytes = 0;

	if (resend_ref_number(frame->ref) < ref)
		return;

	for (int i = 0; i < BELOW && --ref > 0 && bytes < BELOW_BYTES; i++) {
		char text[24];
		struct buf b = { 0 };

		snprintf(text, sizeof(text), "\"%lld\"", (long long)ref);
		ws_reserve_header(&b);
		phx_reply(&b, frame->join_ref, slice_of(text), frame->topic, true, response);
		bytes += b.n;
		session_send(session, &b, false);
		count(what);
	}
}

/* ---- the replies of a run's channel ---- */

/* A reply that may not have arrived: its ref, raw JSON, and the response behind it. */
struct kept {
	TAILQ_ENTRY(kept) entry;
	bool ok, binary, fetched;
	size_t ref, size;
	char bytes[];
};

/* What one claim's worker may not have. */
struct undelivered {
	TAILQ_ENTRY(undelivered) entry;  /* of its bucket */
	TAILQ_ENTRY(undelivered) parted; /* of those without a channel, the oldest first */
	struct resend *resend;
	struct uuid run_id, claim;
	const struct channel *channel; /* that is joined; NULL: it is gone */
	int64_t since;                 /* mono_ms(), when it went */
	int open;                      /* requests whose replies are kept here */
	bool left;                     /* for good: nothing is kept any more */
	bool has_asked;                /* something after the first question */
	int64_t join_ref;              /* with which the channel was last joined */
	TAILQ_HEAD(, kept) replies;
	int n;
};

TAILQ_HEAD(undelivered_list, undelivered);

struct resend {
	struct memory *memory;
	struct undelivered_list buckets[BUCKETS];
	struct undelivered_list parted;
};

struct resend *resend_new(struct memory *memory)
{
	struct resend *resend = xcalloc(1, sizeof(*resend));

	resend->memory = memory;
	TAILQ_INIT(&resend->parted);
	for (int i = 0; i < BUCKETS; i++)
		TAILQ_INIT(&resend->buckets[i]);
	return resend;
}

/* The last bytes of an id are its random ones. */
static struct undelivered_list *bucket_of(struct resend *resend, const struct uuid *run)
{
	unsigned n = (unsigned)run->b[14] << 8 | (unsigned char)run->b[15];

	return &resend->buckets[n % BUCKETS];
}

static void account(const struct undelivered *u, ptrdiff_t bytes)
{
	memory_hold(u->resend->memory, MEMORY_REPLIES, bytes);
}

static void drop(struct undelivered *u, struct kept *k)
{
	size_t size = sizeof(*k) + k->ref + k->size;

	TAILQ_REMOVE(&u->replies, k, entry);
	u->n--;
	account(u, -(ptrdiff_t)size);
	explicit_bzero(k->bytes, k->ref + k->size); /* it may be a credential */
	free(k);
}

static void drop_all(struct undelivered *u)
{
	while (!TAILQ_EMPTY(&u->replies))
		/* TAILQ_REMOVE has put another one first. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		drop(u, TAILQ_FIRST(&u->replies));
}

/* Frees what nothing is in and nothing will be added to. */
static void tidy(struct undelivered *u)
{
	bool remembered = u->has_asked && !u->left && mono_ms() - u->since <= KEPT_MS;

	if (u->channel != NULL || u->open > 0 || u->n > 0 || remembered)
		return;
	TAILQ_REMOVE(bucket_of(u->resend, &u->run_id), u, entry);
	TAILQ_REMOVE(&u->resend->parted, u, parted);
	account(u, -(ptrdiff_t)sizeof(*u));
	free(u);
}

static struct resend *resend_of(const struct channel *channel)
{
	return sessions_config(session_sessions(channel_session(channel)))->resend;
}

/* Of the claim that the channel speaks for; NULL: there is nothing. */
static struct undelivered *find(const struct channel *channel)
{
	const struct run_claim *claim = channel_claim(channel);
	struct undelivered *u;

	if (claim == NULL)
		return NULL;
	TAILQ_FOREACH (u, bucket_of(resend_of(channel), &claim->run_id), entry)
		if (uuid_eq(&u->claim, &claim->claim) && uuid_eq(&u->run_id, &claim->run_id) &&
			!u->left)
			return u;
	return NULL;
}

/* The same, if no other socket has joined for this claim since. */
static struct undelivered *find_current(const struct channel *channel)
{
	struct undelivered *u = find(channel);

	return u != NULL && u->channel == channel ? u : NULL;
}

static struct undelivered *create(const struct channel *channel)
{
	const struct run_claim *claim = channel_claim(channel);
	struct undelivered *u = xcalloc(1, sizeof(*u));

	u->resend = resend_of(channel);
	u->run_id = claim->run_id;
	u->claim = claim->claim;
	TAILQ_INIT(&u->replies);
	TAILQ_INSERT_TAIL(bucket_of(u->resend, &u->run_id), u, entry);
	account(u, (ptrdiff_t)sizeof(*u));
	return u;
}

/* Only what was asked on an earlier connection: this one may have a request of its own by any other
 * ref. */
static void send_again(const struct channel *channel, const struct kept *k)
{
	struct slice join_ref = slice_of(channel_join_ref(channel));
	struct slice topic = slice_of(channel_topic(channel));
	struct slice ref = { k->bytes, k->ref }, body = { k->bytes + k->ref, k->size };
	struct session *session = channel_session(channel);
	int64_t n = resend_ref_number(ref);
	struct buf b = { 0 };

	if (n == 0 || n >= session_first_ref(session))
		return;
	ws_reserve_header(&b);
	if (!k->binary) {
		phx_reply(&b, join_ref, ref, topic, k->ok, body);
	} else if (phx_binary_head(&b, join_ref, ref, topic)) {
		buf_add(&b, body.p, body.n);
	} else {
		buf_free(&b);
		return;
	}
	session_send(session, &b, k->binary);
	count("reply");
}

/* Another socket of the same claim may still be there: it is one of which we do not know yet that
 * it is gone. */
void resend_join(struct channel *channel)
{
	struct undelivered *u = find(channel);
	const struct kept *k;

	if (u == NULL)
		u = create(channel);
	else if (u->channel == NULL)
		TAILQ_REMOVE(&u->resend->parted, u, parted);
	u->channel = channel;
	u->join_ref = resend_ref_number(slice_of(channel_join_ref(channel)));
	TAILQ_FOREACH (k, &u->replies, entry)
		send_again(channel, k);
}

void resend_part(const struct channel *channel, bool left)
{
	struct undelivered *u = find_current(channel);

	if (u == NULL)
		return;
	u->channel = NULL;
	u->since = mono_ms();
	TAILQ_INSERT_TAIL(&u->resend->parted, u, parted);
	u->left = left;
	if (left)
		drop_all(u);
	tidy(u);
}

bool resend_has_asked(const struct channel *channel)
{
	const struct undelivered *u = find(channel);

	return u != NULL &&
	       (u->has_asked || u->join_ref >= session_first_ref(channel_session(channel)));
}

struct undelivered *resend_asked(const struct channel *channel, const struct route *route)
{
	struct undelivered *u = find_current(channel);
	struct kept *k, *next;

	if (u == NULL)
		return NULL;
	u->has_asked = u->has_asked || !route->is_first;
	for (k = TAILQ_FIRST(&u->replies); k != NULL; k = next) {
		next = TAILQ_NEXT(k, entry);
		if (!k->fetched || !route->fetches)
			drop(u, k);
	}
	u->open++;
	return u;
}

void undelivered_keep(struct undelivered *u, const struct request *request, bool ok, bool binary,
	struct slice response)
{
	struct slice ref = request_frame(request)->ref;
	size_t size = sizeof(struct kept) + ref.n + response.n;
	struct kept *k;

	if (u == NULL || u->left || size > KEPT_BYTES ||
		!memory_has_room(u->resend->memory, MEMORY_REPLIES, size))
		return;
	k = xmalloc(size);
	*k = (struct kept){ .ok = ok,
		.binary = binary,
		.fetched = request_route(request)->fetches,
		.ref = ref.n,
		.size = response.n };
	if (ref.n > 0)
		memcpy(k->bytes, ref.p, ref.n);
	if (response.n > 0)
		memcpy(k->bytes + ref.n, response.p, response.n);
	TAILQ_INSERT_TAIL(&u->replies, k, entry);
	u->n++;
	account(u, (ptrdiff_t)size);
	if (u->n > KEPT)
		drop(u, TAILQ_FIRST(&u->replies));
	if (u->channel != NULL && u->channel != request_channel(request)) /* joined again since */
		send_again(u->channel, k);
}

void undelivered_release(struct undelivered *u)
{
	if (u == NULL)
		return;
	u->open--;
	tidy(u);
}

void resend_expire(void *arg)
{
	struct resend *resend = arg;
	struct undelivered *u, *next;

	for (u = TAILQ_FIRST(&resend->parted); u != NULL && mono_ms() - u->since > KEPT_MS;
		u = next) {
		next = TAILQ_NEXT(u, parted);
		drop_all(u);
		tidy(u);
	}
}

void resend_free(struct resend *resend)
{
	struct undelivered *u, *next;

	for (u = TAILQ_FIRST(&resend->parted); u != NULL; u = next) {
		next = TAILQ_NEXT(u, parted);
		u->left = true;
		drop_all(u);
		tidy(u);
	}
	free(resend);
}

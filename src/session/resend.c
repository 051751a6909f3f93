/*
 * What a lost connection left without an answer. A Phoenix client matches a reply by topic, ref and
 * the channel's current join_ref; its refs count on over reconnects, and it ignores a reply to a
 * ref that it does not wait for. So whoever joins again can be answered what was asked before.
 * Invariant: no ref is answered with anything but its own reply, or with what every request that
 * can be open on that topic would be answered.
 *
 * The replies to one claim's worker are kept until it shows that it has them: by its next request,
 * since it asks for one thing after another (what it fetches apart). When its channel goes they
 * stay for a minute, and those that are decided meanwhile come to them.
 */
#include "channel_private.h"

#include <stdlib.h>

enum {
	KEPT_MS = 60 * 1000,     /* after the channel is gone */
	KEPT = 16,               /* replies of one claim */
	KEPT_BYTES = 256 * 1024, /* of one reply; a larger one is not kept */
	KEPT_SHARE = 8,          /* what part of [limits] memory all of them may have */
	BUCKETS = 4096,
	BELOW = 64,                /* refs before a join's that are answered */
	BELOW_BYTES = 1024 * 1024, /* and the bytes for which no further one is */
};

static void count(const char *what)
{
	metrics_add(metrics_seriesf(METRIC_LATE_REPLIES, "kind=\"%s\"", what), 1);
}

/* The number in a ref, raw JSON: "12"; 0 if it is none. */
static int64_t number_of(struct slice ref)
{
	int64_t n;

	if (jscan_type(ref) != JSCAN_STRING || ref.n < 3 ||
		!jscan_int((struct slice){ ref.p + 1, ref.n - 2 }, &n))
		return 0;
	return n;
}

void channel_note_ref(struct session *session, struct slice ref)
{
	if (session->first_ref == 0)
		session->first_ref = number_of(ref);
}

void request_answer_below(const struct request *join, struct slice response, const char *what)
{
	int64_t ref = join->session->first_ref;
	size_t bytes = 0;

	if (number_of(join->frame.ref) < ref)
		return;

	for (int i = 0; i < BELOW && --ref > 0 && bytes < BELOW_BYTES; i++) {
		char text[24];
		struct buf b = { 0 };

		snprintf(text, sizeof(text), "\"%lld\"", (long long)ref);
		ws_reserve_header(&b);
		phx_reply(&b, join->frame.join_ref, slice_of(text), join->frame.topic, true,
			response);
		bytes += b.n;
		ws_send(join->session->peer, &b, false);
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
	struct server *server;
	struct uuid run_id, claim;
	struct channel *channel; /* that is joined; NULL: it is gone */
	int64_t since;           /* mono_ms() */
	int open;         /* requests of a channel that is gone, which will be answered here */
	bool left;        /* for good: nothing is kept any more */
	bool past_plan;   /* something else was asked */
	int64_t join_ref; /* with which the channel was last joined */
	TAILQ_HEAD(, kept) replies;
	int n;
};

TAILQ_HEAD(undelivered_list, undelivered);
static struct undelivered_list buckets[BUCKETS], parted = TAILQ_HEAD_INITIALIZER(parted);

void channel_resend_init(void)
{
	for (int i = 0; i < BUCKETS; i++)
		TAILQ_INIT(&buckets[i]);
}

/* The last bytes of an id are its random ones. */
static struct undelivered_list *bucket_of(const struct uuid *run)
{
	unsigned n = (unsigned)run->b[14] << 8 | (unsigned char)run->b[15];

	return &buckets[n % BUCKETS];
}

static void account(const struct undelivered *u, ptrdiff_t bytes)
{
	u->server->kept += (size_t)bytes;
	memory_account(u->server, 0);
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

/* Frees what nothing is in and nothing will come to. */
static void tidy(struct undelivered *u)
{
	bool remembered = u->past_plan && !u->left && mono_ms() - u->since <= KEPT_MS;

	if (u->channel != NULL || u->open > 0 || u->n > 0 || remembered)
		return;
	TAILQ_REMOVE(bucket_of(&u->run_id), u, entry);
	TAILQ_REMOVE(&parted, u, parted);
	account(u, -(ptrdiff_t)sizeof(*u));
	free(u);
}

static struct undelivered *find(const struct channel *channel)
{
	const struct run_claim *claim = channel_claim(channel);
	struct undelivered *u;

	TAILQ_FOREACH (u, bucket_of(&claim->run_id), entry)
		if (uuid_eq(&u->claim, &claim->claim) && uuid_eq(&u->run_id, &claim->run_id) &&
			!u->left)
			return u;
	return NULL;
}

static struct undelivered *create(const struct channel *channel)
{
	struct undelivered *u = xcalloc(1, sizeof(*u));

	u->server = channel->session->server;
	u->run_id = channel_claim(channel)->run_id;
	u->claim = channel_claim(channel)->claim;
	TAILQ_INIT(&u->replies);
	TAILQ_INSERT_TAIL(bucket_of(&u->run_id), u, entry);
	TAILQ_INSERT_TAIL(&parted, u, parted);
	account(u, (ptrdiff_t)sizeof(*u));
	return u;
}

/* Only what was asked on an earlier connection: this one may have a request of its own by any other
 * ref. */
static void resend(const struct channel *channel, const struct kept *k)
{
	struct slice join_ref = slice_of(channel->join_ref), topic = slice_of(channel->topic);
	struct slice ref = { k->bytes, k->ref }, body = { k->bytes + k->ref, k->size };
	int64_t n = number_of(ref);
	struct buf b = { 0 };

	if (channel->session->peer == NULL || n == 0 || n >= channel->session->first_ref)
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
	ws_send(channel->session->peer, &b, k->binary);
	count("reply");
}

/* Without its channel from now on; the requests that are open at it are answered here. */
static void part(struct undelivered *u)
{
	struct request *request;

	TAILQ_FOREACH (request, &u->channel->requests, entry) {
		if (request->undelivered == NULL) {
			request->undelivered = u;
			u->open++;
		}
	}
	u->channel->undelivered = NULL;
	u->channel = NULL;
	u->since = mono_ms();
	TAILQ_INSERT_TAIL(&parted, u, parted);
}

void undelivered_join(struct channel *channel)
{
	struct undelivered *u = find(channel);
	const struct kept *k;

	if (u == NULL)
		u = create(channel);
	if (u->channel != NULL) /* a socket of which we do not know yet that it is gone */
		part(u);
	TAILQ_REMOVE(&parted, u, parted);
	u->channel = channel;
	channel->undelivered = u;
	u->join_ref = number_of(slice_of(channel->join_ref));
	TAILQ_FOREACH (k, &u->replies, entry)
		resend(channel, k);
}

void undelivered_part(struct channel *channel, bool left)
{
	struct undelivered *u = channel->undelivered;

	if (u == NULL)
		return;
	part(u);
	u->left = left;
	if (left)
		drop_all(u);
	tidy(u);
}

bool channel_is_past_plan(const struct channel *channel)
{
	const struct undelivered *u = find(channel);

	return u != NULL && (u->past_plan || u->join_ref >= channel->session->first_ref);
}

static bool is_fetch(const struct request *request)
{
	return request->frame.event.n > 6 && memcmp(request->frame.event.p, "fetch:", 6) == 0;
}

void undelivered_asked(const struct request *request)
{
	struct undelivered *u = request->channel->undelivered;
	struct kept *k, *next;

	if (u == NULL)
		return;
	u->past_plan = u->past_plan || !slice_is(request->frame.event, "fetch:plan");
	for (k = TAILQ_FIRST(&u->replies); k != NULL; k = next) {
		next = TAILQ_NEXT(k, entry);
		if (!k->fetched || !is_fetch(request))
			drop(u, k);
	}
}

static bool fits(const struct undelivered *u, size_t size)
{
	size_t most = (size_t)u->server->conf->memory / KEPT_SHARE;

	return size <= KEPT_BYTES && u->server->kept + size <= most;
}

void undelivered_keep(const struct request *request, bool ok, bool binary, struct slice response)
{
	struct undelivered *u = request->undelivered;
	struct slice ref = request->frame.ref;
	size_t size = sizeof(struct kept) + ref.n + response.n;
	struct kept *k;

	if (u == NULL && request->channel != NULL)
		u = request->channel->undelivered;
	if (u == NULL || u->left || !fits(u, size))
		return;
	k = xmalloc(size);
	*k = (struct kept){ .ok = ok,
		.binary = binary,
		.fetched = is_fetch(request),
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
	if (u->channel != NULL && u->channel != request->channel) /* joined again meanwhile */
		resend(u->channel, k);
}

void undelivered_done(struct request *request)
{
	struct undelivered *u = request->undelivered;

	if (u == NULL)
		return;
	u->open--;
	tidy(u);
}

void channel_resend_expire(void)
{
	struct undelivered *u, *next;

	for (u = TAILQ_FIRST(&parted); u != NULL && mono_ms() - u->since > KEPT_MS; u = next) {
		next = TAILQ_NEXT(u, parted);
		drop_all(u);
		tidy(u);
	}
}

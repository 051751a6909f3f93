/*
 * plan_cache: found by the digest of what it is made of, and gone with the last who holds it.
 * Invariants: what is found is what would have been made. So one of whose credentials some do not
 * open stays its first holder's alone: with other keys the next one may be whole. And it never
 * changes: others may be reading it, in threads of their own; whoever needs more secrets in it
 * takes another one. Large credentials are opened and made into a set by libuv's pool of threads:
 * until it is done, the entry's scrubber and its warnings are that thread's alone.
 */
#include "core/plan_cache.h"

#include "lib/crypto.h"
#include "lib/jscan.h"
#include "lib/metrics.h"

#include <stdlib.h>

enum { DIGEST = 65, BUCKETS = 1024 };

/* Bytes of sealed credentials, in digits, with which the loop may be kept waiting. */
enum { SMALL = 32 * 1024 };

struct entry {
	struct cached_plan cached;
	char digest[DIGEST];
	size_t size;
	int references;
	bool listed, ready;
	LIST_ENTRY(entry) link;
	/* While it is being made. */
	TAILQ_HEAD(, plan_cache_wait) waits;
	struct keyring *keys;
	struct buf credentials, warnings;
	bool whole;
	uv_work_t work;
};

/* Of the process: entries are found by the digest of their contents, so databases may share them.
 */
static int open_jobs;
static size_t bytes;

static LIST_HEAD(, entry) table[BUCKETS];

size_t plan_cache_bytes(void)
{
	return bytes;
}

static void account(struct entry *e, size_t size)
{
	bytes = bytes - e->size + size;
	metrics_set(metrics_series(METRIC_PLAN_CACHE_BYTES, NULL), (double)bytes);
	e->size = size;
}

static unsigned bucket_of(const char digest[DIGEST])
{
	char head[5];

	memcpy(head, digest, 4);
	head[4] = '\0';
	return (unsigned)strtoul(head, NULL, 16) % BUCKETS;
}

static void take_digest(struct slice a, struct slice b, char digest[DIGEST])
{
	struct buf both = { 0 };

	buf_add(&both, a.p, a.n);
	buf_addc(&both, '\0'); /* is in neither */
	buf_add(&both, b.p, b.n);
	crypto_sha256_hex(both.p, both.n, digest);
	buf_free(&both);
}

bool plan_cache_open_credential(const struct keyring *keys, struct slice id, struct slice hex,
	struct buf *body, struct buf *why)
{
	struct buf sealed = { 0 };
	bool opens;

	if (hex.p == NULL) {
		buf_addf(why,
			"%scredential %.*s is not handed out: it has more than %d bytes, or the "
			"credentials of its run more than %d together",
			why->n > 0 ? "; " : "", (int)id.n, id.p, CREDENTIAL_MAX, SCRUB_MAX);
		return false;
	}
	buf_add_hex(&sealed, hex);
	opens = keyring_open(keys, id, (struct slice){ sealed.p, sealed.n }, body) != KEYRING_NONE;
	if (!opens)
		buf_addf(why, "%scredential %.*s opens with no credential key",
			why->n > 0 ? "; " : "", (int)id.n, id.p);
	buf_free(&sealed);
	return opens;
}

/* False if the credential does not open, or the set does not take it: then neither is it handed
 * out. */
static bool add_secret(struct entry *e, struct slice id, struct slice hex)
{
	struct buf body = { 0 };
	bool added = false;

	if (plan_cache_open_credential(e->keys, id, hex, &body, &e->warnings)) {
		added = scrubber_add(e->cached.scrub, (struct slice){ body.p, body.n });
		if (!added)
			buf_addf(&e->warnings,
				"%scredential %.*s is not handed out: it is not valid JSON, or the "
				"credentials of its run have more than %d bytes together",
				e->warnings.n > 0 ? "; " : "", (int)id.n, id.p, SCRUB_MAX);
		explicit_bzero(body.p, body.cap);
	}
	buf_free(&body);
	return added;
}

/* The digits of a string, without its quotes. */
static struct slice inside(struct slice string)
{
	return jscan_type(string) == JSCAN_STRING ? (struct slice){ string.p + 1, string.n - 2 }
						  : (struct slice){ 0 };
}

/* In any thread. Neither an id nor hexadecimal digits have anything that JSON escapes. */
static void make(struct entry *e)
{
	struct slice cursor = { e->credentials.p, e->credentials.n }, id, sealed;

	e->whole = true;
	e->cached.scrub = scrubber_new(NULL);
	while (jscan_next(&cursor, &id, &sealed))
		e->whole = add_secret(e, inside(id), inside(sealed)) && e->whole;
	scrubber_build(e->cached.scrub);
}

static void ready(struct entry *e)
{
	const struct scrubber *scrub = e->cached.scrub;

	if (e->warnings.n > 0)
		log_warnx("%s", e->warnings.p);
	if (scrub != NULL && scrubber_is_full(scrub))
		log_warnx("the secrets of a run are too many or too large: encoded forms of some "
			  "are not replaced");
	if (e->listed && !e->whole) {
		LIST_REMOVE(e, link);
		e->listed = false;
	}
	keyring_free(e->keys);
	e->keys = NULL;
	buf_free(&e->credentials);
	buf_free(&e->warnings);
	account(e,
		sizeof(*e) + strlen(e->cached.plan) + (scrub != NULL ? scrubber_bytes(scrub) : 0));
	e->ready = true;
}

static void on_work(uv_work_t *work)
{
	make(container_of(work, struct entry, work));
}

/* Jobs are never cancelled, so there is one outcome. */
static void on_worked(uv_work_t *work, int status)
{
	struct entry *e = container_of(work, struct entry, work);
	struct plan_cache_wait *wait;

	(void)status;
	open_jobs--;
	ready(e);
	while ((wait = TAILQ_FIRST(&e->waits)) != NULL) {
		TAILQ_REMOVE(&e->waits, wait, entry);
		wait->ready(wait);
	}
	plan_cache_release(&e->cached);
}

int plan_cache_open_jobs(void)
{
	return open_jobs;
}

/* keys: those with which it would be made now; NULL if it does not depend on any. */
static struct entry *find(const char digest[DIGEST], const struct keyring *keys)
{
	struct entry *e;

	LIST_FOREACH (e, &table[bucket_of(digest)], link)
		if (strcmp(e->digest, digest) == 0 && (e->ready || e->keys == keys))
			break;
	return e;
}

static struct entry *add(const char digest[DIGEST], struct slice plan)
{
	struct entry *e = xcalloc(1, sizeof(*e));

	TAILQ_INIT(&e->waits);
	e->cached.plan = xstrndup(plan.p, plan.n);
	account(e, sizeof(*e) + plan.n);
	e->listed = e->whole = true;
	memcpy(e->digest, digest, DIGEST);
	LIST_INSERT_HEAD(&table[bucket_of(digest)], e, link);
	return e;
}

static void begin(uv_loop_t *loop, struct entry *e, struct keyring *keys, struct slice credentials)
{
	int err;

	if (credentials.p != NULL) {
		e->keys = keyring_ref(keys);
		buf_add(&e->credentials, credentials.p, credentials.n);
		account(e, e->size + credentials.n);
	}
	if (credentials.n > SMALL) {
		e->references++;
		open_jobs++;
		err = uv_queue_work(loop, &e->work, on_work, on_worked);
		if (err != 0)
			fatalx("uv_queue_work: %s", uv_strerror(err));
		return;
	}
	if (credentials.p != NULL)
		make(e);
	ready(e);
}

const struct cached_plan *plan_cache_get(
	uv_loop_t *loop, struct keyring *keys, struct slice plan, struct slice credentials)
{
	char digest[DIGEST];
	struct entry *e;

	take_digest(plan, credentials, digest);
	e = find(digest, keys);
	if (e == NULL) {
		e = add(digest, plan);
		begin(loop, e, keys, credentials);
	}
	e->references++;
	return &e->cached;
}

static struct entry *entry_of(const struct cached_plan *cached)
{
	return container_of((struct cached_plan *)cached, struct entry, cached);
}

bool plan_cache_await(const struct cached_plan *cached, struct plan_cache_wait *wait)
{
	struct entry *e = entry_of(cached);

	if (!e->ready)
		TAILQ_INSERT_TAIL(&e->waits, wait, entry);
	return e->ready;
}

const struct cached_plan *plan_cache_keep(const struct cached_plan *cached)
{
	entry_of(cached)->references++;
	return cached;
}

/* Of an entry that is not listed the digest does not identify the contents. */
bool plan_cache_extend(const struct cached_plan **held, struct slice body)
{
	struct entry *old = entry_of(*held), *e;
	char digest[DIGEST];
	struct scrubber *scrub;

	if ((*held)->scrub != NULL && scrubber_has((*held)->scrub, body))
		return true;
	take_digest(slice_of(old->digest), body, digest);
	e = old->listed ? find(digest, NULL) : NULL;
	if (e == NULL) {
		scrub = scrubber_new((*held)->scrub);
		if (!scrubber_add(scrub, body)) {
			scrubber_free(scrub);
			return false;
		}
		scrubber_build(scrub);
		e = add(digest, slice_of((*held)->plan));
		e->cached.scrub = scrub;
		e->whole = old->listed;
		ready(e);
	}
	e->references++;
	plan_cache_release(*held);
	*held = &e->cached;
	return true;
}

void plan_cache_release(const struct cached_plan *cached)
{
	struct entry *e;

	if (cached == NULL)
		return;
	e = entry_of(cached);
	if (--e->references > 0)
		return;
	if (e->listed)
		LIST_REMOVE(e, link);
	account(e, 0);
	scrubber_free(e->cached.scrub);
	free(e->cached.plan);
	free(e);
}

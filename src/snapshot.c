/*
 * snapshot: found by the digest of what it is made of, and gone with the last who holds it.
 * Invariants: what is found is what would have been made. So one of whose credentials some do not
 * open stays its first holder's alone: with other keys the next one may be whole. And it never
 * changes: others may be reading it, in threads of their own; whoever needs more secrets in it
 * takes another one.
 */
#include "snapshot.h"

#include "crypt.h"
#include "slice.h"
#include "stats.h"

#include <stdlib.h>
#include <sys/queue.h>

enum { DIGEST = 65, BUCKETS = 1024 };

struct entry {
	struct snapshot snapshot;
	char digest[DIGEST];
	size_t size;
	int holders;
	bool listed;
	LIST_ENTRY(entry) link;
};

static LIST_HEAD(, entry) table[BUCKETS];

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
	crypt_sha256_hex(both.p, both.n, digest);
	buf_free(&both);
}

bool snapshot_open(const struct keys *keys, struct slice id, struct slice hex, struct buf *body)
{
	struct buf sealed = { 0 };
	bool opens;

	if (hex.p == NULL) {
		log_warnx("credential %.*s is not handed out: it has more than %d bytes, or the "
			  "credentials of its run more than %d together",
			(int)id.n, id.p, CREDENTIAL_MAX, SCRUB_MAX);
		return false;
	}
	buf_add_hex(&sealed, hex);
	opens = keys_open(keys, id, (struct slice){ sealed.p, sealed.n }, body) != KEYS_CLOSED;
	if (!opens)
		log_warnx("credential %.*s opens with no credential key", (int)id.n, id.p);
	buf_free(&sealed);
	return opens;
}

/* False if the credential does not open, or the set does not take it: then neither is it handed
 * out. */
static bool add_secret(
	struct scrub *scrub, const struct keys *keys, struct slice id, struct slice hex)
{
	struct buf body = { 0 };
	bool added = false;

	if (snapshot_open(keys, id, hex, &body)) {
		added = scrub_add(scrub, (struct slice){ body.p, body.n });
		if (!added)
			log_warnx("credential %.*s is not handed out: it is not valid JSON, or the "
				  "credentials of its run have more than %d bytes together",
				(int)id.n, id.p, SCRUB_MAX);
		explicit_bzero(body.p, body.cap);
	}
	buf_free(&body);
	return added;
}

/* A set is ready for use, and may be incomplete. */
static void build(struct scrub *scrub)
{
	scrub_build(scrub);
	if (scrub_is_full(scrub))
		log_warnx("the secrets of a run are too many or too large: encoded forms of some "
			  "are not replaced");
}

/* The digits of a string, without its quotes. */
static struct slice inside(struct slice string)
{
	return slice_type(string) == SLICE_STRING ? (struct slice){ string.p + 1, string.n - 2 }
						  : (struct slice){ 0 };
}

/* Neither an id nor hexadecimal digits have anything that JSON escapes. */
static bool add_secrets(struct scrub *scrub, const struct keys *keys, struct slice credentials)
{
	struct slice cursor = credentials, id, sealed;
	bool whole = true;

	while (slice_next(&cursor, &id, &sealed))
		whole = add_secret(scrub, keys, inside(id), inside(sealed)) && whole;
	build(scrub);
	return whole;
}

static struct entry *find(const char digest[DIGEST])
{
	struct entry *e;

	LIST_FOREACH (e, &table[bucket_of(digest)], link)
		if (strcmp(e->digest, digest) == 0)
			break;
	return e;
}

/* Takes scrub. */
static struct entry *add(
	const char digest[DIGEST], struct slice plan, struct scrub *scrub, bool listed)
{
	struct entry *e = xcalloc(1, sizeof(*e));

	e->snapshot.plan = xstrndup(plan.p, plan.n);
	e->snapshot.scrub = scrub;
	e->listed = listed;
	e->size = sizeof(*e) + plan.n + (scrub != NULL ? scrub_size(scrub) : 0);
	stats_add(stats_series(STATS_SNAPSHOT_BYTES, NULL), (double)e->size);
	memcpy(e->digest, digest, DIGEST);
	if (listed)
		LIST_INSERT_HEAD(&table[bucket_of(digest)], e, link);
	return e;
}

const struct snapshot *snapshot_hold(
	const struct keys *keys, struct slice plan, struct slice credentials)
{
	char digest[DIGEST];
	struct entry *e;

	take_digest(plan, credentials, digest);
	e = find(digest);
	if (e == NULL) {
		struct scrub *scrub = credentials.p != NULL ? scrub_new(NULL) : NULL;
		bool whole = scrub == NULL || add_secrets(scrub, keys, credentials);

		e = add(digest, plan, scrub, whole);
	}
	e->holders++;
	return &e->snapshot;
}

static struct entry *entry_of(const struct snapshot *snapshot)
{
	return container_of((struct snapshot *)snapshot, struct entry, snapshot);
}

const struct snapshot *snapshot_keep(const struct snapshot *snapshot)
{
	entry_of(snapshot)->holders++;
	return snapshot;
}

/* Of an entry that is not listed the digest does not tell all. */
bool snapshot_extend(const struct snapshot **held, struct slice body)
{
	struct entry *old = entry_of(*held), *e;
	char digest[DIGEST];
	struct scrub *scrub;

	if ((*held)->scrub != NULL && scrub_has((*held)->scrub, body))
		return true;
	take_digest(slice_of(old->digest), body, digest);
	e = old->listed ? find(digest) : NULL;
	if (e == NULL) {
		scrub = scrub_new((*held)->scrub);
		if (!scrub_add(scrub, body)) {
			scrub_free(scrub);
			return false;
		}
		build(scrub);
		e = add(digest, slice_of((*held)->plan), scrub, old->listed);
	}
	e->holders++;
	snapshot_drop(*held);
	*held = &e->snapshot;
	return true;
}

void snapshot_drop(const struct snapshot *snapshot)
{
	struct entry *e;

	if (snapshot == NULL)
		return;
	e = entry_of(snapshot);
	if (--e->holders > 0)
		return;
	if (e->listed)
		LIST_REMOVE(e, link);
	stats_add(stats_series(STATS_SNAPSHOT_BYTES, NULL), -(double)e->size);
	scrub_free(e->snapshot.scrub);
	free(e->snapshot.plan);
	free(e);
}

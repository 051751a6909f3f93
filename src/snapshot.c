/*
 * snapshot: found by the digest of what it is made of, and gone with the last who holds it.
 * Invariant: what is found is what would have been made. So one of whose credentials some do not
 * open stays its first holder's alone: with other keys the next one may be whole.
 */
#include "snapshot.h"

#include "crypt.h"

#include <stdlib.h>
#include <sys/queue.h>

enum { DIGEST = 65, BUCKETS = 1024 };

struct entry {
	struct snapshot snapshot;
	char digest[DIGEST];
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

static void take_digest(struct slice plan, struct slice credentials, char digest[DIGEST])
{
	struct buf both = { 0 };

	buf_add(&both, plan.p, plan.n);
	buf_addc(&both, '\0'); /* is in neither */
	buf_add(&both, credentials.p, credentials.n);
	crypt_sha256_hex(both.p, both.n, digest);
	buf_free(&both);
}

/* False if the credential does not open. */
static bool add_secret(
	struct scrub *scrub, const struct keys *keys, const char *id, const json_t *sealed)
{
	struct buf bytes = { 0 }, plain = { 0 };
	bool opens;

	buf_add_hex(&bytes, json_string_value(sealed));
	opens = keys_open(keys, slice_of(id), (struct slice){ bytes.p, bytes.n }, &plain) !=
		KEYS_CLOSED;
	if (opens) {
		scrub_add(scrub, (struct slice){ plain.p, plain.n });
		explicit_bzero(plain.p, plain.n);
	} else {
		log_warnx("credential %s opens with no credential key", id);
	}
	buf_free(&bytes);
	buf_free(&plain);
	return opens;
}

static bool add_secrets(struct scrub *scrub, const struct keys *keys, struct slice credentials)
{
	json_t *all = json_loadb(credentials.p, credentials.n, 0, NULL), *sealed;
	const char *id;
	bool whole = true;

	json_object_foreach(all, id, sealed) whole = add_secret(scrub, keys, id, sealed) && whole;
	json_decref(all);
	return whole;
}

static struct entry *make(const struct keys *keys, struct slice plan, struct slice credentials)
{
	struct entry *e = xcalloc(1, sizeof(*e));

	e->snapshot.plan = xstrndup(plan.p, plan.n);
	e->listed = true;
	if (credentials.p != NULL) {
		e->snapshot.scrub = scrub_new();
		e->listed = add_secrets(e->snapshot.scrub, keys, credentials);
	}
	return e;
}

const struct snapshot *snapshot_hold(
	const struct keys *keys, struct slice plan, struct slice credentials)
{
	char digest[DIGEST];
	struct entry *e;

	take_digest(plan, credentials, digest);
	LIST_FOREACH (e, &table[bucket_of(digest)], link)
		if (strcmp(e->digest, digest) == 0)
			break;
	if (e == NULL) {
		e = make(keys, plan, credentials);
		memcpy(e->digest, digest, sizeof(digest));
		if (e->listed)
			LIST_INSERT_HEAD(&table[bucket_of(digest)], e, link);
	}
	e->holders++;
	return &e->snapshot;
}

const struct snapshot *snapshot_again(const struct snapshot *snapshot)
{
	container_of((struct snapshot *)snapshot, struct entry, snapshot)->holders++;
	return snapshot;
}

void snapshot_drop(const struct snapshot *snapshot)
{
	struct entry *e;

	if (snapshot == NULL)
		return;
	e = container_of((struct snapshot *)snapshot, struct entry, snapshot);
	if (--e->holders > 0)
		return;
	if (e->listed)
		LIST_REMOVE(e, link);
	scrub_free(e->snapshot.scrub);
	free(e->snapshot.plan);
	free(e);
}

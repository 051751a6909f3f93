/*
 * The secrets. Invariant: a struct keys holds the first of each kind that was asked for, whole and
 * checked; the other one of a kind is there or it is not, and nothing is ever made with it. So an
 * exchange is three reloads of every coordinator, and none of them refuses what another one made:
 * the new one as the other, then the two in each other's place, then the old one gone.
 */
#include "core/keyring.h"

#include "lib/crypto.h"
#include "lib/systemd.h"

#include <stdlib.h>

enum { FIRST, OTHER, KEYRING_PER_KIND };

/* Seconds by which clocks may differ. */
enum { LEEWAY = 5 };

struct keyring {
	int refs; /* beside the owner's */
	struct jwt_key *worker[KEYRING_PER_KIND], *run[KEYRING_PER_KIND];
	struct credential_key {
		bool there;
		uint8_t bytes[CRYPTO_KEY_BYTES];
	} credential[KEYRING_PER_KIND];
};

static const char *load_worker(struct keyring *keys, int place, struct slice text, struct buf *err)
{
	(void)err;
	keys->worker[place] = jwt_key_hs256(text.p, text.n);
	return NULL;
}

static const char *load_run(struct keyring *keys, int place, struct slice text, struct buf *err)
{
	keys->run[place] = jwt_key_pair(text.p, text.n, err);
	return keys->run[place] == NULL ? err->p : NULL;
}

static const char *load_credential(
	struct keyring *keys, int place, struct slice text, struct buf *err)
{
	struct credential_key *key = &keys->credential[place];

	(void)err;
	key->there = crypto_key_parse(text, key->bytes);
	return key->there ? NULL : "not 64 hexadecimal digits or 44 characters of base64";
}

/* path: where in struct conf the file's name is. load: NULL, or why the text is no such secret. */
static const struct secret {
	const char *name;
	size_t path;
	int place;
	const char *(*load)(struct keyring *keys, int place, struct slice text, struct buf *err);
} secrets[] = {
	{ "worker_secret", offsetof(struct conf, worker_secret), FIRST, load_worker },
	{ "worker_secret_other", offsetof(struct conf, worker_secret_other), OTHER, load_worker },
	{ "run_token_key", offsetof(struct conf, run_token_key), FIRST, load_run },
	{ "run_token_key_other", offsetof(struct conf, run_token_key_other), OTHER, load_run },
	{ "credential_key", offsetof(struct conf, credential_key), FIRST, load_credential },
	{ "credential_key_other", offsetof(struct conf, credential_key_other), OTHER,
		load_credential },
};

static const char *file_of(const struct secret *s, const struct conf *conf)
{
	return *(char *const *)((const char *)conf + s->path);
}

static void load(
	const struct secret *s, const struct conf *conf, struct keyring *keys, struct buf *err)
{
	const char *path = file_of(s, conf), *why;
	struct buf text = { 0 }, sentence = { 0 };

	if (s->place == OTHER && !systemd_has_secret(path, s->name))
		return;
	if (!systemd_read_secret(path, s->name, &text, &sentence))
		buf_addf(err, "%s[keys] %s", err->n > 0 ? "; " : "", sentence.p);
	else if ((why = s->load(keys, s->place, (struct slice){ text.p, text.n }, &sentence)))
		buf_addf(err, "%s[keys] %s: %s", err->n > 0 ? "; " : "", s->name, why);
	if (text.p != NULL)
		explicit_bzero(text.p, text.cap);
	buf_free(&text);
	buf_free(&sentence);
}

/* of: only those that this loads; NULL for all. */
static struct keyring *load_all(const struct conf *conf, struct buf *err,
	const char *(*of)(struct keyring *, int, struct slice, struct buf *))
{
	struct keyring *keys = xcalloc(1, sizeof(*keys));
	size_t before = err->n;

	for (const struct secret *s = secrets; s < secrets + countof(secrets); s++)
		if (of == NULL || s->load == of)
			load(s, conf, keys, err);
	if (err->n == before)
		return keys;
	keyring_free(keys);
	return NULL;
}

struct keyring *keyring_load(const struct conf *conf, struct buf *err)
{
	return load_all(conf, err, NULL);
}

struct keyring *keyring_load_credential(const struct conf *conf, struct buf *err)
{
	return load_all(conf, err, load_credential);
}

struct keyring *keyring_ref(struct keyring *keys)
{
	keys->refs++;
	return keys;
}

void keyring_free(struct keyring *keys)
{
	if (keys == NULL || keys->refs-- > 0)
		return;
	for (int i = 0; i < KEYRING_PER_KIND; i++) {
		jwt_key_free(keys->worker[i]);
		jwt_key_free(keys->run[i]);
	}
	explicit_bzero(keys, sizeof(*keys));
	free(keys);
}

bool keyring_file(const struct conf *conf, size_t i, const char **name, char **path)
{
	if (i >= countof(secrets))
		return false;
	*name = secrets[i].name;
	*path = NULL;
	if (systemd_has_secret(file_of(&secrets[i], conf), secrets[i].name))
		*path = systemd_secret_path(file_of(&secrets[i], conf), secrets[i].name);
	return true;
}

static json_t *verify(
	struct jwt_key *const key[KEYRING_PER_KIND], struct slice token, const char **why)
{
	json_t *claims = NULL;

	*why = "there is no key";
	for (int i = 0; i < KEYRING_PER_KIND && claims == NULL; i++)
		if (key[i] != NULL)
			claims = jwt_verify(key[i], token, now_us() / 1000000, LEEWAY, why);
	return claims;
}

json_t *keyring_verify_worker(const struct keyring *keys, struct slice token, const char **why)
{
	return verify(keys->worker, token, why);
}

json_t *keyring_verify_run(const struct keyring *keys, struct slice token, const char **why)
{
	return verify(keys->run, token, why);
}

struct jwt_key *keyring_signing_key(const struct keyring *keys)
{
	return keys->run[FIRST];
}

void keyring_seal(
	const struct keyring *keys, struct slice context, struct slice plain, struct buf *out)
{
	crypto_seal(keys->credential[FIRST].bytes, context, plain, out);
}

enum keyring_result keyring_open(
	const struct keyring *keys, struct slice context, struct slice sealed, struct buf *out)
{
	static const enum keyring_result opened[] = {
		[FIRST] = KEYRING_PRIMARY, [OTHER] = KEYRING_SECONDARY
	};

	for (int i = 0; i < KEYRING_PER_KIND; i++)
		if (keys->credential[i].there &&
			crypto_open(keys->credential[i].bytes, context, sealed, out))
			return opened[i];
	return KEYRING_NONE;
}

/*
 * keyring: the secrets of [keys], loaded together or not at all. Of each there may be two that hold
 * at the same time, so that they can be exchanged while workers work: what is made is made with the
 * first one, what comes is good under either.
 */
#ifndef KEYRING_H
#define KEYRING_H

#include "core/conf.h"
#include "lib/jwt.h"

struct keyring;

/* Bytes of a credential's body. What has more is not imported, and not handed out. */
#define CREDENTIAL_MAX (1024 * 1024)

/* Reads the files, or systemd's credentials, that the configuration names. NULL, with a
 * sentence in err for each that is missing or invalid. The caller owns the result. */
struct keyring *keyring_load(const struct conf *conf, struct buf *err)
	__attribute__((warn_unused_result));
void keyring_free(struct keyring *keys);
/* One more keyring_free is needed. For what outlasts this turn of the loop: a reload replaces the
 * keys.
 */
struct keyring *keyring_ref(struct keyring *keys) __attribute__((warn_unused_result));

/* As keyring_load, but only what credentials are sealed with; tokens are refused. */
struct keyring *keyring_load_credential(const struct conf *conf, struct buf *err)
	__attribute__((warn_unused_result));

/* The file that the i-th secret of [keys] is read from, and its name; the caller frees the path,
 * which is NULL when there is none of that name. False behind the last. */
bool keyring_file(const struct conf *conf, size_t i, const char **name, char **path)
	__attribute__((warn_unused_result));

/* The claims of a worker's or a run's token, as jwt_verify. */
json_t *keyring_verify_worker(const struct keyring *keys, struct slice token, const char **why)
	__attribute__((warn_unused_result));
json_t *keyring_verify_run(const struct keyring *keys, struct slice token, const char **why)
	__attribute__((warn_unused_result));

/* What run tokens are signed with. A reload replaces the keys: a caller that needs it after this
 * turn of the loop takes a jwt_key_ref. */
struct jwt_key *keyring_signing_key(const struct keyring *keys);

/* Which key a sealed text opened with. */
enum keyring_result { KEYRING_NONE, KEYRING_PRIMARY, KEYRING_SECONDARY };

/* As crypto_seal and crypto_open, with the keys of credentials. */
void keyring_seal(
	const struct keyring *keys, struct slice context, struct slice plain, struct buf *out);
enum keyring_result keyring_open(const struct keyring *keys, struct slice context,
	struct slice sealed, struct buf *out) __attribute__((warn_unused_result));

#endif

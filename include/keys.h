/*
 * keys: the secrets of [keys], loaded together or not at all. Of each there may be two that hold at
 * the same time, so that they can be exchanged while workers work: what is made is made with the
 * first one, what comes is good under either.
 */
#ifndef KEYS_H
#define KEYS_H

#include "conf.h"
#include "jwt.h"

struct keys;

/* Bytes of a credential's body. What has more is not imported, and not handed out. */
#define CREDENTIAL_MAX (1024 * 1024)

/* Reads the files, or systemd's credentials, that the configuration names. NULL, with a
 * sentence in err for each that is missing or no good. The caller owns the result. */
struct keys *keys_load(const struct conf *conf, struct buf *err)
	__attribute__((warn_unused_result));
void keys_free(struct keys *keys);
/* One more keys_free is needed. For what outlasts this turn of the loop: a reload replaces the
 * keys.
 */
struct keys *keys_ref(struct keys *keys) __attribute__((warn_unused_result));

/* As keys_load, but only what credentials are sealed with; tokens are refused. */
struct keys *keys_load_credential(const struct conf *conf, struct buf *err)
	__attribute__((warn_unused_result));

/* The file that the i-th secret of [keys] is read from, and its name; the caller frees the path,
 * which is NULL when there is none of that name. False behind the last. */
bool keys_file(const struct conf *conf, size_t i, const char **name, char **path)
	__attribute__((warn_unused_result));

/* The claims of a worker's or a run's token, as jwt_verify. */
json_t *keys_verify_worker(const struct keys *keys, struct slice token, const char **why)
	__attribute__((warn_unused_result));
json_t *keys_verify_run(const struct keys *keys, struct slice token, const char **why)
	__attribute__((warn_unused_result));

/* What run tokens are signed with. A reload replaces the keys: whoever needs it after this turn of
 * the loop takes a jwt_key_ref. */
struct jwt_key *keys_signer(const struct keys *keys);

/* Which key a sealed text opened with. */
enum keys_opened { KEYS_CLOSED, KEYS_FIRST, KEYS_OTHER };

/* As crypt_seal and crypt_open, with the keys of credentials. */
void keys_seal(const struct keys *keys, struct slice context, struct slice plain, struct buf *out);
enum keys_opened keys_open(const struct keys *keys, struct slice context, struct slice sealed,
	struct buf *out) __attribute__((warn_unused_result));

#endif

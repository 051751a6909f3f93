/*
 * jwt: the two kinds of token. HS256 lets a worker onto the socket; EdDSA, ES256 or RS256, by the
 * kind of the key pair, onto one run. The algorithm is the key's, never the token's: `none`, any
 * other `alg` and `crit` are refused.
 */
#ifndef JWT_H
#define JWT_H

#include "lib/base.h"

#include <jansson.h>

/* Longer tokens are refused unread. */
#define JWT_MAX 16384

struct jwt_key; /* one secret or key pair; several threads may use it at once */

/* An HS256 key from the secret's bytes (copied). An empty one is fatal: it would accept any token.
 */
struct jwt_key *jwt_key_hs256(const void *secret, size_t n);

/* A key pair from PEM (a private key, PKCS#8 or the older form): Ed25519 signs EdDSA, P-256 ES256,
 * RSA of at least 2048 bits RS256. NULL, with a sentence in err, for anything else. */
struct jwt_key *jwt_key_pair(const char *pem, size_t n, struct buf *err)
	__attribute__((warn_unused_result));

/* The algorithm that the key signs by, as a token's header names it; a constant. */
const char *jwt_key_alg(const struct jwt_key *key);

/* Makes a new Ed25519 key pair and appends its PEM (PKCS#8) to pem. */
void jwt_make_pair(struct buf *pem);

/* Appends the PEM of the public half (SubjectPublicKeyInfo) to b. */
void jwt_public_pem(const struct jwt_key *key, struct buf *b);

/* The same key once more, for one who needs it longer than its owner may; gives it to jwt_key_free
 * too. Any thread. */
struct jwt_key *jwt_key_ref(struct jwt_key *key) __attribute__((warn_unused_result));
void jwt_key_free(struct jwt_key *key);

/* Appends the signed token for these claims to b. Borrows claims. */
void jwt_sign(const struct jwt_key *key, const json_t *claims, struct buf *b);

/* The claims of a valid token, which the caller owns; NULL, with *why set to a constant sentence,
 * otherwise. Checks: at most JWT_MAX bytes, three canonical base64url parts, header an object with
 * alg exactly the key's and no crit, signature, claims an object without duplicate keys; exp, nbf
 * and iat numbers when present; exp > now - leeway, nbf <= now + leeway. now and leeway in seconds.
 * Which claims must be there is the caller's business. */
json_t *jwt_verify(const struct jwt_key *key, struct slice token, int64_t now, int64_t leeway,
	const char **why) __attribute__((warn_unused_result));

#endif

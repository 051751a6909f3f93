/*
 * crypto: what libcrypto is used for beside tokens. Credentials at rest (AES-256-GCM), digests,
 * base64.
 */
#ifndef CRYPTO_H
#define CRYPTO_H

#include "lib/base.h"

#define CRYPTO_KEY_BYTES 32
#define CRYPTO_OVERHEAD 29 /* bytes that a sealed text has more than the plain one */

/* Reads a key of 32 bytes from text: 64 hexadecimal digits or 44 characters of base64, white space
 * around it ignored. False if it is neither. */
bool crypto_key_parse(struct slice text, uint8_t key[CRYPTO_KEY_BYTES])
	__attribute__((warn_unused_result));

/* Appends version byte 1, 12 bytes of nonce, the ciphertext and 16 bytes of tag to out. `context`
 * (the credential's id, say) is authenticated and not stored, so that one row's bytes do not
 * decrypt in another. */
void crypto_seal(const uint8_t key[CRYPTO_KEY_BYTES], struct slice context, struct slice plain,
	struct buf *out);

/* Appends the plain text to out; false, with *out as it was, if the key, the context or a bit is
 * another. */
bool crypto_open(const uint8_t key[CRYPTO_KEY_BYTES], struct slice context, struct slice sealed,
	struct buf *out) __attribute__((warn_unused_result));

/* SHA-256 as 64 lower-case hexadecimal digits and a NUL. */
void crypto_sha256_hex(const void *p, size_t n, char out[65]);

/* Appends standard base64 with padding. */
void crypto_base64(const void *p, size_t n, struct buf *out);

#endif

/*
 * crypto: libcrypto for everything but tokens. Invariant: nothing that fails to authenticate leaves
 * this file, and a failure of libcrypto itself (out of memory, a broken provider) is our own fault
 * and fatal, so that callers have one kind of refusal to handle and never half a result.
 */
#include "lib/crypto.h"

#include <limits.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

/* A sealed text: version, nonce, ciphertext, tag. */
enum { VERSION = 1, NONCE = 12, TAG = 16 };
_Static_assert(CRYPTO_OVERHEAD == 1 + NONCE + TAG, "as crypt.h says");

/* libcrypto counts in int; base64 makes four bytes of three. */
#define INPUT_MAX (INT_MAX / 2)

static void must(bool ok, const char *what)
{
	if (!ok)
		fatalx("libcrypto: %s failed", what);
}

static struct slice trim(struct slice s)
{
	while (s.n > 0 && memchr(" \t\r\n", s.p[0], 4))
		s.p++, s.n--;
	while (s.n > 0 && memchr(" \t\r\n", s.p[s.n - 1], 4))
		s.n--;
	return s;
}

static bool key_from_hex(struct slice text, uint8_t key[CRYPTO_KEY_BYTES])
{
	for (size_t i = 0; i < CRYPTO_KEY_BYTES; i++) {
		int high = hex_digit(text.p[2 * i]), low = hex_digit(text.p[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		key[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* The decoder is lax (it takes '=' for a zero anywhere, and ignores stray bits): what does not
 * encode to the same text again was not base64. */
static bool key_from_base64(struct slice text, uint8_t key[CRYPTO_KEY_BYTES])
{
	uint8_t bytes[CRYPTO_KEY_BYTES + 1];
	struct buf again = { 0 };

	if (EVP_DecodeBlock(bytes, (const uint8_t *)text.p, (int)text.n) != (int)sizeof(bytes)) {
		ERR_clear_error();
		return false;
	}
	crypto_base64(bytes, CRYPTO_KEY_BYTES, &again);
	bool same = slice_eq(text, (struct slice){ again.p, again.n });
	if (same)
		memcpy(key, bytes, CRYPTO_KEY_BYTES);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	OPENSSL_cleanse(again.p, again.n);
	buf_free(&again);
	return same;
}

bool crypto_key_parse(struct slice text, uint8_t key[CRYPTO_KEY_BYTES])
{
	text = trim(text);
	switch (text.n) {
	case 64: return key_from_hex(text, key);
	case 44: return key_from_base64(text, key);
	default: return false;
	}
}

/* The cipher set up for one message: key, nonce and context are in. */
static EVP_CIPHER_CTX *cipher(
	const uint8_t key[CRYPTO_KEY_BYTES], const uint8_t *nonce, struct slice context, bool seal)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	must(ctx && context.n <= INPUT_MAX &&
			EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, seal) &&
			EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *)context.p, (int)context.n),
		"AES-256-GCM");
	return ctx;
}

void crypto_seal(const uint8_t key[CRYPTO_KEY_BYTES], struct slice context, struct slice plain,
	struct buf *out)
{
	must(plain.n <= INPUT_MAX, "sealing so much");
	buf_reserve(out, plain.n + CRYPTO_OVERHEAD);

	uint8_t *nonce = (uint8_t *)out->p + out->n + 1;
	uint8_t *body = nonce + NONCE;
	int n, rest;

	nonce[-1] = VERSION;
	random_bytes(nonce, NONCE);
	EVP_CIPHER_CTX *ctx = cipher(key, nonce, context, true);
	must(EVP_CipherUpdate(ctx, body, &n, (const uint8_t *)plain.p, (int)plain.n) &&
			EVP_CipherFinal_ex(ctx, body + n, &rest) &&
			EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG, body + plain.n),
		"sealing");
	EVP_CIPHER_CTX_free(ctx);
	out->n += plain.n + CRYPTO_OVERHEAD;
	out->p[out->n] = '\0';
}

bool crypto_open(const uint8_t key[CRYPTO_KEY_BYTES], struct slice context, struct slice sealed,
	struct buf *out)
{
	if (sealed.n < CRYPTO_OVERHEAD || sealed.n > INPUT_MAX || sealed.p[0] != VERSION)
		return false;
	size_t plain = sealed.n - CRYPTO_OVERHEAD;
	buf_reserve(out, plain);

	const uint8_t *nonce = (const uint8_t *)sealed.p + 1;
	const uint8_t *body = nonce + NONCE;
	uint8_t *to = (uint8_t *)out->p + out->n, tag[TAG];
	int n, rest;

	memcpy(tag, body + plain, TAG); /* the ctrl below takes no const */
	EVP_CIPHER_CTX *ctx = cipher(key, nonce, context, false);
	must(EVP_CipherUpdate(ctx, to, &n, body, (int)plain) &&
			EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG, tag),
		"opening");
	bool ok = EVP_CipherFinal_ex(ctx, to + n, &rest) > 0;
	EVP_CIPHER_CTX_free(ctx);
	if (ok) {
		out->n += plain;
	} else {
		OPENSSL_cleanse(to, plain);
		ERR_clear_error();
	}
	out->p[out->n] = '\0';
	return ok;
}

void crypto_sha256_hex(const void *p, size_t n, char out[65])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];

	must(SHA256(p, n, digest) != NULL, "SHA-256");
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

void crypto_base64(const void *p, size_t n, struct buf *out)
{
	must(n <= INPUT_MAX, "encoding so much");
	buf_reserve(out, (n + 2) / 3 * 4);
	out->n += (size_t)EVP_EncodeBlock((uint8_t *)out->p + out->n, p, (int)n);
}

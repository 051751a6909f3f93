/*
 * jwt: signs and checks tokens. Invariants: the algorithm is a property of the key and a token
 * cannot choose it; nothing is parsed as JSON before its signature holds; and what is signed has
 * exactly one spelling (canonical base64url, exact signature length, no duplicate keys), so that
 * two readers cannot see two things in it.
 */
#include "lib/jwt.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define HMAC_SIZE 32 /* of a SHA-256 */
#define RSA_BITS 2048
#define P256_HALF 32 /* each of r and s (RFC 7518, 3.4) */

/* The contexts are set up once and copied for every token, which leaves them unchanged: setting one
 * up costs more than an HMAC, and threads may share a key. */
struct jwt_key {
	atomic_int users;
	const char *alg;
	EVP_PKEY *pkey;
	EVP_MD_CTX *sign;
	EVP_MD_CTX *verify; /* NULL for HS256: there one signs again and compares */
	size_t size;        /* of a signature */
	bool raw;           /* libcrypto's signature is DER, the token's is r and s (ES256) */
};

static void must(bool ok, const char *what)
{
	if (!ok)
		fatalx("libcrypto: %s failed", what);
}

/* base64url, as RFC 7515 has it: no padding. */

static void encode(const void *p, size_t n, struct buf *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t acc = 0;
	int bits = 0;

	for (const uint8_t *b = p, *end = b + n; b < end; b++) {
		acc = acc << 8 | *b;
		for (bits += 8; bits >= 6; bits -= 6)
			buf_addc(out, digits[acc >> (bits - 6) & 63]);
	}
	if (bits > 0)
		buf_addc(out, digits[acc << (6 - bits) & 63]);
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Only the canonical spelling: the bits that are left over are fewer than a digit, and zero. */
static bool decode(struct slice text, struct buf *out)
{
	uint32_t acc = 0;
	int bits = 0;

	for (size_t i = 0; i < text.n; i++) {
		int d = digit(text.p[i]);
		if (d < 0)
			return false;
		acc = acc << 6 | (uint32_t)d;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			buf_addc(out, (char)(acc >> bits));
		}
	}
	return bits < 6 && (acc & ((1U << bits) - 1)) == 0;
}

/* Keys. */

/* A context for one of the two EVP_Digest…Init functions, ready to be copied. */
static EVP_MD_CTX *ready(
	int init(EVP_MD_CTX *, EVP_PKEY_CTX **, const EVP_MD *, ENGINE *, EVP_PKEY *),
	EVP_PKEY *pkey)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const EVP_MD *digest = EVP_PKEY_is_a(pkey, "ED25519") ? NULL : EVP_sha256();

	must(ctx && init(ctx, NULL, digest, NULL, pkey) == 1, "setting up a key");
	return ctx;
}

struct jwt_key *jwt_key_hs256(const void *secret, size_t n)
{
	struct jwt_key *key = xmalloc(sizeof(*key));

	if (n == 0)
		fatalx("the secret for worker tokens is empty");
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, secret, n);
	must(pkey != NULL, "setting up a secret");
	*key = (struct jwt_key){
		.users = 1,
		.alg = "HS256",
		.pkey = pkey,
		.sign = ready(EVP_DigestSignInit, pkey),
		.size = HMAC_SIZE,
	};
	return key;
}

static bool is_p256(const EVP_PKEY *pkey)
{
	char group[32];

	return EVP_PKEY_get_utf8_string_param(
		       pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), NULL) == 1 &&
	       strcmp(group, "prime256v1") == 0;
}

static bool is_large(const EVP_PKEY *pkey)
{
	return EVP_PKEY_get_bits(pkey) >= RSA_BITS;
}

/* The kinds of key pair. size 0: the key's own. */
static const struct kind {
	const char *type; /* libcrypto's name */
	bool (*fits)(const EVP_PKEY *pkey);
	const char *alg;
	size_t size;
	bool raw;
} kinds[] = {
	{ "ED25519", NULL, "EdDSA", 64, false },
	{ "EC", is_p256, "ES256", 2 * P256_HALF, true },
	{ "RSA", is_large, "RS256", 0, false },
};

static const struct kind *kind_of(const EVP_PKEY *pkey)
{
	for (size_t i = 0; i < countof(kinds); i++)
		if (EVP_PKEY_is_a(pkey, kinds[i].type) &&
			(kinds[i].fits == NULL || kinds[i].fits(pkey)))
			return &kinds[i];
	return NULL;
}

struct jwt_key *jwt_key_pair(const char *pem, size_t n, struct buf *err)
{
	BIO *bio = BIO_new_mem_buf(pem, n > INT_MAX ? 0 : (int)n);
	must(bio != NULL, "reading PEM");
	/* The empty passphrase keeps libcrypto from asking for one at the terminal. */
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, (char[]){ "" });
	BIO_free(bio);
	ERR_clear_error();
	const struct kind *kind = pkey != NULL ? kind_of(pkey) : NULL;

	if (kind == NULL) {
		buf_addf(err,
			"not an unencrypted private key in PEM: Ed25519, P-256, or RSA of at least "
			"%d bits",
			RSA_BITS);
		EVP_PKEY_free(pkey);
		return NULL;
	}
	struct jwt_key *key = xmalloc(sizeof(*key));
	*key = (struct jwt_key){
		.users = 1,
		.alg = kind->alg,
		.pkey = pkey,
		.sign = ready(EVP_DigestSignInit, pkey),
		.verify = ready(EVP_DigestVerifyInit, pkey),
		.size = kind->size != 0 ? kind->size : (size_t)EVP_PKEY_get_size(pkey),
		.raw = kind->raw,
	};
	return key;
}

const char *jwt_key_alg(const struct jwt_key *key)
{
	return key->alg;
}

struct jwt_key *jwt_key_ref(struct jwt_key *key)
{
	atomic_fetch_add(&key->users, 1);
	return key;
}

void jwt_key_free(struct jwt_key *key)
{
	if (key == NULL || atomic_fetch_sub(&key->users, 1) > 1)
		return;
	EVP_MD_CTX_free(key->sign);
	EVP_MD_CTX_free(key->verify);
	EVP_PKEY_free(key->pkey);
	free(key);
}

static void add_pem(EVP_PKEY *pkey, bool private, struct buf *b)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;

	must(bio && (private ? PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL)
			     : PEM_write_bio_PUBKEY(bio, pkey)) == 1,
		"writing PEM");
	size_t n = (size_t)BIO_get_mem_data(bio, &p);
	buf_add(b, p, n);
	BIO_free(bio);
}

void jwt_make_pair(struct buf *pem)
{
	EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	must(pkey != NULL, "making an Ed25519 key");
	add_pem(pkey, true, pem);
	EVP_PKEY_free(pkey);
}

void jwt_public_pem(const struct jwt_key *key, struct buf *b)
{
	add_pem(key->pkey, false, b);
}

/* Signatures. */

static EVP_MD_CTX *copy_of(const EVP_MD_CTX *ctx)
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();

	must(copy && EVP_MD_CTX_copy_ex(copy, ctx), "copying a digest");
	return copy;
}

/* From libcrypto's DER to r and s, each of P256_HALF bytes. */
static void add_raw(const uint8_t *der, size_t n, struct buf *out)
{
	ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)n);
	uint8_t raw[2 * P256_HALF];

	must(pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, P256_HALF) == P256_HALF &&
			BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + P256_HALF, P256_HALF) ==
				P256_HALF,
		"reading a signature");
	ECDSA_SIG_free(pair);
	buf_add(out, raw, sizeof(raw));
}

/* And back. */
static void add_der(const uint8_t *raw, struct buf *out)
{
	ECDSA_SIG *pair = ECDSA_SIG_new();
	uint8_t *der = NULL;
	int n = 0;

	must(pair &&
			ECDSA_SIG_set0(pair, BN_bin2bn(raw, P256_HALF, NULL),
				BN_bin2bn(raw + P256_HALF, P256_HALF, NULL)) == 1 &&
			(n = i2d_ECDSA_SIG(pair, &der)) > 0,
		"writing a signature");
	buf_add(out, der, (size_t)n);
	OPENSSL_free(der);
	ECDSA_SIG_free(pair);
}

static void add_signature(const struct jwt_key *key, struct slice text, struct buf *out)
{
	EVP_MD_CTX *ctx = copy_of(key->sign);
	struct buf signature = { 0 };
	size_t n = key->raw ? (size_t)EVP_PKEY_get_size(key->pkey) : key->size;

	buf_reserve(&signature, n);
	must(EVP_DigestSign(ctx, (uint8_t *)signature.p, &n, (const uint8_t *)text.p, text.n) == 1,
		"signing");
	EVP_MD_CTX_free(ctx);
	if (key->raw)
		add_raw((const uint8_t *)signature.p, n, out);
	else
		buf_add(out, signature.p, n);
	buf_free(&signature);
}

static bool pair_holds(const struct jwt_key *key, struct slice text, const struct buf *signature)
{
	EVP_MD_CTX *ctx = copy_of(key->verify);
	struct buf der = { 0 };

	if (key->raw)
		add_der((const uint8_t *)signature->p, &der);
	const struct buf *s = key->raw ? &der : signature;
	bool ok = EVP_DigestVerify(
			  ctx, (const uint8_t *)s->p, s->n, (const uint8_t *)text.p, text.n) == 1;

	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	buf_free(&der);
	return ok;
}

static bool hmac_holds(const struct jwt_key *key, struct slice text, const struct buf *signature)
{
	struct buf ours = { 0 };

	add_signature(key, text, &ours);
	bool ok = CRYPTO_memcmp(ours.p, signature->p, ours.n) == 0;
	buf_free(&ours);
	return ok;
}

static bool signature_holds(const struct jwt_key *key, struct slice text, struct slice encoded)
{
	struct buf signature = { 0 };
	bool ok = decode(encoded, &signature) && signature.n == key->size &&
		  (key->verify ? pair_holds : hmac_holds)(key, text, &signature);

	buf_free(&signature);
	return ok;
}

/* Tokens. */

void jwt_sign(const struct jwt_key *key, const json_t *claims, struct buf *b)
{
	struct buf header = { 0 }, signature = { 0 };
	char *text = json_dumps(claims, JSON_COMPACT);
	size_t start = b->n;

	if (text == NULL)
		fatalx("claims that are not JSON");
	buf_addf(&header, "{\"alg\":\"%s\"}", key->alg);
	encode(header.p, header.n, b);
	buf_addc(b, '.');
	encode(text, strlen(text), b);
	add_signature(key, (struct slice){ b->p + start, b->n - start }, &signature);
	buf_addc(b, '.');
	encode(signature.p, signature.n, b);
	free(text);
	buf_free(&header);
	buf_free(&signature);
}

/* Takes what is before the next dot off the front of *rest; false if there is no dot. */
static bool take_part(struct slice *rest, struct slice *part)
{
	const char *dot = rest->n > 0 ? memchr(rest->p, '.', rest->n) : NULL;

	if (dot == NULL)
		return false;
	*part = (struct slice){ rest->p, (size_t)(dot - rest->p) };
	*rest = (struct slice){ dot + 1, rest->n - part->n - 1 };
	return true;
}

/* The object that a part spells, or NULL. */
static json_t *load(struct slice part)
{
	struct buf text = { 0 };
	json_t *value = NULL;

	if (decode(part, &text) && text.n > 0)
		value = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
	buf_free(&text);
	if (!json_is_object(value)) {
		json_decref(value);
		return NULL;
	}
	return value;
}

static const char *refuse_header(const struct jwt_key *key, const json_t *header)
{
	const char *alg = json_string_value(json_object_get(header, "alg"));

	if (alg == NULL || strcmp(alg, key->alg) != 0)
		return "the token names another algorithm than its key's";
	if (json_object_get(header, "crit"))
		return "the token has critical extensions";
	return NULL;
}

static const char *refuse_times(const json_t *claims, int64_t now, int64_t leeway)
{
	static const char *const names[] = { "exp", "nbf", "iat" };
	const json_t *times[countof(names)];

	for (size_t i = 0; i < countof(names); i++) {
		times[i] = json_object_get(claims, names[i]);
		if (times[i] && !json_is_number(times[i]))
			return "exp, nbf or iat is not a number";
	}
	if (times[0] && json_number_value(times[0]) <= (double)(now - leeway))
		return "the token has expired";
	if (times[1] && json_number_value(times[1]) > (double)(now + leeway))
		return "the token is not valid yet";
	return NULL;
}

json_t *jwt_verify(const struct jwt_key *key, struct slice token, int64_t now, int64_t leeway,
	const char **why)
{
	struct slice header_part, claims_part, signature = token;
	json_t *header = NULL, *claims = NULL;

	if (token.n > JWT_MAX)
		*why = "the token is too long";
	else if (!take_part(&signature, &header_part) || !take_part(&signature, &claims_part))
		*why = "the token does not have three parts";
	else if (!signature_holds(key, (struct slice){ token.p, header_part.n + 1 + claims_part.n },
			 signature))
		*why = "the token's signature does not hold";
	else if ((header = load(header_part)) == NULL)
		*why = "the token's header is not a JSON object";
	else if ((*why = refuse_header(key, header)) != NULL)
		;
	else if ((claims = load(claims_part)) == NULL)
		*why = "the token's claims are not a JSON object";
	else
		*why = refuse_times(claims, now, leeway);

	json_decref(header);
	if (*why) {
		json_decref(claims);
		claims = NULL;
	}
	return claims;
}

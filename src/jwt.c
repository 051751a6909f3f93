/*
 * jwt: signs and checks tokens. Invariants: the algorithm is a property of the key and a token
 * cannot choose it; nothing is parsed as JSON before its signature holds; and a token has exactly
 * one spelling (canonical base64url, exact signature length, no duplicate keys), so that two
 * readers cannot see two things in it.
 */
#include "jwt.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define HMAC_SIZE 32 /* of a SHA-256 */
#define RSA_BITS 2048

/* The contexts are set up once and copied for every token, which leaves them unchanged: setting one
 * up costs more than an HMAC, and threads may share a key. */
struct jwt_key {
	atomic_int users;
	const char *alg;
	EVP_PKEY *pkey;
	EVP_MD_CTX *sign;
	EVP_MD_CTX *verify; /* NULL for HS256: there one signs again and compares */
	size_t size;        /* of a signature */
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

	must(ctx && init(ctx, NULL, EVP_sha256(), NULL, pkey) == 1, "setting up a key");
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

/* The pair that the PEM text holds, if it is one we want. */
static EVP_PKEY *load_pair(const char *pem, size_t n, struct buf *err)
{
	BIO *bio = BIO_new_mem_buf(pem, n > INT_MAX ? 0 : (int)n);
	must(bio != NULL, "reading PEM");
	/* The empty passphrase keeps libcrypto from asking for one at the terminal. */
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, (char[]){ "" });
	BIO_free(bio);
	ERR_clear_error();

	if (pkey == NULL || EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA)
		buf_adds(err, "not an unencrypted RSA private key in PEM");
	else if (EVP_PKEY_get_bits(pkey) < RSA_BITS)
		buf_addf(err, "the RSA key has %d bits, at least %d are needed",
			EVP_PKEY_get_bits(pkey), RSA_BITS);
	else
		return pkey;
	EVP_PKEY_free(pkey);
	return NULL;
}

struct jwt_key *jwt_key_rs256(const char *pem, size_t n, struct buf *err)
{
	EVP_PKEY *pkey = load_pair(pem, n, err);
	if (pkey == NULL)
		return NULL;

	struct jwt_key *key = xmalloc(sizeof(*key));
	*key = (struct jwt_key){
		.users = 1,
		.alg = "RS256",
		.pkey = pkey,
		.sign = ready(EVP_DigestSignInit, pkey),
		.verify = ready(EVP_DigestVerifyInit, pkey),
		.size = (size_t)EVP_PKEY_get_size(pkey),
	};
	return key;
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

void jwt_make_rs256(struct buf *pem)
{
	EVP_PKEY *pkey = EVP_RSA_gen(RSA_BITS);

	must(pkey != NULL, "making an RSA key");
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

static void add_signature(const struct jwt_key *key, struct slice text, struct buf *out)
{
	EVP_MD_CTX *ctx = copy_of(key->sign);
	size_t n = key->size;

	buf_reserve(out, n);
	must(EVP_DigestSign(ctx, (uint8_t *)out->p + out->n, &n, (const uint8_t *)text.p, text.n) ==
				1 &&
			n == key->size,
		"signing");
	EVP_MD_CTX_free(ctx);
	out->n += n;
}

static bool rsa_holds(const struct jwt_key *key, struct slice text, const struct buf *signature)
{
	EVP_MD_CTX *ctx = copy_of(key->verify);
	bool ok = EVP_DigestVerify(ctx, (const uint8_t *)signature->p, signature->n,
			  (const uint8_t *)text.p, text.n) == 1;

	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
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
		  (key->verify ? rsa_holds : hmac_holds)(key, text, &signature);

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

/* jwt: a published vector, a token of the recorded shape, and a forger's catalogue. */
#include "lib/jwt.h"

#include <setjmp.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include <cmocka.h>

#define NOW 1795485246
#define LEEWAY 10

static const char secret[] = "a shared secret of a few words";

static struct jwt_key *hs, *rs, *es, *ed;

static struct slice view(const struct buf *b)
{
	return (struct slice){ b->p, b->n };
}

static void add_base64url(struct buf *b, const void *p, size_t n)
{
	uint8_t digits[4096];

	assert_true(n < 3000);
	EVP_EncodeBlock(digits, p, (int)n);
	for (const uint8_t *c = digits; *c != '\0' && *c != '='; c++)
		buf_addc(b, *c == '+' ? '-' : *c == '/' ? '_' : (char)*c);
}

/* A token with a true HMAC over whatever is in it. */
static struct buf forge_parts(const char *header, const char *claims)
{
	struct buf token = { 0 };
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned n;

	buf_addf(&token, "%s.%s", header, claims);
	HMAC(EVP_sha256(), secret, (int)strlen(secret), (const uint8_t *)token.p, token.n, mac, &n);
	buf_addc(&token, '.');
	add_base64url(&token, mac, n);
	return token;
}

static struct buf forge(const char *header, const char *claims)
{
	struct buf h = { 0 }, c = { 0 };

	add_base64url(&h, header, strlen(header));
	add_base64url(&c, claims, strlen(claims));
	struct buf token = forge_parts(h.n ? h.p : "", c.n ? c.p : "");
	buf_free(&h);
	buf_free(&c);
	return token;
}

static bool accepts(const struct jwt_key *key, struct slice token)
{
	const char *why = "";
	json_t *claims = jwt_verify(key, token, NOW, LEEWAY, &why);

	/* Exactly one of the two: claims, or a reason. */
	assert_true((claims == NULL) == (why != NULL));
	json_decref(claims);
	return claims != NULL;
}

static bool accepts_forged(const char *header, const char *claims)
{
	struct buf token = forge(header, claims);
	bool ok = accepts(hs, view(&token));

	buf_free(&token);
	return ok;
}

/* RFC 7515, appendix A.1. */
static void rfc_7515_vector(void **state)
{
	static const uint8_t octets[] = { 3, 35, 53, 75, 43, 15, 165, 188, 131, 126, 6, 101, 119,
		123, 166, 143, 90, 179, 40, 230, 240, 84, 201, 40, 169, 15, 132, 178, 210, 80, 46,
		191, 211, 251, 90, 146, 210, 6, 71, 239, 150, 138, 180, 195, 119, 98, 61, 34, 61,
		46, 33, 114, 5, 46, 79, 8, 192, 205, 154, 245, 103, 208, 128, 163 };
	static const char token[] =
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
		".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
		"cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
		".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
	struct jwt_key *key = jwt_key_hs256(octets, sizeof(octets));
	const char *why;

	(void)state;
	json_t *claims = jwt_verify(key, slice_of(token), 1300819379, 0, &why);
	assert_non_null(claims);
	assert_string_equal(json_string_value(json_object_get(claims, "iss")), "joe");
	json_decref(claims);

	assert_null(jwt_verify(key, slice_of(token), 1300819380, 0, &why));
	assert_string_equal(why, "the token has expired");
	assert_false(accepts(hs, slice_of(token)));
	jwt_key_free(key);
}

/* Header, claims and lengths are those of a token that a real worker presented. */
static void recorded_shape(void **state)
{
	json_t *claims =
		json_pack("{s:s, s:i, s:i, s:s, s:i}", "id", "00000000-0000-4000-8000-000000000001",
			"iat", NOW, "nbf", NOW, "iss", "Lightning", "exp", NOW + 7200);
	struct buf token = { 0 };
	const char *why;

	(void)state;
	buf_adds(&token, ">");
	jwt_sign(rs, claims, &token);
	static const char want[] =
		">eyJhbGciOiJSUzI1NiJ9.eyJpZCI6IjAwMDAwMDAwLTAwMDAtNDAwMC04MDAwLTAwMDAwMDAwMDAwMS"
		"IsImlhdCI6MTc5NTQ4NTI0NiwibmJmIjoxNzk1NDg1MjQ2LCJpc3MiOiJMaWdodG5pbmciLCJleHAiOj"
		"E3OTU0OTI0NDZ9.";
	assert_memory_equal(token.p, want, strlen(want));
	assert_int_equal(token.n, strlen(want) + 342); /* 256 bytes in base64url */

	struct slice bare = { token.p + 1, token.n - 1 };
	json_t *read = jwt_verify(rs, bare, NOW, 0, &why);
	assert_true(json_equal(read, claims));
	json_decref(read);
	json_decref(claims);

	/* Any other character in the signature, and the other key's opinion. */
	for (size_t i = strlen(want); i < token.n; i++) {
		char was = token.p[i];
		token.p[i] = was == 'A' ? 'B' : 'A';
		assert_false(accepts(rs, bare));
		token.p[i] = was;
	}
	assert_true(accepts(rs, bare));
	assert_false(accepts(hs, bare));
	buf_free(&token);
}

static void hs256_round_trip(void **state)
{
	json_t *claims =
		json_pack("{s:s, s:s}", "worker_id", "w\xc3\xb6rker", "iss", "urn:openfn:worker");
	struct buf token = { 0 };
	const char *why;

	(void)state;
	jwt_sign(hs, claims, &token);
	json_t *read = jwt_verify(hs, view(&token), NOW, 0, &why);
	assert_true(json_equal(read, claims));
	assert_false(accepts(rs, view(&token)));
	json_decref(read);
	json_decref(claims);

	/* Every bit, and every length that is shorter. */
	for (size_t i = 0; i < token.n; i++) {
		for (int bit = 0; bit < 8; bit++) {
			token.p[i] ^= (char)(1 << bit);
			assert_false(accepts(hs, view(&token)));
			token.p[i] ^= (char)(1 << bit);
		}
		assert_false(accepts(hs, (struct slice){ token.p, i }));
	}
	buf_free(&token);
}

static void headers(void **state)
{
	static const char *const good[] = {
		"{\"alg\":\"HS256\"}",
		"{\"typ\":\"JWT\",\"alg\":\"HS256\",\"kid\":\"1\"}",
		"{\"typ\":7,\"alg\":\"HS256\"}",
		" {\"alg\" : \"HS256\"}\n",
	};
	static const char *const bad[] = {
		"",
		"{}",
		"{\"alg\":\"none\"}",
		"{\"alg\":\"None\"}",
		"{\"alg\":\"hs256\"}",
		"{\"alg\":\"HS512\"}",
		"{\"alg\":\"RS256\"}",
		"{\"alg\":\"HS256 \"}",
		"{\"alg\":\"HS256\\u0000\"}",
		"{\"alg\":null}",
		"{\"alg\":[\"HS256\"]}",
		"{\"ALG\":\"HS256\"}",
		"{\"alg\":\"HS256\",\"crit\":[]}",
		"{\"alg\":\"HS256\",\"crit\":null}",
		"{\"alg\":\"none\",\"alg\":\"HS256\"}",
		"{\"alg\":\"HS256\",\"al\\u0067\":\"HS256\"}",
		"{\"alg\":\"HS256\"",
		"{\"alg\":\"HS256\"} x",
		"[\"HS256\"]",
		"\"HS256\"",
		"null",
	};

	(void)state;
	for (size_t i = 0; i < countof(good); i++)
		assert_true(accepts_forged(good[i], "{}"));
	for (size_t i = 0; i < countof(bad); i++)
		if (accepts_forged(bad[i], "{}"))
			fail_msg("accepted: %s", bad[i]);
}

static void claims(void **state)
{
	static const struct {
		bool ok;
		const char *text;
	} cases[] = {
		{ true, "{}" },
		{ true, "{\"exp\":1795485247}" },
		{ true, "{\"exp\":1795485237}" }, /* within the leeway */
		{ false, "{\"exp\":1795485236}" },
		{ true, "{\"exp\":1795485236.5}" },
		{ false, "{\"exp\":1795485235.5}" },
		{ true, "{\"exp\":1e300}" },
		{ false, "{\"exp\":0}" },
		{ false, "{\"exp\":-1}" },
		{ false, "{\"exp\":1e999}" },
		{ false, "{\"exp\":99999999999999999999}" },
		{ false, "{\"exp\":\"1795485300\"}" },
		{ false, "{\"exp\":null}" },
		{ false, "{\"exp\":true}" },
		{ false, "{\"exp\":[1795485300]}" },
		{ false, "{\"exp\":1,\"exp\":1795485300}" },
		{ true, "{\"nbf\":1795485246}" },
		{ true, "{\"nbf\":1795485256}" },
		{ false, "{\"nbf\":1795485257}" },
		{ true, "{\"nbf\":1795485255.5}" },
		{ false, "{\"nbf\":\"0\"}" },
		{ true, "{\"iat\":1795485246}" },
		{ true, "{\"iat\":1795485300}" }, /* clocks differ; iat decides nothing */
		{ false, "{\"iat\":\"then\"}" },
		{ false, "{\"iat\":false}" },
		{ false, "{\"a\":{\"b\":1,\"b\":2}}" },
		{ false, "" },
		{ false, "[]" },
		{ false, "{} {}" },
		{ false, "{\"a\":\"\xff\"}" },
	};

	(void)state;
	for (size_t i = 0; i < countof(cases); i++)
		if (accepts_forged("{\"alg\":\"HS256\"}", cases[i].text) != cases[i].ok)
			fail_msg("wrong about %s", cases[i].text);
}

/* The MAC is right in all of these; only the spelling is not. {"alg":"HS256"} is 15 bytes, {} two.
 */
static void spellings(void **state)
{
	static const char header[] = "eyJhbGciOiJIUzI1NiJ9";
	static const char *const bad[] = { "e30=", "e31", "e3", "e", "e 30", "e30\n", " e30",
		"e30.", "e30.e30", "", "e+0", "e/0" };

	(void)state;
	struct buf token = forge_parts(header, "e30");
	assert_true(accepts(hs, view(&token)));

	for (const char *c = "=.\n A"; *c != '\0'; c++) {
		struct buf longer = { 0 };
		buf_addf(&longer, "%s%c", token.p, *c);
		assert_false(accepts(hs, view(&longer)));
		buf_free(&longer);
	}
	buf_addc(&token, '\0');
	assert_false(accepts(hs, view(&token)));
	buf_free(&token);

	for (size_t i = 0; i < countof(bad); i++) {
		token = forge_parts(header, bad[i]);
		if (accepts(hs, view(&token)))
			fail_msg("accepted claims spelled \"%s\"", bad[i]);
		buf_free(&token);
	}
}

/* 43 digits carry 258 bits: the last digit of a signature has three other spellings. */
static void stray_bits_of_the_signature(void **state)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	struct buf token = forge("{\"alg\":\"HS256\"}", "{}");
	char *last = &token.p[token.n - 1];
	const size_t value = (size_t)(strchr(digits, *last) - digits);

	(void)state;
	for (size_t d = 0; d < 64; d++) {
		*last = digits[d];
		assert_int_equal(accepts(hs, view(&token)), d == value);
	}
	buf_free(&token);
}

static void not_tokens(void **state)
{
	static const char *const texts[] = { "", ".", "..", "...", "a", "a.b",
		"eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.",
		"eyJhbGciOiJIUzI1NiJ9.e30" };

	(void)state;
	for (size_t i = 0; i < countof(texts); i++) {
		assert_false(accepts(hs, slice_of(texts[i])));
		assert_false(accepts(rs, slice_of(texts[i])));
	}
	assert_false(accepts(hs, (struct slice){ 0 }));
}

static void oversize(void **state)
{
	(void)state;
	for (size_t n = JWT_MAX - 200; n < JWT_MAX + 200; n += 100) {
		json_t *object = json_object();
		char *filler = xmalloc(3 * n / 4);
		struct buf token = { 0 };

		memset(filler, 'x', 3 * n / 4);
		json_object_set_new(object, "x", json_stringn(filler, 3 * n / 4 - 70));
		jwt_sign(hs, object, &token);
		assert_int_equal(accepts(hs, view(&token)), token.n <= JWT_MAX);
		json_decref(object);
		free(filler);
		buf_free(&token);
	}
}

/* The pair as it is read from PEM; frees pkey. */
static struct jwt_key *key_of(EVP_PKEY *pkey, struct buf *err)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL), 1);
	struct jwt_key *key = jwt_key_pair(p, (size_t)BIO_get_mem_data(bio, &p), err);
	BIO_free(bio);
	EVP_PKEY_free(pkey);
	return key;
}

/* What each kind of pair signs holds under itself, with every bit of it, and under no other kind.
 */
static void kinds(void **state)
{
	struct jwt_key *const keys[] = { rs, es, ed };
	static const char *const headers[] = { "eyJhbGciOiJSUzI1NiJ9.", "eyJhbGciOiJFUzI1NiJ9.",
		"eyJhbGciOiJFZERTQSJ9." };
	static const char *const algs[] = { "RS256", "ES256", "EdDSA" };
	static const size_t sizes[] = { 342, 86, 86 }; /* of the signature, in base64url */
	json_t *object = json_pack("{s:s}", "id", "x");

	(void)state;
	for (size_t k = 0; k < countof(keys); k++) {
		struct buf token = { 0 };

		jwt_sign(keys[k], object, &token);
		assert_string_equal(jwt_key_alg(keys[k]), algs[k]);
		assert_memory_equal(token.p, headers[k], strlen(headers[k]));
		assert_int_equal(strlen(strrchr(token.p, '.') + 1), sizes[k]);
		for (size_t other = 0; other < countof(keys); other++)
			assert_int_equal(accepts(keys[other], view(&token)), other == k);
		for (size_t i = 0; i < 8 * token.n; i++) {
			token.p[i / 8] ^= (char)(1 << i % 8);
			assert_false(accepts(keys[k], view(&token)));
			token.p[i / 8] ^= (char)(1 << i % 8);
		}
		buf_free(&token);
	}
	json_decref(object);
}

/* ES256 as libcrypto itself writes it: the same signature, and no token's. */
static void der_is_refused(void **state)
{
	struct buf token = { 0 }, err = { 0 };
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[80];
	size_t n = sizeof(der);

	(void)state;
	EVP_PKEY_up_ref(pkey);
	struct jwt_key *key = key_of(pkey, &err);
	buf_adds(&token, "eyJhbGciOiJFUzI1NiJ9.e30"); /* {"alg":"ES256"}, {} */
	assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
	assert_int_equal(EVP_DigestSign(ctx, der, &n, (const uint8_t *)token.p, token.n), 1);
	buf_addc(&token, '.');
	add_base64url(&token, der, n);
	assert_false(accepts(key, view(&token)));
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	jwt_key_free(key);
	buf_free(&token);
}

static void pem(void **state)
{
	struct buf public = { 0 }, err = { 0 };
	EVP_PKEY *others[] = { EVP_RSA_gen(1024), EVP_EC_gen("P-384"), EVP_EC_gen("secp256k1"),
		EVP_PKEY_Q_keygen(NULL, NULL, "X25519") };

	(void)state;
	jwt_public_pem(rs, &public);
	assert_memory_equal(public.p, "-----BEGIN PUBLIC KEY-----\n", 27);

	/* The public half signs nothing, as an HMAC secret least of all: a key is of one kind. */
	assert_null(jwt_key_pair(public.p, public.n, &err));
	assert_null(jwt_key_pair("", 0, &err));
	assert_null(jwt_key_pair("-----BEGIN PRIVATE KEY-----\n", 28, &err));
	assert_int_not_equal(err.n, 0);
	buf_free(&public);

	for (size_t i = 0; i < countof(others); i++) {
		buf_free(&err);
		assert_null(key_of(others[i], &err));
		assert_int_not_equal(err.n, 0);
	}
	buf_free(&err);
}

/* The classic: an HS256 token whose secret is the text of the public key. */
static void confusion(void **state)
{
	struct buf public = { 0 }, token = { 0 };
	json_t *object = json_pack("{s:s}", "id", "x");

	(void)state;
	jwt_public_pem(rs, &public);
	struct jwt_key *forger = jwt_key_hs256(public.p, public.n);
	jwt_sign(forger, object, &token);
	assert_true(accepts(forger, view(&token)));
	assert_false(accepts(rs, view(&token)));
	jwt_key_free(forger);
	json_decref(object);
	buf_free(&token);
	buf_free(&public);
}

/* A PKCS#1 file is as good, and another pair's token is not. */
static void other_pairs(void **state)
{
	struct buf token = { 0 }, err = { 0 };
	json_t *object = json_object();
	char *p;

	(void)state;
	BIO *out = BIO_new(BIO_s_mem());
	EVP_PKEY *pkey = EVP_RSA_gen(2048);
	PEM_write_bio_PrivateKey_traditional(out, pkey, NULL, NULL, 0, NULL, NULL);
	size_t n = (size_t)BIO_get_mem_data(out, &p);
	assert_memory_equal(p, "-----BEGIN RSA PRIVATE KEY-----\n", 32);

	EVP_PKEY_up_ref(pkey);
	struct jwt_key *first = key_of(pkey, &err);
	struct jwt_key *same = jwt_key_pair(p, n, &err);
	assert_non_null(first);
	assert_non_null(same);
	jwt_sign(first, object, &token);
	assert_true(accepts(same, view(&token)));
	assert_false(accepts(rs, view(&token)));

	EVP_PKEY_free(pkey);
	BIO_free(out);
	jwt_key_free(first);
	jwt_key_free(same);
	json_decref(object);
	buf_free(&token);
}

static int set_up(void **state)
{
	struct buf made = { 0 }, err = { 0 };

	(void)state;
	jwt_make_pair(&made);
	assert_memory_equal(made.p, "-----BEGIN PRIVATE KEY-----\n", 28);
	ed = jwt_key_pair(made.p, made.n, &err);
	rs = key_of(EVP_RSA_gen(2048), &err);
	es = key_of(EVP_EC_gen("P-256"), &err);
	hs = jwt_key_hs256(secret, strlen(secret));
	buf_free(&made);
	return rs && es && ed ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	jwt_key_free(hs);
	jwt_key_free(rs);
	jwt_key_free(es);
	jwt_key_free(ed);
	jwt_key_free(NULL);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_7515_vector),
		cmocka_unit_test(recorded_shape),
		cmocka_unit_test(hs256_round_trip),
		cmocka_unit_test(headers),
		cmocka_unit_test(claims),
		cmocka_unit_test(spellings),
		cmocka_unit_test(stray_bits_of_the_signature),
		cmocka_unit_test(not_tokens),
		cmocka_unit_test(oversize),
		cmocka_unit_test(kinds),
		cmocka_unit_test(der_is_refused),
		cmocka_unit_test(pem),
		cmocka_unit_test(confusion),
		cmocka_unit_test(other_pairs),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

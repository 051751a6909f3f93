/*
 * Tokens. The first byte says how the rest is one: as it stands, for a secret or for a key pair; or
 * as header and claims, a line each, which are signed here, so that what is behind the signature is
 * reached. A token that is taken has the key's algorithm, and no byte of it can be another.
 */
#include "lib/jwt.h"

#include "fuzz.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { NOW = 1800000000, LEEWAY = 5 };

static const char secret[] = "secret";

static struct jwt_key *hs256, *pair;

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct buf pem = { 0 }, err = { 0 };

	(void)argc;
	(void)argv;
	jwt_make_pair(&pem);
	hs256 = jwt_key_hs256(secret, strlen(secret));
	pair = jwt_key_pair(pem.p, pem.n, &err);
	require(pair != NULL, "no key");
	buf_free(&pem);
	return 0;
}

/* base64url by other means than jwt's own. */
static void encode(struct buf *out, const void *data, size_t n)
{
	char *text = xmalloc(n / 3 * 4 + 5);
	size_t length = (size_t)EVP_EncodeBlock((uint8_t *)text, data, (int)n);

	while (length > 0 && text[length - 1] == '=')
		length--;
	for (size_t i = 0; i < length; i++)
		text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
	buf_add(out, text, length);
	free(text);
}

static void sign(struct buf *token, const char *header, struct slice claims)
{
	uint8_t signature[EVP_MAX_MD_SIZE];
	unsigned n;

	encode(token, header, strlen(header));
	buf_addc(token, '.');
	encode(token, claims.p, claims.n);
	HMAC(EVP_sha256(), secret, (int)strlen(secret), (const uint8_t *)token->p, token->n,
		signature, &n);
	buf_addc(token, '.');
	encode(token, signature, n);
}

static bool takes(const struct jwt_key *key, struct slice token)
{
	const char *why = NULL;
	json_t *claims = jwt_verify(key, token, NOW, LEEWAY, &why);

	require((claims == NULL) == (why != NULL), "refused without a sentence, or the reverse");
	require(claims == NULL || json_is_object(claims), "claims that are none");
	json_decref(claims);
	return claims != NULL;
}

/* One spelling: no change of a byte is taken. */
static void check_spelling(struct buf *token, size_t at)
{
	token->p[at % token->n] ^= 1;
	require(!takes(hs256, (struct slice){ token->p, token->n }), "a token has two spellings");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct slice rest = { (const char *)data + 1, n - 1 };
	struct buf token = { 0 };

	if (n == 0)
		return 0;
	if (data[0] == 'h') {
		takes(hs256, rest);
	} else if (data[0] == 'r') {
		require(!takes(pair, rest), "a signature was guessed");
	} else {
		char *header = next_line(&rest);
		sign(&token, header, rest);
		require(!takes(pair, (struct slice){ token.p, token.n }), "another algorithm");
		if (takes(hs256, (struct slice){ token.p, token.n })) {
			require(strstr(header, "HS256") || strchr(header, '\\'), "no algorithm");
			check_spelling(&token, data[0]);
		}
		free(header);
	}
	buf_free(&token);
	return 0;
}

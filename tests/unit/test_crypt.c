/* crypt: the published vectors, and everything that must not open. */
#include "lib/crypto.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t key[CRYPTO_KEY_BYTES] = "0123456789abcdefghijklmnopqrstu";

static struct slice view(const struct buf *b)
{
	return (struct slice){ b->p, b->n };
}

static void base64_and_digest_vectors(void **state)
{
	static const char *const pairs[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foobar", "Zm9vYmFy" },
	};
	struct buf b = { 0 };
	char hex[65];

	(void)state;
	for (size_t i = 0; i < countof(pairs); i++) {
		b.n = 0;
		crypto_base64(pairs[i][0], strlen(pairs[i][0]), &b);
		assert_true(slice_eq(view(&b), slice_of(pairs[i][1])) || b.n == 0);
		assert_int_equal(b.n, strlen(pairs[i][1]));
	}
	buf_free(&b);

	crypto_sha256_hex("abc", 3, hex);
	assert_string_equal(
		hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	crypto_sha256_hex("", 0, hex);
	assert_string_equal(
		hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void keyring_from_text(void **state)
{
	static const char *const good[] = {
		"00ff000000000000000000000000000000000000000000000000000000000010",
		" \n00FF000000000000000000000000000000000000000000000000000000000010\r\n",
		"AP8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABA=\n",
	};
	static const char *const bad[] = {
		"",
		"\n",
		"00ff",
		"00ff00000000000000000000000000000000000000000000000000000000001",
		"00ff00000000000000000000000000000000000000000000000000000000001g",
		"00ff0000000000000000000000000000 0000000000000000000000000000010",
		"AP8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABA",  /* no padding */
		"AP8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABB=", /* a stray bit */
		"AP8AAAAAAAAAAAAAAAAA====AAAAAAAAAAAAAAAAABA=", /* padding inside */
		"AP8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", /* 31 bytes */
		"AP8AAAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAAAAAAABA=",
		"AP8-_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABA=",
	};
	uint8_t want[CRYPTO_KEY_BYTES] = { 0, 0xff }, got[CRYPTO_KEY_BYTES];

	(void)state;
	want[31] = 0x10;
	for (size_t i = 0; i < countof(good); i++) {
		memset(got, 0xaa, sizeof(got));
		assert_true(crypto_key_parse(slice_of(good[i]), got));
		assert_memory_equal(got, want, CRYPTO_KEY_BYTES);
	}
	for (size_t i = 0; i < countof(bad); i++)
		assert_false(crypto_key_parse(slice_of(bad[i]), got));
	assert_false(crypto_key_parse((struct slice){ 0 }, got));
}

static void sealed_text_opens(void **state)
{
	static const char *const plains[] = { "", "x", "{\"password\":\"hunter22\"}" };

	(void)state;
	for (size_t i = 0; i < countof(plains); i++) {
		struct buf sealed = { 0 }, again = { 0 }, out = { 0 };

		buf_adds(&out, "kept,");
		crypto_seal(key, slice_of("id"), slice_of(plains[i]), &sealed);
		crypto_seal(key, slice_of("id"), slice_of(plains[i]), &again);
		assert_int_equal(sealed.n, 29 + strlen(plains[i]));
		assert_int_equal(sealed.p[0], 1);
		assert_false(slice_eq(view(&sealed), view(&again))); /* the nonce is new */

		assert_true(crypto_open(key, slice_of("id"), view(&sealed), &out));
		assert_memory_equal(out.p, "kept,", 5);
		assert_string_equal(out.p + 5, plains[i]);
		assert_int_equal(out.n, 5 + strlen(plains[i]));
		buf_free(&sealed);
		buf_free(&again);
		buf_free(&out);
	}
}

/* Into an empty buffer, of nothing, for no context. */
static void nothing_at_all_opens(void **state)
{
	struct buf sealed = { 0 }, out = { 0 };

	(void)state;
	crypto_seal(key, (struct slice){ 0 }, (struct slice){ 0 }, &sealed);
	assert_true(crypto_open(key, (struct slice){ 0 }, view(&sealed), &out));
	assert_int_equal(out.n, 0);
	buf_free(&sealed);
	buf_free(&out);
}

static void what_was_touched_stays_shut(void **state)
{
	struct buf sealed = { 0 }, out = { 0 };
	uint8_t other[CRYPTO_KEY_BYTES];

	(void)state;
	buf_adds(&out, "kept");
	crypto_seal(key, slice_of("id"), slice_of("secret"), &sealed);
	for (size_t i = 0; i < sealed.n; i++) {
		sealed.p[i] ^= 1;
		assert_false(crypto_open(key, slice_of("id"), view(&sealed), &out));
		sealed.p[i] ^= 1;
		assert_false(crypto_open(key, slice_of("id"), (struct slice){ sealed.p, i }, &out));
	}
	assert_false(crypto_open(key, slice_of("ie"), view(&sealed), &out));
	assert_false(crypto_open(key, (struct slice){ 0 }, view(&sealed), &out));
	assert_false(crypto_open(key, slice_of("id"), (struct slice){ 0 }, &out));
	memcpy(other, key, sizeof(other));
	other[31] ^= 0x80;
	assert_false(crypto_open(other, slice_of("id"), view(&sealed), &out));

	assert_int_equal(out.n, 4);
	assert_string_equal(out.p, "kept");
	buf_free(&sealed);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_and_digest_vectors),
		cmocka_unit_test(keyring_from_text),
		cmocka_unit_test(sealed_text_opens),
		cmocka_unit_test(nothing_at_all_opens),
		cmocka_unit_test(what_was_touched_stays_shut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* snapshot: what is equal is shared, and what only looks so is not. */
#include "core/plan_cache.h"

#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct keyring *keys, *others;

/* Keys with a new credential key. */
static struct keyring *make_keys(void)
{
	char path[] = "/tmp/interlock-snapshot.XXXXXX";
	int fd = mkstemp(path);
	struct conf conf = { .credential_key = path, .credential_key_other = (char[]){ "" } };
	struct buf err = { 0 };
	uint8_t bytes[32];
	struct keyring *made;

	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		dprintf(fd, "%02x", bytes[i]);
	close(fd);
	made = keyring_load_credential(&conf, &err);
	unlink(path);
	buf_free(&err);
	return made;
}

static int set_up(void **state)
{
	(void)state;
	keys = make_keys();
	others = make_keys();
	return keys == NULL || others == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	keyring_free(keys);
	keyring_free(others);
	return 0;
}

/* As the database answers it: {"id": "sealed body"}. */
static struct buf seal(const char *body)
{
	struct buf sealed = { 0 }, out = { 0 };

	keyring_seal(keys, slice_of("c1"), slice_of(body), &sealed);
	buf_adds(&out, "{\"c1\":\"");
	for (size_t i = 0; i < sealed.n; i++)
		buf_addf(&out, "%02x", (unsigned char)sealed.p[i]);
	buf_adds(&out, "\"}");
	buf_free(&sealed);
	return out;
}

static const struct cached_plan *hold(struct keyring *with, const char *plan, const struct buf *b)
{
	return plan_cache_get(uv_default_loop(), with, slice_of(plan),
		b != NULL ? (struct slice){ b->p, b->n } : (struct slice){ 0 });
}

static bool hides(const struct cached_plan *s, const char *text)
{
	struct buf out = { 0 };
	bool hidden = scrubber_apply(s->scrub, slice_of(text), &out);

	buf_free(&out);
	return hidden;
}

static void test_equal_ones_are_one(void **state)
{
	struct buf secret = seal("{\"password\":\"hunter22\"}");
	const struct cached_plan *a = hold(keys, "\"jobs\":[1]", &secret);
	const struct cached_plan *b = hold(keys, "\"jobs\":[1]", &secret);

	(void)state;
	assert_ptr_equal(a, b);
	plan_cache_release(a);
	assert_string_equal(b->plan, "\"jobs\":[1]");
	assert_true(hides(b, "hunter22"));
	plan_cache_release(b);
	buf_free(&secret);
}

static void test_others_are_others(void **state)
{
	struct buf secret = seal("{\"password\":\"hunter22\"}");
	struct buf changed = seal("{\"password\":\"hunter23\"}");
	const struct cached_plan *all[] = {
		hold(keys, "\"jobs\":[1]", &secret),
		hold(keys, "\"jobs\":[2]", &secret),
		hold(keys, "\"jobs\":[1]", &changed),
		hold(keys, "\"jobs\":[1]", NULL),
	};

	(void)state;
	for (size_t i = 0; i < countof(all); i++)
		for (size_t j = 0; j < i; j++)
			assert_ptr_not_equal(all[i], all[j]);
	assert_string_equal(all[1]->plan, "\"jobs\":[2]");
	assert_false(hides(all[2], "hunter22"));
	assert_true(hides(all[2], "hunter23"));
	assert_null(all[3]->scrub);
	for (size_t i = 0; i < countof(all); i++)
		plan_cache_release(all[i]);
	plan_cache_release(NULL);
	buf_free(&secret);
	buf_free(&changed);
}

/* The keys were reloaded between two joins: the second one must know the secrets. */
static void test_what_did_not_open_is_not_shared(void **state)
{
	struct buf secret = seal("{\"password\":\"hunter22\"}");
	const struct cached_plan *closed = hold(others, "\"jobs\":[1]", &secret);
	const struct cached_plan *open = hold(keys, "\"jobs\":[1]", &secret);

	(void)state;
	assert_ptr_not_equal(open, closed);
	assert_false(hides(closed, "hunter22"));
	assert_true(hides(open, "hunter22"));
	plan_cache_release(closed);
	plan_cache_release(open);
	buf_free(&secret);
}

/* A credential was changed while its run went on. */
static void test_more_secrets(void **state)
{
	struct buf secret = seal("{\"password\":\"hunter22\"}");
	const struct cached_plan *a = hold(keys, "\"jobs\":[1]", &secret);
	const struct cached_plan *b = hold(keys, "\"jobs\":[1]", &secret), *before = a;

	(void)state;
	assert_true(plan_cache_extend(&a, slice_of("{\"password\":\"hunter22\"}")));
	assert_ptr_equal(a, before);
	assert_true(plan_cache_extend(&a, slice_of("{\"password\":\"hunter23\"}")));
	assert_ptr_not_equal(a, before);
	assert_string_equal(a->plan, "\"jobs\":[1]");
	assert_true(hides(a, "hunter22") && hides(a, "hunter23"));
	assert_false(hides(b, "hunter23"));
	/* Who fetches the same has the same, and a second fetch changes nothing. */
	assert_true(plan_cache_extend(&b, slice_of("{\"password\":\"hunter23\"}")));
	assert_ptr_equal(a, b);
	assert_true(plan_cache_extend(&b, slice_of("{\"password\":\"hunter23\"}")));
	assert_ptr_equal(a, b);
	assert_false(plan_cache_extend(&b, slice_of("no JSON")));
	assert_ptr_equal(a, b);
	plan_cache_release(a);
	assert_ptr_equal(plan_cache_keep(b), b);
	plan_cache_release(b);
	assert_true(hides(b, "hunter23"));
	plan_cache_release(b);
	buf_free(&secret);
}

/* There was no credential at the join. */
static void test_first_secret(void **state)
{
	const struct cached_plan *a = hold(keys, "\"jobs\":[1]", NULL);

	(void)state;
	assert_true(plan_cache_extend(&a, slice_of("{\"password\":\"hunter22\"}")));
	assert_true(hides(a, "hunter22"));
	plan_cache_release(a);
}

static void test_what_is_too_large_is_not_opened(void **state)
{
	struct buf none = { 0 }, body = { 0 }, why = { 0 };
	const struct cached_plan *a;

	(void)state;
	buf_adds(&none, "{\"c1\":null}");
	a = hold(keys, "\"jobs\":[1]", &none);
	assert_false(
		plan_cache_open_credential(keys, slice_of("c1"), (struct slice){ 0 }, &body, &why));
	assert_non_null(strstr(why.p, "c1 is not handed out"));
	assert_false(hides(a, "hunter22"));
	plan_cache_release(a);
	buf_free(&why);
	buf_free(&none);
}

static int calls;

static void on_ready(struct plan_cache_wait *wait)
{
	(void)wait;
	calls++;
}

/* It is read in a thread, once for all who want it, with the keys of when it began. */
static void test_large_ones_are_awaited(void **state)
{
	struct plan_cache_wait waits[3] = { { on_ready }, { on_ready }, { on_ready } };
	struct buf body = { 0 }, secret;
	const struct cached_plan *a, *b, *gone;

	(void)state;
	buf_adds(&body, "[\"hunter22\",\"");
	while (body.n < 100000)
		buf_adds(&body, "some more words ");
	buf_adds(&body, "\"]");
	secret = seal(body.p);
	a = hold(keys, "\"jobs\":[1]", &secret);
	b = hold(keys, "\"jobs\":[1]", &secret);
	gone = hold(others, "\"jobs\":[1]", &secret);
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, gone);
	assert_false(plan_cache_await(a, &waits[0]));
	assert_false(plan_cache_await(b, &waits[1]));
	assert_false(plan_cache_await(gone, &waits[2]));
	plan_cache_release(gone); /* its channel went */
	assert_int_equal(plan_cache_open_jobs(), 2);
	assert_int_equal(calls, 0);
	assert_int_equal(uv_run(uv_default_loop(), UV_RUN_DEFAULT), 0);
	assert_int_equal(calls, 3);
	assert_int_equal(plan_cache_open_jobs(), 0);
	assert_true(plan_cache_await(a, &waits[0]));
	assert_true(hides(a, "hunter22"));
	plan_cache_release(a);
	plan_cache_release(b);
	buf_free(&body);
	buf_free(&secret);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_ones_are_one),
		cmocka_unit_test(test_others_are_others),
		cmocka_unit_test(test_what_did_not_open_is_not_shared),
		cmocka_unit_test(test_large_ones_are_awaited),
		cmocka_unit_test(test_more_secrets),
		cmocka_unit_test(test_first_secret),
		cmocka_unit_test(test_what_is_too_large_is_not_opened),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

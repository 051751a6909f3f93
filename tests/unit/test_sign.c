/* sign: jobs on the pool, all of one key at once. */
#include "lib/signer.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

enum { JOBS = 24, TOKENS = 5 };

static struct jwt_key *key;
static int ended;

static int make_key(void **state)
{
	struct buf pem = { 0 }, err = { 0 };

	(void)state;
	jwt_make_pair(&pem);
	key = jwt_key_pair(pem.p, pem.n, &err);
	buf_free(&pem);
	return key == NULL;
}

static int free_key(void **state)
{
	(void)state;
	jwt_key_free(key);
	return 0;
}

static void on_done(struct signer_job *job)
{
	(void)job;
	ended++;
}

static void run(uv_loop_t *loop)
{
	assert_int_equal(uv_run(loop, UV_RUN_DEFAULT), 0);
}

static void begin(struct signer_job *job, int number)
{
	*job = (struct signer_job){ .key = key, .n = TOKENS, .done = on_done };
	job->tokens = xcalloc(TOKENS, sizeof(*job->tokens));
	for (int i = 0; i < TOKENS; i++)
		job->tokens[i].claims = json_pack("{s:i, s:i}", "job", number, "token", i);
}

static void check(const struct signer_job *job, int number)
{
	for (int i = 0; i < TOKENS; i++) {
		const struct buf *text = &job->tokens[i].text;
		const char *why;
		json_t *claims = jwt_verify(key, (struct slice){ text->p, text->n }, 0, 0, &why);

		assert_non_null(claims);
		assert_true(json_equal(claims, job->tokens[i].claims));
		assert_int_equal(json_integer_value(json_object_get(claims, "job")), number);
		json_decref(claims);
	}
}

static void end(struct signer_job *job)
{
	for (int i = 0; i < TOKENS; i++) {
		json_decref(job->tokens[i].claims);
		buf_free(&job->tokens[i].text);
	}
	free(job->tokens);
}

static void test_many_at_once(void **state)
{
	static struct signer_job jobs[JOBS];
	uv_loop_t loop;

	(void)state;
	uv_loop_init(&loop);
	ended = 0;
	for (int i = 0; i < JOBS; i++) {
		begin(&jobs[i], i);
		signer_start(&loop, &jobs[i]);
	}
	assert_int_equal(signer_open_jobs(), JOBS);
	assert_int_equal(ended, 0);
	run(&loop);
	assert_int_equal(ended, JOBS);
	assert_int_equal(signer_open_jobs(), 0);
	for (int i = 0; i < JOBS; i++) {
		check(&jobs[i], i);
		end(&jobs[i]);
	}
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_at_once),
	};

	return cmocka_run_group_tests(tests, make_key, free_key);
}

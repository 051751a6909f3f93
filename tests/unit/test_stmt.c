/*
 * stmt: the embedded statements, filled in and described.
 */
#include "core/stmt.h"

#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* From PostgreSQL's catalog pg_type. */
enum { BOOL = 16, INT8 = 20, INT4 = 23, TEXT = 25, TIMESTAMPTZ = 1184, UUID = 2950 };

static void everything_is_filled_in(void **state)
{
	size_t n;
	const struct db_stmt *all = stmt_all(&n);

	(void)state;
	assert_true(n > 10);
	for (size_t i = 0; i < n; i++) {
		if (strstr(all[i].sql, "{{") != NULL || strstr(all[i].sql, "}}") != NULL)
			fail_msg("%s: %s", all[i].name, all[i].sql);
		assert_ptr_equal(stmt_get(all[i].name)->sql, all[i].sql);
	}
}

static void guards_come_from_the_state_machine(void **state)
{
	const struct stmt *start = stmt_get("run_start"), *claim = stmt_get("claim");

	(void)state;
	assert_non_null(strstr(claim->sql, "r.state IN ('available')"));
	assert_non_null(strstr(start->sql, "r.state IN ('claimed')"));
	assert_non_null(strstr(start->sql, "THEN 'already_started'"));
	assert_non_null(strstr(start->sql, "'run:start'"));
	assert_null(strstr(start->sql, "'step:start'"));
}

static void expect_types(const char *name, const uint32_t *types, int columns, int scalars)
{
	const struct stmt *s = stmt_get(name);

	assert_int_equal(s->columns, columns);
	assert_int_equal(s->scalars, scalars);
	for (int i = 0; i < columns; i++)
		if (s->types[i] != types[i])
			fail_msg("%s: $%d is %u", name, i + 1, s->types[i]);
}

static void parameters_are_read_off_their_casts(void **state)
{
	static const uint32_t claim[] = { INT4, TEXT }, lock[] = { UUID, UUID },
			      start[] = { UUID, UUID, INT4, UUID, TEXT, INT8, BOOL, TEXT, TEXT,
				      TIMESTAMPTZ, TEXT };

	(void)state;
	expect_types("claim", claim, 2, 4);
	expect_types("lock", lock, 2, 0);
	expect_types("run_start", start, 11, 0);
	expect_types("waiting_count", NULL, 0, 1);
	expect_types("schema_version", NULL, 0, 0);
}

static void messages_begin_alike(void **state)
{
	static const char *const names[] = { "run_start", "run_complete", "step_start",
		"step_complete" };
	static const uint32_t common[] = { UUID, UUID, INT4, UUID, TEXT, INT8, BOOL, TEXT, TEXT };

	(void)state;
	for (size_t i = 0; i < countof(names); i++)
		assert_memory_equal(stmt_get(names[i])->types, common, sizeof(common));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_filled_in),
		cmocka_unit_test(guards_come_from_the_state_machine),
		cmocka_unit_test(parameters_are_read_off_their_casts),
		cmocka_unit_test(messages_begin_alike),
	};

	return cmocka_run_group_tests_name("stmt", tests, NULL, NULL);
}

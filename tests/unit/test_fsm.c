/*
 * fsm: the table of moves against a second copy of it, written by hand; and what is derived from
 * it.
 */
#include "core/fsm.h"

#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* From each state, the states that a run can go to. */
static const char *const reachable[RUN_STATES] = {
	[RUN_AVAILABLE] = "claimed cancelled ",
	[RUN_CLAIMED] = "available started success failed crashed cancelled killed exception lost ",
	[RUN_STARTED] = "success failed crashed cancelled killed exception lost ",
	[RUN_SUCCESS] = "",
	[RUN_FAILED] = "",
	[RUN_CRASHED] = "",
	[RUN_CANCELLED] = "",
	[RUN_KILLED] = "",
	[RUN_EXCEPTION] = "",
	[RUN_LOST] = "claimed started success failed crashed cancelled killed exception ",
};

static const char *const names[RUN_STATES] = { "available", "claimed", "started", "success",
	"failed", "crashed", "cancelled", "killed", "exception", "lost" };

/* May a run go from one state to the other, by any event? Staying is not going. */
static bool leads(enum run_state from, enum run_state to)
{
	for (size_t i = 0; i < fsm_nmoves; i++)
		if (from != to && fsm_moves[i].from & 1u << from && fsm_moves[i].to & 1u << to)
			return true;
	return false;
}

static void moves(void **state)
{
	(void)state;
	for (enum run_state from = 0; from < RUN_STATES; from++) {
		struct buf b = { 0 };

		buf_adds(&b, "");
		for (enum run_state to = 0; to < RUN_STATES; to++)
			if (leads(from, to))
				buf_addf(&b, "%s ", names[to]);
		if (strcmp(b.n > 0 ? b.p : "", reachable[from]) != 0)
			fail_msg("from %s: %s", names[from], b.p);
		buf_free(&b);
	}
}

static void every_move_has_a_sentence(void **state)
{
	(void)state;
	for (size_t i = 0; i < fsm_nmoves; i++) {
		assert_true(fsm_moves[i].from != 0 && fsm_moves[i].to != 0);
		assert_true(strlen(fsm_moves[i].sentence) > 5);
		assert_true(fsm_moves[i].by < RUN_EVENTS);
	}
}

static void reasons(void **state)
{
	static const char *const table[][2] = { { "success", "success" }, { "ok", "success" },
		{ "fail", "failed" }, { "crash", "crashed" }, { "cancel", "cancelled" },
		{ "kill", "killed" }, { "exception", "exception" }, { "lost", NULL },
		{ "failed", NULL }, { "Success", NULL }, { "success ", NULL }, { "", NULL } };

	(void)state;
	for (size_t i = 0; i < countof(table); i++) {
		const char *got = fsm_state_of_reason(slice_of(table[i][0]));

		if (table[i][1] == NULL)
			assert_null(got);
		else
			assert_string_equal(got, table[i][1]);
	}
	assert_null(fsm_state_of_reason((struct slice){ 0 }));
}

static void expect_sql(bool (*sql)(const char *, struct buf *), const char *event, const char *text)
{
	struct buf b = { 0 };

	assert_true(sql(event, &b));
	assert_string_equal(b.p, text);
	buf_free(&b);
}

static void guards(void **state)
{
	struct buf b = { 0 };

	(void)state;
	expect_sql(fsm_sql_from, "claim", "'available'");
	expect_sql(fsm_sql_from, "run:start", "'claimed'");
	expect_sql(fsm_sql_from, "step:start", "'claimed', 'started'");
	expect_sql(fsm_sql_from, "run:complete", "'claimed', 'started'");
	expect_sql(fsm_sql_from, "phx_join", "'lost'");
	assert_false(fsm_sql_from("run:dance", &b));
	buf_free(&b);
}

static void refusals(void **state)
{
	struct buf b = { 0 };

	(void)state;
	expect_sql(fsm_sql_refusal, "run:start",
		"CASE WHEN state IN ('available') THEN 'not_claimed' WHEN state IN ('started') "
		"THEN "
		"'already_started' WHEN state IN ('success', 'failed', 'crashed', 'cancelled', "
		"'killed', 'exception', 'lost') THEN 'already_final' END");
	expect_sql(fsm_sql_refusal, "run:complete",
		"CASE WHEN state IN ('available') THEN 'not_claimed' WHEN state IN ('success', "
		"'failed', 'crashed', 'cancelled', 'killed', 'exception', 'lost') THEN "
		"'already_final' END");
	assert_false(fsm_sql_refusal("run:dance", &b));
	buf_free(&b);
}

static void outcomes(void **state)
{
	struct buf b = { 0 };

	(void)state;
	fsm_sql_state_of_reason(&b);
	assert_non_null(
		strstr(b.p, "CASE reason WHEN 'success' THEN 'success' WHEN 'ok' THEN 'success' "
			    "WHEN 'fail' THEN 'failed'"));
	b.n = 0;
	fsm_sql_outcomes(&b);
	assert_string_equal(
		b.p, "'accepted', 'implicit', 'replayed', 'yielded', 'too_late', 'observed'");
	assert_true(fsm_is_outcome("observed"));
	assert_false(fsm_is_outcome("already_final"));
	assert_false(fsm_is_outcome("superseded"));
	buf_free(&b);
}

static void picture(void **state)
{
	struct buf b = { 0 };

	(void)state;
	fsm_dot(&b);
	assert_ptr_equal(strstr(b.p, "digraph run {"), b.p);
	assert_non_null(strstr(b.p, "available -> claimed [label=\"claim\\n"));
	assert_non_null(strstr(b.p, "lost -> finished [label=\"late run:complete\\n"));
	assert_null(strstr(b.p, "started -> started"));
	assert_string_equal(b.p + b.n - 2, "}\n");
	b.n = 0;
	fsm_mermaid(&b);
	assert_ptr_equal(strstr(b.p, "flowchart LR\n"), b.p);
	assert_non_null(strstr(b.p, "\tclaimed -->|\"run:start<br>step:start\"| started\n"));
	assert_non_null(strstr(b.p, "\tavailable -->|\"cancel\"| finished\n"));
	assert_null(strstr(b.p, "started -->|\"step"));
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves),
		cmocka_unit_test(every_move_has_a_sentence),
		cmocka_unit_test(reasons),
		cmocka_unit_test(guards),
		cmocka_unit_test(refusals),
		cmocka_unit_test(outcomes),
		cmocka_unit_test(picture),
	};

	return cmocka_run_group_tests_name("fsm", tests, NULL, NULL);
}

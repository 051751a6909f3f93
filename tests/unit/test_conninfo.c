/*
 * What names a database: what is taken, and that no password is printed or left to libpq to quote.
 */
#include "lib/conninfo.h"

#include <setjmp.h>

#include <cmocka.h>

static void passwords_are_hidden(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "postgresql://u:hunter2@h/db", "user=u password=*** dbname=db host=h" },
		{ "postgres://u:hunter2:x@a:1,b:2/db",
			"user=u password=*** dbname=db host=a,b port=1,2" },
		{ "postgres://u@h:5432/db", "user=u dbname=db host=h port=5432" },
		{ "postgres://h/db?password=hunter2&user=u",
			"user=u password=*** dbname=db host=h" },
		{ "postgres://h/db?p%61ssword=hunter2", "password=*** dbname=db host=h" },
		{ "postgres://u:hunter2@h/db?sslpassword='''hunter2",
			"user=u password=*** dbname=db host=h sslpassword=***" },
		{ "postgres://h/db?application_name=it's%20%5C%20me",
			"dbname=db host=h application_name='it\\'s \\\\ me'" },
		{ "host=h password=hunter2& user=u", "user=u password=*** host=h" },
		{ "password\v=\rhunter2\nuser=u", "user=u password=***" },
		{ "password='a \\' hunter2' user=''", "user='' password=***" },
		{ "user=password host=h", "user=password host=h" },
		{ "host=h", "host=h" },
		{ "", "" },
		{ "password='hunter2", "" },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct buf out = { 0 };

		conninfo_print(&out, cases[i][0]);
		assert_string_equal(out.n > 0 ? out.p : "", cases[i][1]);
		buf_free(&out);
	}
}

static void what_libpq_takes_is_taken(void **state)
{
	(void)state;
	static const char *const sound[] = {
		"host=h",
		"host=a,b port=1,2 password='an @ / : in it' connect_timeout=5",
		"host=a,b,c port=,5433,",
		"host=/run/an@odd/folder",
		"host=@abstract,h",
		"postgresql://",
		"postgresql:///db?host=/run/postgresql",
		"postgres://u:hunter2@h/db",
		"postgres://u:hunter2:x@a:1,b:2/db",
		"postgres://u:h%75nter2%40%2f@%2Frun%2Fpostgresql:5433/db?application_name=a@b",
		"postgresql://u:hunter2@[::1]:5432/db",
		"postgres://h/db?user=u&password=hunter2",
		"postgres://h/db?user=u&p%61ssword=hunter%0a2",
	};

	for (size_t i = 0; i < countof(sound); i++)
		if (!conninfo_is_sound(sound[i]))
			fail_msg("refused: %s", sound[i]);
}

/* libpq would say "hunter" of each of these, now or when it does not find the host, the port or the
 * database that it takes it for. */
static void what_it_would_quote_is_not(void **state)
{
	(void)state;
	static const char *const unsound[] = {
		"hunter2",
		"host=h password=my hunter2",
		"host=h password=my hunter2=x",
		"host=h password='it''s hunter2'",
		"host=h hunter2=password",
		"postgres://u:hunter%2@h/db",
		"postgres://u:hunter%00@h/db",
		"postgres://u:hunter2@[::1]x/db",
		"postgres://u:hunter2@[::1/db",
		"postgres://u:my@hunter2@h/db",
		"postgres://u:hunter/2@h/db",
		"postgres://u:12/hunter@h/db",
		"postgres://u:12/3?hunter@h/db",
		"postgres://u:hunter?2/@h/db",
		"postgres://u:my?x@hunter2@h/db",
		"host=my@hunter2",
		"host=h,my@hunter2",
		"port=hunter2",
		"port=5432,65536",
		"port=0",
		"port=+1",
		"postgres://h/hunter%0a2",
	};

	for (size_t i = 0; i < countof(unsound); i++)
		if (conninfo_is_sound(unsound[i]))
			fail_msg("taken: %s", unsound[i]);
}

/* What is printed is accepted again, so its length decides: a quote is printed as two characters.
 */
static void too_long_is_what_is_too_long_when_printed(void **state)
{
	(void)state;
	char text[3000] = "postgres://h/db?application_name=";

	memset(text + strlen(text), 'x', 2900 - strlen(text));
	assert_true(conninfo_is_sound(text));
	memset(text + 100, '\'', 2800);
	assert_false(conninfo_is_sound(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passwords_are_hidden),
		cmocka_unit_test(what_libpq_takes_is_taken),
		cmocka_unit_test(what_it_would_quote_is_not),
		cmocka_unit_test(too_long_is_what_is_too_long_when_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What names a database: a password that libpq would find in it is not printed.
 */
#include "conninfo.h"

#include "fuzz.h"

#include <libpq-fe.h>

/* Shorter ones may be found by chance. */
enum { SECRET = 6 };

static bool is_password(const PQconninfoOption *o)
{
	return strcmp(o->keyword, "password") == 0 || strcmp(o->keyword, "sslpassword") == 0;
}

static size_t times(const char *text, const char *word)
{
	size_t n = 0;

	for (; (text = strstr(text, word)) != NULL; text++)
		n++;
	return n;
}

/* The same word may also be a host's name: then it is printed, but less often than it was there. Or
 * a part of what is always printed. */
static void check_hidden(const char *text, const char *printed, const char *password)
{
	bool chance = strlen(password) < SECRET || strstr("sslpassword=***", password) != NULL;
	size_t n = chance ? 0 : times(printed, password);

	require(n == 0 || n < times(text, password), "a password is printed");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct slice input = { (const char *)data, n };
	char *text = next_line(&input);
	struct buf out = { 0 };

	conninfo_print(&out, text);
	require(out.n == 0 || memchr(out.p, '\0', out.n) == NULL, "more than text");
	if (conninfo_is_sound(text)) {
		PQconninfoOption *options = PQconninfoParse(text, NULL);

		buf_addc(&out, '\0');
		for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
			if (is_password(o) && o->val != NULL)
				check_hidden(text, out.p, o->val);
		PQconninfoFree(options);
	}
	buf_free(&out);
	free(text);
	return 0;
}

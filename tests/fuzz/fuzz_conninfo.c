/*
 * What names a database: a password that libpq finds in it is not printed.
 */
#include "lib/conninfo.h"

#include "fuzz.h"

#include <libpq-fe.h>

/* What stands once in the text, and in a password, is not printed. */
static const char marker[] = "hunter2";

static bool is_password(const PQconninfoOption *o)
{
	return strcmp(o->keyword, "password") == 0 || strcmp(o->keyword, "sslpassword") == 0;
}

static bool stands_once(const char *text)
{
	const char *at = strstr(text, marker);

	return at != NULL && strstr(at + 1, marker) == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct slice input = { (const char *)data, n };
	char *text = next_line(&input);
	struct buf out = { 0 };

	conninfo_print(&out, text);
	require(out.n == 0 || memchr(out.p, '\0', out.n) == NULL, "more than text");
	if (stands_once(text) && conninfo_is_sound(text)) {
		PQconninfoOption *options = PQconninfoParse(text, NULL);

		buf_addc(&out, '\0');
		for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
			if (is_password(o) && o->val != NULL && strstr(o->val, marker))
				require(strstr(out.p, marker) == NULL, "a password is printed");
		PQconninfoFree(options);
	}
	buf_free(&out);
	free(text);
	return 0;
}

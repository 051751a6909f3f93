/*
 * conninfo: connection strings (conninfo.h). libpq parses them, also for printing, so that both
 * agree on what is a password. Its error messages quote the text and are not used. It accepts more
 * than was meant: in a URL whose password has a / or an @ that is not written as %XX, the rest of
 * the password is read as a port, a host or a database, and libpq would name it when it does not
 * find it.
 */
#include "lib/conninfo.h"

#include <libpq-fe.h>
#include <stdlib.h>

/* The scheme's end if it is a URL, as libpq sees it; NULL: keywords. */
static const char *after_scheme(const char *text)
{
	static const char *const schemes[] = { "postgresql://", "postgres://" };

	for (size_t i = 0; i < countof(schemes); i++)
		if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
			return text + strlen(schemes[i]);
	return NULL;
}

/* In a URL one @ stands before the host, and none behind a slash. */
static bool is_url_sound(const char *rest)
{
	size_t n = strcspn(rest, "?");
	const char *slash = memchr(rest, '/', n), *at = memchr(rest, '@', n);

	if (at == NULL)
		return true;
	return (slash == NULL || at < slash) &&
	       memchr(at + 1, '@', n - (size_t)(at + 1 - rest)) == NULL;
}

/* Numbers, or nothing, between commas. */
static bool are_ports(const char *text)
{
	char *end;

	for (;; text = end + 1) {
		unsigned long port = strtoul(text, &end, 10);
		size_t n = strspn(text, "0123456789");

		if (text + n != end || (n > 0 && (port < 1 || port > UINT16_MAX)))
			return false;
		if (*end != ',')
			return *end == '\0';
	}
}

/* No host's name has an @ in it; a socket's path or its abstract name may. */
static bool are_hosts(const char *text)
{
	for (;; text++) {
		size_t n = strcspn(text, ",");

		if (*text != '/' && *text != '@' && memchr(text, '@', n) != NULL)
			return false;
		text += n;
		if (*text == '\0')
			return true;
	}
}

static bool is_secret(const PQconninfoOption *o)
{
	return *o->dispchar == '*';
}

static bool is_value_sound(const PQconninfoOption *o)
{
	if (strcmp(o->keyword, "port") == 0)
		return are_ports(o->val);
	if (strcmp(o->keyword, "host") == 0 && !are_hosts(o->val))
		return false;
	return is_secret(o) || strpbrk(o->val, "\r\n") == NULL;
}

/* As a keyword's value: in quotes if it has to be. */
static void print_value(struct buf *out, const char *value)
{
	if (*value != '\0' && strpbrk(value, "\\' \t\n\v\f\r") == NULL) {
		buf_adds(out, value);
		return;
	}
	buf_addc(out, '\'');
	for (; *value != '\0'; value++) {
		if (*value == '\\' || *value == '\'')
			buf_addc(out, '\\');
		buf_addc(out, *value);
	}
	buf_addc(out, '\'');
}

void conninfo_print(struct buf *out, const char *text)
{
	PQconninfoOption *options = PQconninfoParse(text, NULL);
	const char *separator = "";

	for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
		if (o->val == NULL)
			continue;
		buf_addf(out, "%s%s=", separator, o->keyword);
		print_value(out, is_secret(o) ? "***" : o->val);
		separator = " ";
	}
	PQconninfoFree(options);
}

static size_t printed_length(const char *text)
{
	struct buf out = { 0 };

	conninfo_print(&out, text);
	size_t n = out.n;
	buf_free(&out);
	return n;
}

bool conninfo_is_sound(const char *text)
{
	const char *rest = after_scheme(text);
	PQconninfoOption *options = PQconninfoParse(text, NULL);
	bool sound = options != NULL && (rest == NULL || is_url_sound(rest));

	for (const PQconninfoOption *o = options; sound && o->keyword != NULL; o++)
		sound = o->val == NULL || is_value_sound(o);
	PQconninfoFree(options);
	return sound && printed_length(text) <= CONNINFO_MAX;
}

/*
 * conninfo: what names a database (conninfo.h). libpq decides what is one; its sentences about what
 * is none quote it, and are not asked for. It also takes what no one means: a password with a / or
 * an @ in a URL, where they end something, has its rest read as a port, a host or a database, which
 * libpq would name when it does not find them.
 */
#include "lib/conninfo.h"

#include <libpq-fe.h>
#include <stdlib.h>

/* As libpq's isspace. */
static const char blanks[] = " \t\n\v\f\r";

/* The scheme's end if it is a URL, as libpq sees it; NULL: keywords. */
static const char *after_scheme(const char *text)
{
	static const char *const schemes[] = { "postgresql://", "postgres://" };

	for (size_t i = 0; i < countof(schemes); i++)
		if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
			return text + strlen(schemes[i]);
	return NULL;
}

/* libpq decodes the names of a URL's parameters too; conninfo_print would miss a password there. */
static bool are_names_plain(const char *query)
{
	while (*query != '\0') {
		size_t n = strcspn(++query, "=&");

		if (memchr(query, '%', n) != NULL)
			return false;
		query += strcspn(query, "&");
	}
	return true;
}

/* In a URL one @ stands before the host, and none behind a slash. */
static bool is_url_sound(const char *rest)
{
	size_t n = strcspn(rest, "?");
	const char *slash = memchr(rest, '/', n), *at = memchr(rest, '@', n);

	if (!are_names_plain(rest + n))
		return false;
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

bool conninfo_is_sound(const char *text)
{
	const char *rest = after_scheme(text);
	PQconninfoOption *options = PQconninfoParse(text, NULL);
	bool sound = options != NULL && (rest == NULL || is_url_sound(rest));

	for (const PQconninfoOption *o = options; sound && o->keyword != NULL; o++) {
		if (o->val != NULL && strcmp(o->keyword, "port") == 0)
			sound = are_ports(o->val);
		if (o->val != NULL && strcmp(o->keyword, "host") == 0)
			sound = are_hosts(o->val);
	}
	PQconninfoFree(options);
	return sound;
}

/* The @ behind user:password in a URL, NULL if there is none: the last one before the parameters,
 * in whose values others may stand; or in a password that has a ? in it. */
static const char *find_at(const char *rest)
{
	const char *at = memrchr(rest, '@', strcspn(rest, "?"));

	return at ? at : memrchr(rest, '@', strcspn(rest, "/"));
}

/* Those of user:password@ in a URL, and of any key that ends in "password". */
void conninfo_print(struct buf *out, const char *url)
{
	const char *rest = after_scheme(url);
	const char *at = rest ? find_at(rest) : NULL;
	const char *colon = at ? memchr(rest, ':', (size_t)(at - rest)) : NULL;
	const char *key;

	if (colon) {
		buf_add(out, url, (size_t)(colon + 1 - url));
		buf_adds(out, "***");
		url = at;
	}
	while ((key = strstr(url, "password"))) {
		const char *end = rest ? "&" : blanks;
		const char *value = key + strlen("password");
		value += strspn(value, blanks);
		bool given = *value == '=';
		if (given)
			value += 1 + strspn(value + 1, blanks);
		if (given && *value == '\'') {
			end = "'";
			value++;
		}
		buf_add(out, url, (size_t)(value - url));
		buf_adds(out, given ? "***" : "");
		const char *from = value;
		while (given && *value && !strchr(end, *value))
			value += *value == '\\' && value[1] ? 2 : 1;
		/* Another key's value may end in "password=", and this is a key: nothing more is
		 * shown. */
		if (given && end == blanks && memchr(from, '=', (size_t)(value - from)))
			return;
		url = value;
	}
	buf_adds(out, url);
}

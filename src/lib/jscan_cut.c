/*
 * jscan_cut: the ends of an object (jscan_cut.h). Invariant: a string is only taken where both of
 * its quotes are seen. Backwards, a quote with an even number of backslashes before it is the one
 * that opens the string: one inside would be escaped.
 */
#include "lib/jscan_cut.h"

#include "lib/jscan.h"

struct slice jscan_cut_head(struct slice text)
{
	const char *end = text.p + text.n, *c = jscan_skip_space(text.p, end), *begin, *last;
	struct slice key, value;

	if (c == end || *c != '{')
		return (struct slice){ 0 };
	begin = last = ++c;
	while (jscan_value(&c, end, &key) == JSCAN_OK && jscan_type(key) == JSCAN_STRING) {
		c = jscan_skip_space(c, end);
		if (c == end || *c++ != ':' || jscan_value(&c, end, &value) != JSCAN_OK)
			break;
		c = jscan_skip_space(c, end);
		if (c == end || *c != ',')
			break;
		last = c++;
	}
	return (struct slice){ begin, (size_t)(last - begin) };
}

/* Moves *end before the white space that it stands behind. */
static char last_before(const char *begin, const char **end)
{
	while (*end > begin && strchr(" \t\r\n", (*end)[-1]) != NULL && (*end)[-1] != '\0')
		(*end)--;
	return *end > begin ? (*end)[-1] : '\0';
}

/* Moves *end, behind a closing quote, to the opening one; false if that is not there, or may not be
 * one. */
static bool string_before(const char *begin, const char **end)
{
	const char *c = *end - 1, *escape;

	while (--c >= begin) {
		if (*c != '"')
			continue;
		for (escape = c; escape > begin && escape[-1] == '\\'; escape--)
			;
		if (escape == begin)
			return false;
		if ((c - escape) % 2 == 0) {
			*end = c;
			return true;
		}
		c = escape;
	}
	return false;
}

static bool is_plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == 'E' || c == '.' ||
	       c == '+' || c == '-';
}

static bool scalar_before(const char *begin, const char **end)
{
	const char *c = *end;

	if (last_before(begin, &c) == '"') {
		*end = c;
		return string_before(begin, end);
	}
	*end = c;
	while (c > begin && is_plain(c[-1]))
		c--;
	if (c == *end)
		return false;
	*end = c;
	return true;
}

struct slice jscan_cut_tail(struct slice text)
{
	const char *begin = text.p, *c = text.p + text.n, *first, *key, *end;

	if (last_before(begin, &c) != '}')
		return (struct slice){ 0 };
	first = end = --c;
	while (scalar_before(begin, &c) && last_before(begin, &c) == ':') {
		c--;
		if (last_before(begin, &c) != '"' || !string_before(begin, &c))
			break;
		key = c;
		if (last_before(begin, &c) != ',')
			break;
		first = key;
		c--;
	}
	return (struct slice){ first, (size_t)(end - first) };
}

/*
 * option: the values of options: what a text means for an option, and back. A duration, a size or
 * a number is written in one way everywhere, in the file, in the table's defaults and bounds and in
 * what is printed, so that whatever is printed can be read again.
 */
#include "lib/option.h"

#include "lib/conninfo.h"
#include "lib/net.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/un.h>

/* Ascending; each is a multiple of the one before. */
struct unit {
	const char *name;
	int64_t scale;
};

static const struct unit numbers[] = { { "", 1 }, { NULL } };
static const struct unit durations[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 },
	{ "h", 3600000 }, { "d", 86400000 }, { NULL } };
static const struct unit sizes[] = { { "", 1 }, { "KiB", 1 << 10 }, { "MiB", 1 << 20 },
	{ "GiB", 1 << 30 }, { NULL } };

static const struct {
	const char *noun;
	size_t size;
	const struct unit *units;
} types[] = {
	[OPTION_STRING] = { "text", sizeof(char *) },
	[OPTION_URL] = { "a URL or keywords as psql takes them, at most 4000 bytes (in a URL an "
			 "odd "
			 "character of a password is %XX)",
		sizeof(char *) },
	[OPTION_ADDRESSES] = { "addresses like 127.0.0.1:4000 [::1]:4000 unix:/path",
		sizeof(char *) },
	[OPTION_NETWORKS] = { "addresses and networks like 127.0.0.1 10.0.0.0/8 ::1 unix",
		sizeof(char *) },
	[OPTION_CHOICE] = { "one of", sizeof(int) },
	[OPTION_NUMBER] = { "a number", sizeof(int64_t), numbers },
	[OPTION_DURATION] = { "a duration", sizeof(int64_t), durations },
	[OPTION_SIZE] = { "a size", sizeof(int64_t), sizes },
};

/* Digits and a unit; a zero needs none. */
static bool parse_scaled(const char *s, const struct unit *unit, int64_t *out)
{
	const char *end = s;
	int64_t n = 0;

	for (; *end >= '0' && *end <= '9'; end++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *end - '0', &n))
			return false;
	if (end == s)
		return false;
	while (unit->name && strcmp(unit->name, end) != 0 && !(n == 0 && *end == '\0'))
		unit++;
	return unit->name && !__builtin_mul_overflow(n, unit->scale, out);
}

bool option_parse_duration(const char *s, int64_t *ms)
{
	return parse_scaled(s, durations, ms);
}

bool option_parse_size(const char *s, int64_t *bytes)
{
	return parse_scaled(s, sizes, bytes);
}

static void print_scaled(struct buf *out, int64_t n, const struct unit *unit)
{
	while (n != 0 && unit[1].name && n % unit[1].scale == 0)
		unit++;
	buf_addf(out, "%jd%s", (intmax_t)(n / unit->scale), n ? unit->name : "");
}

/* Cuts at the port. */
static bool is_address(char *s)
{
	unsigned char ip[sizeof(struct in6_addr)];
	int64_t port;

	if (strncmp(s, "unix:/", 6) == 0)
		return strlen(s + 5) < sizeof(((struct sockaddr_un *)NULL)->sun_path);
	char *colon = strrchr(s, ':');
	if (!colon || !parse_scaled(colon + 1, numbers, &port) || port > UINT16_MAX)
		return false;
	*colon = '\0';
	if (*s != '[')
		return inet_pton(AF_INET, s, ip) == 1;
	if (colon[-1] != ']')
		return false;
	colon[-1] = '\0';
	return inet_pton(AF_INET6, s + 1, ip) == 1;
}

static bool are_addresses(const char *text)
{
	char *copy = xstrdup(text), *rest = copy, *word;
	bool ok = copy[strspn(copy, " \t")] != '\0';

	while ((word = strsep(&rest, " \t")))
		if (*word && !is_address(word))
			ok = false;
	free(copy);
	return ok;
}

static bool in_bounds(const struct option *o, int64_t n)
{
	const struct unit *units = types[o->type].units;
	int64_t min, max;

	if (!parse_scaled(o->min, units, &min) || !parse_scaled(o->max, units, &max))
		fatalx("the bounds of [%s] %s are invalid", o->section, o->name);
	return (n >= min && n <= max) || (n == 0 && o->zero);
}

/* Nothing may stand where it stands by default. */
static bool is_valid_list(const struct option *o, const char *text)
{
	if (o->def && *o->def == '\0' && *text == '\0')
		return true;
	return o->type == OPTION_NETWORKS ? net_is_list(text) : are_addresses(text);
}

bool option_parse(const struct option *o, const char *text, void *to)
{
	int64_t n;

	switch (o->type) {
	case OPTION_ADDRESSES:
	case OPTION_NETWORKS:
		if (!is_valid_list(o, text))
			return false;
		/* fall through */
	case OPTION_STRING:
	case OPTION_URL:
		if (o->type == OPTION_URL && *text != '\0' && !conninfo_is_sound(text))
			return false;
		free(*(char **)to);
		*(char **)to = xstrdup(text);
		return true;
	case OPTION_CHOICE:
		for (int i = 0; o->words[i]; i++) {
			if (strcmp(o->words[i], text) == 0) {
				*(int *)to = i;
				return true;
			}
		}
		return false;
	default:
		if (!parse_scaled(text, types[o->type].units, &n) || !in_bounds(o, n))
			return false;
		*(int64_t *)to = n;
		return true;
	}
}

void option_print(struct buf *out, const struct option *o, const void *from)
{
	if (o->type == OPTION_URL)
		conninfo_print(out, *(char *const *)from);
	else if (o->type < OPTION_CHOICE)
		buf_adds(out, *(char *const *)from);
	else if (o->type == OPTION_CHOICE)
		buf_adds(out, o->words[*(const int *)from]);
	else
		print_scaled(out, *(const int64_t *)from, types[o->type].units);
}

bool option_same(const struct option *o, const void *a, const void *b)
{
	if (o->type < OPTION_CHOICE)
		return strcmp(*(char *const *)a, *(char *const *)b) == 0;
	return memcmp(a, b, types[o->type].size) == 0;
}

void option_swap(const struct option *o, void *a, void *b)
{
	char kept[sizeof(int64_t)];
	size_t size = types[o->type].size;

	memcpy(kept, a, size);
	memcpy(a, b, size);
	memcpy(b, kept, size);
}

void option_print_domain(struct buf *out, const struct option *o)
{
	buf_adds(out, types[o->type].noun);
	if (o->type == OPTION_CHOICE)
		for (size_t i = 0; o->words[i]; i++)
			buf_addf(out, "%s %s", i ? "," : "", o->words[i]);
	if (o->min)
		buf_addf(out, " from %s to %s", o->min, o->max);
	if (o->zero)
		buf_addf(out, ", or 0 (%s)", o->zero);
}

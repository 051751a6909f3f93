/*
 * jscan: JSON by byte ranges (jscan.h). One validator, and whatever walks a document goes through
 * it again: what it has not accepted is never looked into. What is open is kept in an array of
 * fixed size, not on the C stack: a peer's nesting costs us nothing.
 */
#include "lib/jscan.h"

/* What stands for itself inside a string. */
static const bool plain[256] = {
	[' ' ... '!'] = true,
	['#' ... '['] = true,
	[']' ... 0x7f] = true,
};

const char *jscan_skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* The length of the sequence of two to four bytes at p, 0 if it is not well-formed. The bounds on
 * the second byte exclude overlong forms, surrogates, and what lies beyond U+10FFFF. */
static size_t utf8_sequence(const char *p, const char *end)
{
	const unsigned char *u = (const unsigned char *)p;
	size_t n = u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;

	if (u[0] < 0xc2 || u[0] > 0xf4 || (size_t)(end - p) < n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] >= 0xa0) ||
		(u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] >= 0x90))
		return 0;
	return n;
}

bool utf8_valid(const char *p, size_t n)
{
	for (size_t i = 0, step; i < n; i += step) {
		step = (unsigned char)p[i] < 0x80 ? 1 : utf8_sequence(p + i, p + n);
		if (step == 0)
			return false;
	}
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The four hexadecimal digits at p as a number, or -1. */
static int hex4(const char *p, const char *end)
{
	int unit = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(p[i]);

		if (digit < 0)
			return -1;
		unit = unit << 4 | digit;
	}
	return unit;
}

/* The length of the escape at p (a backslash), 0 if there is no such escape. */
static size_t escape_length(const char *p, const char *end)
{
	if (end - p < 2)
		return 0;
	switch (p[1]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't': return 2;
	case 'u': return hex4(p + 2, end) >= 0 ? 6 : 0;
	default: return 0;
	}
}

static enum jscan_error string(const char **p, const char *end)
{
	const char *c = *p;
	size_t step;

	if (c == end || *c++ != '"')
		return JSCAN_BAD_SYNTAX;
	for (;; c += step) {
		while (c < end && plain[(unsigned char)*c])
			c++;
		if (c == end)
			return JSCAN_BAD_SYNTAX;
		if (*c == '"')
			break;
		step = *c == '\\' ? escape_length(c, end) : utf8_sequence(c, end);
		if (step == 0)
			return (unsigned char)*c < 0x80 ? JSCAN_BAD_SYNTAX : JSCAN_BAD_UTF8;
	}
	*p = c + 1;
	return JSCAN_OK;
}

/* Moves *p behind a run of digits; false if there is none. */
static bool digits(const char **p, const char *end)
{
	const char *begin = *p;

	while (*p < end && is_digit(**p))
		(*p)++;
	return *p > begin;
}

static enum jscan_error number(const char **p, const char *end)
{
	const char *c = *p;

	if (c < end && *c == '-')
		c++;
	if (c < end && *c == '0')
		c++;
	else if (!digits(&c, end))
		return JSCAN_BAD_SYNTAX;
	if (c < end && *c == '.') {
		c++;
		if (!digits(&c, end))
			return JSCAN_BAD_SYNTAX;
	}
	if (c < end && (*c == 'e' || *c == 'E')) {
		c++;
		if (c < end && (*c == '+' || *c == '-'))
			c++;
		if (!digits(&c, end))
			return JSCAN_BAD_SYNTAX;
	}
	*p = c;
	return JSCAN_OK;
}

static enum jscan_error word(const char **p, const char *end, const char *spelling)
{
	size_t n = strlen(spelling);

	if ((size_t)(end - *p) < n || memcmp(*p, spelling, n) != 0)
		return JSCAN_BAD_SYNTAX;
	*p += n;
	return JSCAN_OK;
}

static enum jscan_error scalar(const char **p, const char *end)
{
	if (*p == end)
		return JSCAN_BAD_SYNTAX;
	switch (**p) {
	case '"': return string(p, end);
	case 't': return word(p, end, "true");
	case 'f': return word(p, end, "false");
	case 'n': return word(p, end, "null");
	default: return number(p, end);
	}
}

/* A key and its colon. */
static enum jscan_error key_and_colon(const char **p, const char *end, struct slice *key)
{
	const char *begin = jscan_skip_space(*p, end), *c = begin;
	enum jscan_error error = string(&c, end);

	if (error != JSCAN_OK)
		return error;
	*key = (struct slice){ begin, (size_t)(c - begin) };
	c = jscan_skip_space(c, end);
	if (c == end || *c != ':')
		return JSCAN_BAD_SYNTAX;
	*p = c + 1;
	return JSCAN_OK;
}

enum jscan_error jscan_value(const char **p, const char *end, struct slice *out)
{
	char open[JSCAN_MAX_DEPTH]; /* the brackets that are to come, the innermost last */
	size_t depth = 0;
	const char *begin = jscan_skip_space(*p, end), *c = begin;
	enum jscan_error error;
	struct slice key;

	for (;;) {
		bool member = false;

		/* A value begins. Both closing brackets are two behind the opening ones. */
		c = jscan_skip_space(c, end);
		if (c < end && (*c == '[' || *c == '{')) {
			if (depth == JSCAN_MAX_DEPTH)
				return JSCAN_TOO_DEEP;
			open[depth++] = (char)(*c + 2);
			c = jscan_skip_space(c + 1, end);
			member = c == end || *c != open[depth - 1];
		} else if ((error = scalar(&c, end)) != JSCAN_OK) {
			return error;
		}
		/* A value ended, or one without members is about to. */
		while (!member && depth > 0) {
			c = jscan_skip_space(c, end);
			if (c == end || (*c != ',' && *c != open[depth - 1]))
				return JSCAN_BAD_SYNTAX;
			if (*c++ == ',')
				member = true;
			else
				depth--;
		}
		if (depth == 0)
			break;
		if (open[depth - 1] == '}' && (error = key_and_colon(&c, end, &key)) != JSCAN_OK)
			return error;
	}
	*out = (struct slice){ begin, (size_t)(c - begin) };
	*p = c;
	return JSCAN_OK;
}

enum jscan_error jscan_document(struct slice text, struct slice *out)
{
	const char *p = text.n > 0 ? text.p : "", *end = p + text.n;
	struct slice value;
	enum jscan_error error = jscan_value(&p, end, &value);

	if (error == JSCAN_OK && jscan_skip_space(p, end) != end)
		error = JSCAN_BAD_SYNTAX;
	if (error == JSCAN_OK)
		*out = value;
	return error;
}

enum jscan_type jscan_type(struct slice value)
{
	if (value.n == 0)
		return JSCAN_ABSENT;
	switch (value.p[0]) {
	case 'n': return JSCAN_NULL;
	case 'f': return JSCAN_FALSE;
	case 't': return JSCAN_TRUE;
	case '"': return JSCAN_STRING;
	case '[': return JSCAN_ARRAY;
	case '{': return JSCAN_OBJECT;
	default: return JSCAN_NUMBER;
	}
}

/* The cursor begins at the bracket or the comma before the next member, and always ends with the
 * closing bracket: which tells an object from an array. */
bool jscan_next(struct slice *cursor, struct slice *key, struct slice *value)
{
	const char *c, *end;

	if (cursor->n < 2)
		return false;
	c = cursor->p + 1;
	end = cursor->p + cursor->n;
	if (end[-1] != '}' && end[-1] != ']')
		return false;
	*key = (struct slice){ 0 };
	if (end[-1] == '}' && key_and_colon(&c, end, key) != JSCAN_OK)
		return false;
	if (jscan_value(&c, end, value) != JSCAN_OK)
		return false;
	c = jscan_skip_space(c, end);
	*cursor = (struct slice){ c, (size_t)(end - c) };
	return true;
}

/* Needs no stack, since the document is valid: a string is a key if a colon follows. */
bool jscan_step(struct slice *rest, struct slice *token)
{
	const char *p = rest->p, *end = p + rest->n, *begin;

	for (;;) {
		while (p < end && memchr(" \t\n\r,", *p, 5) != NULL)
			p++;
		begin = p;
		if (p == end)
			return false;
		if (memchr("[]{}", *p, 4) != NULL)
			p++;
		else if (scalar(&p, end) != JSCAN_OK)
			return false;
		*token = (struct slice){ begin, (size_t)(p - begin) };
		if (*begin != '"')
			break;
		const char *colon = jscan_skip_space(p, end);
		if (colon == end || *colon != ':')
			break;
		p = colon + 1;
	}
	*rest = (struct slice){ p, (size_t)(end - p) };
	return true;
}

struct slice jscan_member(struct slice object, const char *name)
{
	struct slice found;

	slice_pick(object, &name, 1, &found);
	return found;
}

void slice_pick(struct slice object, const char *const *names, int n, struct slice *out)
{
	struct slice key, value;

	memset(out, 0, (size_t)n * sizeof(*out));
	if (jscan_type(object) != JSCAN_OBJECT)
		return;
	while (jscan_next(&object, &key, &value))
		for (int i = 0; i < n; i++)
			if (jscan_equals(key, names[i]))
				out[i] = value;
}

/* The character that the escape at *p stands for, with *p moved behind it (behind two of them where
 * they are a surrogate pair); 0 for NUL and for half a pair. */
static uint32_t unescape(const char **p, const char *end)
{
	static const char letters[] = "bfnrt", controls[] = "\b\f\n\r\t";
	const char *c = *p, *letter;
	int unit, low;

	if (c[1] != 'u') {
		*p = c + 2;
		letter = strchr(letters, c[1]);
		return (uint32_t)(letter != NULL ? controls[letter - letters] : c[1]);
	}
	unit = hex4(c + 2, end);
	c += 6;
	*p = c;
	if (unit < 0xd800 || unit > 0xdfff)
		return (uint32_t)unit;
	if (unit > 0xdbff || end - c < 6 || c[0] != '\\' || c[1] != 'u')
		return 0;
	low = hex4(c + 2, end);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*p = c + 6;
	return 0x10000 + ((uint32_t)(unit - 0xd800) << 10 | (uint32_t)(low - 0xdc00));
}

static void add_utf8(struct buf *b, uint32_t code)
{
	/* The first bytes of sequences of one to four bytes; the others carry six bits each. */
	static const uint8_t marks[] = { 0, 0xc0, 0xe0, 0xf0 };
	int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;

	buf_addc(b, (char)(marks[more] | code >> (6 * more)));
	while (more-- > 0)
		buf_addc(b, (char)(0x80 | (code >> (6 * more) & 0x3f)));
}

bool jscan_decode(struct slice string, struct buf *b)
{
	return slice_decode_some(string, string.n, b);
}

bool slice_decode_some(struct slice string, size_t enough, struct buf *b)
{
	const char *p = string.p + 1, *end = string.p + string.n - 1;
	const size_t before = b->n;

	buf_reserve(b, enough < string.n ? enough : string.n);
	while (p < end && b->n - before < enough) {
		size_t left = enough - (b->n - before), n = (size_t)(end - p);
		const char *escape;
		uint32_t code;

		n = n < left ? n : left;
		escape = memchr(p, '\\', n);
		n = escape != NULL ? (size_t)(escape - p) : n;
		buf_add(b, p, n);
		p += n;
		if (escape == NULL)
			continue;
		code = unescape(&p, end);
		if (code == 0) {
			b->n = before;
			b->p[before] = '\0';
			return false;
		}
		add_utf8(b, code);
	}
	return true;
}

bool jscan_equals(struct slice string, const char *name)
{
	struct buf text = { 0 };
	bool same;

	/* A string has its quotes: string.p is not NULL. */
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
	if (memchr(string.p, '\\', string.n) == NULL)
		return slice_is((struct slice){ string.p + 1, string.n - 2 }, name);
	/* An escape has at most six bytes for each byte of text: a huge key is not worth a copy. */
	if (string.n - 2 > 6 * strlen(name))
		return false;
	same = jscan_decode(string, &text) && slice_is((struct slice){ text.p, text.n }, name);
	buf_free(&text);
	return same;
}

bool jscan_int(struct slice value, int64_t *out)
{
	const bool negative = value.n > 0 && value.p[0] == '-';
	int64_t sum = 0;

	if (jscan_type(value) != JSCAN_NUMBER)
		return false;
	for (size_t i = negative; i < value.n; i++) {
		int digit = value.p[i] - '0';

		if (!is_digit(value.p[i]) || __builtin_mul_overflow(sum, 10, &sum) ||
			__builtin_add_overflow(sum, negative ? -digit : digit, &sum))
			return false;
	}
	*out = sum;
	return true;
}

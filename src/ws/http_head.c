/*
 * http_head: the head of a request, and that of an answer. Invariants: what is accepted can be read
 * in one way only, by us and by any proxy before us; the text is looked at once, and never beyond
 * its end.
 */
#include "ws/http_head.h"

#include <stdlib.h>
#include <strings.h>

#define ALPHANUMERIC "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char token[] = ALPHANUMERIC "!#$%&'*+-.^_`|~";         /* RFC 9110, 5.6.2 */
static const char path_chars[] = ALPHANUMERIC "-._~!$&'()*+,;=:@/"; /* RFC 3986, 3.3 */
static const char hex[] = "0123456789abcdefABCDEF";

/* Those that must not come twice: two of them would be read in two ways. */
static const char *const single[] = { "Host", "Content-Length", "Transfer-Encoding", "Content-Type",
	"Expect", "Authorization", "X-Api-Key", "Idempotency-Key", "Sec-WebSocket-Key",
	"Sec-WebSocket-Version" };

static int refuse(const char **why, int status, const char *sentence)
{
	*why = sentence;
	return status;
}

size_t head_size(const char *p, size_t n, size_t seen)
{
	size_t from = seen > 3 ? seen - 3 : 0; /* the end may have begun in what was seen */
	const char *end = n - from >= 4 ? memmem(p + from, n - from, "\r\n\r\n", 4) : NULL;

	return end != NULL ? (size_t)(end - p) + 4 : 0;
}

/* Ends the next line of the text as a string and returns it; NULL if it holds a NUL, a CR or an LF,
 * all of which another parser could take for its end. */
static char *next_line(char **text, const char *end)
{
	char *line = *text, *cr = memchr(line, '\r', (size_t)(end - line));

	if (cr == NULL || cr + 1 == end || cr[1] != '\n')
		return NULL;
	*cr = '\0';
	*text = cr + 2;
	return strlen(line) == (size_t)(cr - line) && strchr(line, '\n') == NULL ? line : NULL;
}

/* Has the path no empty segment, and none that is "." or ".."? */
static bool is_normal(const char *path)
{
	for (const char *p = path; *p == '/'; p += 1 + strcspn(p + 1, "/")) {
		size_t n = strcspn(p + 1, "/");

		if ((n == 0 && p[1] == '/') || (n == 1 && p[1] == '.') ||
			(n == 2 && p[1] == '.' && p[2] == '.'))
			return false;
	}
	return true;
}

/* Printable, and every escape is one of a byte other than NUL. */
static bool is_query(const char *query)
{
	for (const char *p = query; *p != '\0'; p++) {
		if (*p <= ' ' || *p >= 0x7f || *p == '#')
			return false;
		if (*p == '%' && (p[1] == '\0' || strchr(hex, p[1]) == NULL || p[2] == '\0' ||
					 strchr(hex, p[2]) == NULL || memcmp(p + 1, "00", 2) == 0))
			return false;
	}
	return true;
}

static int parse_target(char *target, struct head *head, const char **why)
{
	char *query = strchr(target, '?');

	if (query != NULL)
		*query++ = '\0';
	head->path = target;
	head->query = query != NULL ? query : "";
	if (*target != '/' || target[strspn(target, path_chars)] != '\0' || !is_normal(target))
		return refuse(why, 400, "the path is not in its normal form");
	if (!is_query(head->query))
		return refuse(why, 400, "the query is not well-formed");
	return 0;
}

static int parse_request_line(char *line, struct head *head, const char **why)
{
	char *target = strchr(line, ' ');
	char *version = target != NULL ? strchr(target + 1, ' ') : NULL;

	if (version == NULL)
		return refuse(why, 400, "no request line");
	*target++ = '\0';
	*version++ = '\0';
	head->method = line;
	if (*line == '\0' || line[strspn(line, token)] != '\0')
		return refuse(why, 400, "the method is not a token");
	if (strncmp(version, "HTTP/", 5) != 0)
		return refuse(why, 400, "no request line");
	head->http_1_0 = strcmp(version, "HTTP/1.0") == 0;
	if (!head->http_1_0 && strcmp(version, "HTTP/1.1") != 0)
		return refuse(why, 505, "HTTP/1.1 is what this server speaks");
	return parse_target(target, head, why);
}

/* As it may stand in a field's value: visible, or a blank, or what is not ASCII. */
static bool is_value(const char *value)
{
	for (; *value != '\0'; value++)
		if (((unsigned char)*value < ' ' && *value != '\t') || *value == 0x7f)
			return false;
	return true;
}

static int parse_field(char *line, struct head *head, const char **why)
{
	size_t n = strspn(line, token);
	char *value = line + n + 1, *end;

	if (n == 0 || line[n] != ':')
		return refuse(why, 400, "a header field is not well-formed");
	line[n] = '\0';
	value += strspn(value, " \t");
	for (end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t'); end--)
		;
	*end = '\0';
	if (!is_value(value))
		return refuse(why, 400, "a header field is not well-formed");
	if (head->nfields == HEAD_FIELDS)
		return refuse(why, 431, "too many header fields");
	head->fields[head->nfields++] = (struct head_field){ line, value };
	return 0;
}

/* The value of a field that comes once. */
static const char *value_of(const struct head *head, const char *name)
{
	for (int i = 0; i < head->nfields; i++)
		if (strcasecmp(head->fields[i].name, name) == 0)
			return head->fields[i].value;
	return NULL;
}

static int count_of(const struct head *head, const char *name)
{
	int n = 0;

	for (int i = 0; i < head->nfields; i++)
		n += strcasecmp(head->fields[i].name, name) == 0;
	return n;
}

/* What the fields say of the body. */
static int parse_body(struct head *head, const char **why)
{
	const char *length = value_of(head, "Content-Length"), *expect = value_of(head, "Expect");

	head->length = -1;
	head->chunked = value_of(head, "Transfer-Encoding") != NULL;
	if (length != NULL) {
		size_t n = strlen(length);

		if (n == 0 || n > 18 || length[strspn(length, "0123456789")] != '\0')
			return refuse(why, 400, "the Content-Length is not a number");
		if (head->chunked)
			return refuse(why, 400, "a Content-Length and a Transfer-Encoding");
		head->length = atoll(length);
	}
	if (expect != NULL && strcasecmp(expect, "100-continue") != 0)
		return refuse(why, 417, "nothing but 100-continue can be expected");
	head->expects = expect != NULL && !head->http_1_0;
	return 0;
}

int head_parse(char *text, size_t n, struct head *head, const char **why)
{
	const char *end = text + n;
	char *line = next_line(&text, end);
	int status;

	*head = (struct head){ .method = "", .path = "", .query = "", .length = -1 };
	if (line == NULL)
		return refuse(why, 400, "no request line");
	status = parse_request_line(line, head, why);
	while (status == 0) {
		line = next_line(&text, end);
		if (line == NULL)
			return refuse(why, 400, "a header field is not well-formed");
		if (*line == '\0')
			break;
		status = parse_field(line, head, why);
	}
	if (status != 0)
		return status;
	if (text != end)
		return refuse(why, 400, "a header field is not well-formed");
	for (size_t i = 0; i < countof(single); i++)
		if (count_of(head, single[i]) > 1)
			return refuse(why, 400, "a header field comes twice");
	if (value_of(head, "Host") == NULL && !head->http_1_0)
		return refuse(why, 400, "the header field Host is missing");
	return parse_body(head, why);
}

char *head_field(const struct head *head, const char *name)
{
	struct buf b = { 0 };

	if (value_of(head, name) == NULL)
		return NULL;
	for (int i = 0, n = 0; i < head->nfields; i++)
		if (strcasecmp(head->fields[i].name, name) == 0)
			buf_addf(&b, "%s%s", n++ > 0 ? ", " : "", head->fields[i].value);
	buf_reserve(&b, 0);
	b.p[b.n] = '\0';
	return b.p;
}

bool head_has(const struct head *head, const char *name)
{
	return value_of(head, name) != NULL;
}

static bool list_has(const char *list, const char *word)
{
	for (; *list != '\0'; list += strspn(list, ", \t")) {
		size_t n = strcspn(list, ", \t");

		if (n == strlen(word) && strncasecmp(list, word, n) == 0)
			return true;
		list += n;
	}
	return false;
}

bool head_lists(const struct head *head, const char *name, const char *word)
{
	for (int i = 0; i < head->nfields; i++)
		if (strcasecmp(head->fields[i].name, name) == 0 &&
			list_has(head->fields[i].value, word))
			return true;
	return false;
}

static int digit(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* The query was checked: behind every % are two digits. */
static char *decode(const char *p, size_t n)
{
	char *text = xmalloc(n + 1), *to = text;

	for (const char *end = p + n; p < end; p++) {
		if (*p == '%') {
			*to++ = (char)(digit(p[1]) << 4 | digit(p[2]));
			p += 2;
		} else {
			*to++ = *p == '+' ? ' ' : *p;
		}
	}
	*to = '\0';
	return text;
}

char *head_parameter(const struct head *head, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = head->query; *p != '\0'; p += strspn(p, "&")) {
		size_t n = strcspn(p, "&");

		if (n > len && strncmp(p, name, len) == 0 && p[len] == '=')
			return decode(p + len + 1, n - len - 1);
		p += n;
	}
	return NULL;
}

static const char *reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {
		{ 200, "OK" },
		{ 202, "Accepted" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" },
		{ 422, "Unprocessable Content" },
		{ 426, "Upgrade Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < countof(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Status";
}

void head_answer(struct buf *b, int status, const char *content_type, const char *extra_header,
	size_t length)
{
	buf_addf(b, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", status,
		reason(status), content_type != NULL ? content_type : "text/plain", length);
	if (extra_header != NULL)
		buf_addf(b, "%s\r\n", extra_header);
	buf_adds(b, "Connection: close\r\n\r\n");
}

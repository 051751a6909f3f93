/*
 * net: who is meant by an address. Invariant: a header is believed only as far as the addresses
 * that vouch for it are trusted, from the nearest one on; an address has one spelling, so that
 * equal ones are equal as text.
 */
#include "lib/net.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>

static const char unix_peer[] = "unix";

/* An address of either family as the 16 bytes of version 6, and the leading bits that count. */
struct net {
	uint8_t b[16];
	int bits;
};

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

static bool parse_address(const char *text, struct net *out)
{
	out->bits = 128;
	memcpy(out->b, mapped, sizeof(mapped));
	return inet_pton(AF_INET, text, out->b + 12) == 1 || inet_pton(AF_INET6, text, out->b) == 1;
}

static bool parse_net(const char *text, struct net *out)
{
	char address[NET_ADDRESS], *end;
	size_t n = strcspn(text, "/");
	bool four = memchr(text, ':', n) == NULL;

	if (n >= sizeof(address))
		return false;
	memcpy(address, text, n);
	address[n] = '\0';
	if (!parse_address(address, out))
		return false;
	if (text[n] == '\0')
		return true;
	if (!isdigit((unsigned char)text[n + 1]))
		return false;
	long bits = strtol(text + n + 1, &end, 10);
	if (*end != '\0' || bits > (four ? 32 : 128))
		return false;
	out->bits = (int)bits + (four ? 96 : 0);
	return true;
}

static bool covers(const struct net *net, const struct net *address)
{
	int bytes = net->bits / 8, rest = net->bits % 8;
	uint8_t mask = (uint8_t)(0xff << (8 - rest));

	return memcmp(net->b, address->b, (size_t)bytes) == 0 &&
	       (rest == 0 || ((net->b[bytes] ^ address->b[bytes]) & mask) == 0);
}

/* Copies the next word of the list; false at its end. What is too long for a network is cut, and so
 * is none. */
static bool next_word(const char **list, char word[NET_ADDRESS + 4])
{
	size_t n;

	*list += strspn(*list, " \t");
	n = strcspn(*list, " \t");
	snprintf(word, NET_ADDRESS + 4, "%.*s", (int)n, *list);
	*list += n;
	return n > 0;
}

bool net_is_list(const char *list)
{
	char word[NET_ADDRESS + 4];
	struct net net;

	while (next_word(&list, word))
		if (strcmp(word, unix_peer) != 0 && !parse_net(word, &net))
			return false;
	return true;
}

bool net_list_has(const char *list, const char *address)
{
	char word[NET_ADDRESS + 4];
	struct net net, one;
	bool inet = parse_address(address, &one);

	while (next_word(&list, word))
		if (inet ? parse_net(word, &net) && covers(&net, &one)
			 : strcmp(word, unix_peer) == 0 && strcmp(address, unix_peer) == 0)
			return true;
	return false;
}

/* Rewrites "1.2.3.4", "1.2.3.4:567", "2001:DB8::1" or "[2001:db8::1]:567" as inet_ntop would; false
 * if it is no address. */
static bool normalise(struct slice text, char out[NET_ADDRESS])
{
	char copy[NET_ADDRESS + 8];
	struct net net;
	char *start = copy;

	if (text.n >= sizeof(copy))
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	if (*copy == '[') {
		start++;
		copy[strcspn(copy, "]")] = '\0';
	} else if (strchr(copy, ':') == strrchr(copy, ':')) {
		copy[strcspn(copy, ":")] = '\0';
	}
	if (!parse_address(start, &net))
		return false;
	if (memcmp(net.b, mapped, sizeof(mapped)) == 0)
		return inet_ntop(AF_INET, net.b + 12, out, NET_ADDRESS) != NULL;
	return inet_ntop(AF_INET6, net.b, out, NET_ADDRESS) != NULL;
}

/* Takes the last element off a list with commas. */
static struct slice take_last(struct slice *list)
{
	const char *comma = list->n > 0 ? memrchr(list->p, ',', list->n) : NULL;
	size_t at = comma != NULL ? (size_t)(comma - list->p) : 0,
	       from = comma != NULL ? at + 1 : 0;
	struct slice last = { list->p + from, list->n - from };

	list->n = at;
	while (last.n > 0 && isspace((unsigned char)last.p[0]))
		last.p++, last.n--;
	while (last.n > 0 && isspace((unsigned char)last.p[last.n - 1]))
		last.n--;
	return last;
}

void net_client(const char *trusted, const char *peer, const char *forwarded, char out[NET_ADDRESS])
{
	struct slice list = slice_of(forwarded);

	snprintf(out, NET_ADDRESS, "%s", peer);
	while (list.n > 0 && net_list_has(trusted, out) && normalise(take_last(&list), out))
		;
}

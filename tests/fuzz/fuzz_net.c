/*
 * Addresses. The first line is a list of trusted proxies, the second the peer, the third its
 * X-Forwarded-For. A request counts for the peer unless the peer is trusted, and otherwise for an
 * address in its one spelling.
 */
#include "lib/net.h"

#include "fuzz.h"

#include <arpa/inet.h>

/* As inet_ntop spells it, version 4 within 6 as version 4. */
static bool is_canonical(const char *address)
{
	char text[NET_ADDRESS];
	uint8_t b[16];
	int family = inet_pton(AF_INET, address, b) == 1 ? AF_INET : AF_INET6;

	if (family == AF_INET6 && inet_pton(AF_INET6, address, b) != 1)
		return false;
	return inet_ntop(family, b, text, sizeof(text)) && strcmp(text, address) == 0;
}

static void check_client(const char *trusted, const char *peer, const char *forwarded)
{
	char whose[NET_ADDRESS], again[NET_ADDRESS];

	net_client(trusted, peer, forwarded, whose);
	if (!net_list_has(trusted, peer))
		require(strcmp(whose, peer) == 0, "a stranger was believed");
	if (strcmp(whose, peer) == 0)
		return;
	require(is_canonical(whose), "an address has another spelling");
	net_client(trusted, peer, whose, again);
	require(strcmp(whose, again) == 0, "an address is not itself");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct slice input = { (const char *)data, n };
	char *trusted = next_line(&input), *peer = next_line(&input),
	     *forwarded = next_line(&input);
	char whose[NET_ADDRESS];

	require(!net_is_list(trusted) || *trusted == '\0' || strspn(trusted, " \t") > 0 ||
			strpbrk(trusted, ".:u") != NULL,
		"a list of nothing");
	/* A peer is what the kernel says it is. */
	if (strcmp(peer, "unix") == 0 || is_canonical(peer))
		check_client(trusted, peer, forwarded);
	net_client("0.0.0.0/0 ::/0 unix", "127.0.0.1", forwarded, whose);
	require(is_canonical(whose), "an address has another spelling");
	free(trusted);
	free(peer);
	free(forwarded);
	return 0;
}

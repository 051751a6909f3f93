/*
 * net: addresses of peers and lists of networks, as text: "127.0.0.1 10.0.0.0/8 2001:db8::/32
 * unix".
 */
#ifndef NET_H
#define NET_H

#include "lib/base.h"

/* As INET6_ADDRSTRLEN: the longest address and a NUL. */
#define NET_ADDRESS 46

/* Is the text a list of addresses and networks, separated by blanks? An empty one is. */
bool net_is_list(const char *list);

/* Is the address ("unix" for a unix socket's peer) in one of the list's networks? */
bool net_list_has(const char *list, const char *address);

/* Whose request it is: the peer's, or, if the peer is trusted, the last address in its
 * X-Forwarded-For (NULL: none) that is not trusted itself. What is behind one that cannot be read
 * counts for nothing. Writes it to out. */
void net_client(
	const char *trusted, const char *peer, const char *forwarded, char out[NET_ADDRESS]);

#endif

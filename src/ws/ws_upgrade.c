/*
 * ws: handshakes. A handshake is judged by us, and only when it is accepted its socket is handed to
 * lws, with a head of our own making: none of what lws makes of a request can be reached.
 */
#include "ws_private.h"

#include <stdlib.h>

/* The 24 characters that 16 bytes are in base64. */
static bool is_key(const char *key)
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789+/";

	return key != NULL && strlen(key) == 24 && strspn(key, base64) == 22 &&
	       strcmp(key + 22, "==") == 0;
}

/* 101, or the status with which the handshake is refused (RFC 6455, 4.2.1). */
static int judge(const struct ws_http *http, const char *key, void **user, const char **why)
{
	const struct ws_config *config = &http->ws->config;
	const struct head *head = &http->head;
	struct ws_head seen = { head->method, head->path, http->address, http->serves, head };

	if (strcmp(head->method, "GET") != 0 || head->http_1_0 || head->length > 0 ||
		head->chunked || !head_lists(head, "Upgrade", "websocket") ||
		!head_lists(head, "Connection", "upgrade") || !is_key(key)) {
		*why = "the only upgrade is GET to websocket, by HTTP/1.1 and with a key";
		return 400;
	}
	if (!head_lists(head, "Sec-WebSocket-Version", "13")) {
		*why = "version 13 of the websocket protocol is what this server speaks";
		return 426;
	}
	if (head_has(head, "Sec-WebSocket-Protocol") &&
		!head_lists(head, "Sec-WebSocket-Protocol", "phoenix")) {
		*why = "the only subprotocol is phoenix";
		return 400;
	}
	if (http->ws->nsockets >= config->max_sockets) {
		*why = "too many connections";
		return 503;
	}
	return config->ops->handshake(config->arg, &seen, user, why);
}

/* lws answers the handshake, but sees no word of the peer's in it, the key apart. What the peer has
 * sent behind it follows. lws reports errors that are none when a socket is handed over like this.
 */
void ws_upgrade(struct ws_http *http, struct slice rest)
{
	struct ws *ws = http->ws;
	struct buf b = { 0 };
	const char *why = NULL;
	void *user = NULL;
	char *key = head_field(&http->head, "Sec-WebSocket-Key");
	int status = judge(http, key, &user, &why);

	if (status != 101) {
		ws_http_refuse(
			http, status, why, status == 426 ? "Sec-WebSocket-Version: 13" : NULL);
		free(key);
		return;
	}
	buf_addf(&b,
		"GET / HTTP/1.1\r\nHost: -\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n",
		key,
		head_has(&http->head, "Sec-WebSocket-Protocol")
			? "Sec-WebSocket-Protocol: phoenix\r\n"
			: "");
	buf_add(&b, rest.p, rest.n);
	free(key);
	ws->adopting = ws_peer_new(ws, user);
	lws_adopt_socket_vhost_readbuf(ws->vhost, ws_caller_release(http), b.p, b.n);
	buf_free(&b);
	if (ws->adopting != NULL) { /* it came to nothing */
		ws_socket_free(ws->adopting);
		ws->adopting = NULL;
	}
}

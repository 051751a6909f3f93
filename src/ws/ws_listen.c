/*
 * ws: the listening sockets. They are ours and not lws's: one way for several addresses, for unix
 * sockets and for those that systemd hands over, and none of lws's opinions about interfaces. What
 * they accept is an HTTP connection at first (ws_http.c).
 */
#include "ws_private.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define SILENT_MS 50 /* after which a connection without a request makes room for another */

struct listener {
	LIST_ENTRY(listener) link;
	struct ws *ws;
	uv_poll_t poll;
	int fd;
	unsigned serves;
	char *path; /* of a unix socket of our own making */
};

/* The next connection, or -1. Who it is is asked later. */
static int accept_next(const struct listener *l)
{
	/* cppcheck-suppress nullPointer ; accept4 allows it */
	return accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* Out of descriptors: the kernel would report the waiting connection again and again. Takes it with
 * the spare one and lets it go. */
static void refuse_connection(struct listener *l)
{
	int fd;

	if (!l->ws->exhausted)
		log_warn("accept");
	l->ws->exhausted = true;
	close(l->ws->spare);
	fd = accept_next(l);
	if (fd >= 0)
		close(fd);
	l->ws->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_room(uv_timer_t *timer)
{
	ws_listen_again(timer->data);
}

/* There is no place: connections wait, in the kernel, until one leaves or has been
 * silent for long enough. */
static void wait_for_room(struct ws *ws)
{
	struct listener *l;

	LIST_FOREACH (l, &ws->listeners, link)
		uv_poll_stop(&l->poll);
	if (!uv_is_closing((uv_handle_t *)&ws->room))
		uv_timer_start(&ws->room, on_room, SILENT_MS, 0);
}

static bool is_waiting(const struct listener *l)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

static bool accept_one(struct listener *l)
{
	static const int on = 1;
	int fd;

	if (ws_http_full(l->ws)) {
		if (!is_waiting(l))
			return false;
		if (!ws_http_drop(l->ws, NULL, SILENT_MS)) {
			wait_for_room(l->ws);
			return false;
		}
	}
	fd = accept_next(l);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE) {
			if (ws_http_drop(l->ws, NULL, 0))
				return true;
			refuse_connection(l);
		} else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
			log_warn("accept");
		}
		return false;
	}
	l->ws->exhausted = false;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* in vain on a unix socket */
	ws_http_new(l->ws, fd, l->serves);
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN && accept_one(l); i++)
		;
}

void ws_listen_again(struct ws *ws)
{
	struct listener *l;

	uv_timer_stop(&ws->room);
	LIST_FOREACH (l, &ws->listeners, link)
		uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

/* Appends the address as ws_listen would take it. */
static bool print_bound(int fd, struct buf *bound)
{
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_storage room;
	} a = { 0 };
	socklen_t len = sizeof(a);
	char host[64], port[16];

	if (getsockname(fd, &a.any, &len) != 0)
		return false;
	if (a.any.sa_family == AF_UNIX) {
		buf_addf(bound, "unix:%.*s", (int)sizeof(a.un.sun_path), a.un.sun_path);
		return true;
	}
	if (getnameinfo(&a.any, len, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		errno = EAFNOSUPPORT;
		return false;
	}
	buf_addf(bound, a.any.sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return true;
}

bool ws_listen_fd(struct ws *ws, int fd, unsigned serves, struct buf *bound)
{
	int flags = fcntl(fd, F_GETFL);
	struct listener *l;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || !print_bound(fd, bound))
		return false;
	l = xcalloc(1, sizeof(*l));
	l->ws = ws;
	l->fd = fd;
	l->serves = serves;
	uv_poll_init(ws->loop, &l->poll, fd);
	l->poll.data = l;
	uv_poll_start(&l->poll, UV_READABLE, on_readable);
	LIST_INSERT_HEAD(&ws->listeners, l, link);
	return true;
}

/* A socket file without a listener is left over from a crash. */
static bool remove_stale(const struct sockaddr_un *a)
{
	struct stat st;
	int fd, err;

	if (lstat(a->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	err = connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 ? 0 : errno;
	close(fd);
	return err == ECONNREFUSED && unlink(a->sun_path) == 0;
}

static bool bind_unix(int fd, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(path) == 0 || strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		return false;
	}
	strcpy(a.sun_path, path);
	if (bind(fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
		return chmod(path, 0660) == 0; /* before any client can connect */
	if (errno != EADDRINUSE)
		return false;
	if (!remove_stale(&a)) {
		errno = EADDRINUSE;
		return false;
	}
	return bind(fd, (const struct sockaddr *)&a, sizeof(a)) == 0 && chmod(path, 0660) == 0;
}

/* Takes "127.0.0.1:4000" or "[::1]:4000" apart; NULL if it is neither. */
static struct addrinfo *resolve(const char *address)
{
	static const struct addrinfo numeric = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
	const char *colon = strrchr(address, ':');
	size_t n = colon != NULL ? (size_t)(colon - address) : 0;
	struct addrinfo *list = NULL;
	char *host;

	if (n == 0)
		return NULL;
	host = address[0] == '[' && address[n - 1] == ']' ? xstrndup(address + 1, n - 2)
							  : xstrndup(address, n);
	if (getaddrinfo(host, colon + 1, &numeric, &list) != 0)
		list = NULL;
	free(host);
	return list;
}

static bool bind_inet(int fd, const struct addrinfo *a)
{
	static const int on = 1;

	if (a->ai_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0)
		return false;
	return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	       bind(fd, a->ai_addr, a->ai_addrlen) == 0;
}

bool ws_listen(struct ws *ws, const char *address, unsigned serves, struct buf *bound)
{
	const char *path = strncmp(address, "unix:", 5) == 0 ? address + 5 : NULL;
	struct addrinfo *a = path == NULL ? resolve(address) : NULL;
	int fd, err;
	bool ok;

	if (path == NULL && a == NULL) {
		errno = EINVAL;
		return false;
	}
	fd = socket(a != NULL ? a->ai_family : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ok = fd >= 0 && (a != NULL ? bind_inet(fd, a) : bind_unix(fd, path)) &&
	     listen(fd, SOMAXCONN) == 0 && ws_listen_fd(ws, fd, serves, bound);
	err = errno;
	if (a != NULL)
		freeaddrinfo(a);
	if (!ok && fd >= 0)
		close(fd);
	if (ok && path != NULL)
		LIST_FIRST(&ws->listeners)->path = xstrdup(path);
	errno = err;
	return ok;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void ws_stop_listening(struct ws *ws)
{
	struct listener *l;

	while ((l = LIST_FIRST(&ws->listeners)) != NULL) {
		LIST_REMOVE(l, link);
		uv_close((uv_handle_t *)&l->poll, on_closed);
		if (l->path != NULL)
			unlink(l->path);
		free(l->path);
		close(l->fd);
	}
}

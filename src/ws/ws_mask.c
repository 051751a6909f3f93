/*
 * ws: is a client's first frame masked? RFC 6455, 5.1 asks a server to close the connection over
 * one that is not, and lws reads it without a word. A client masks all of its frames or none, so
 * the first is looked at, before lws reads it: on a descriptor of its own, since libuv watches each
 * only once. Invariant: the socket is not read until the answer is there.
 */
#include "ws_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER = 2, MASKED = 0x80 }; /* of a frame, in its second byte */

/* Between two looks at a client that has sent one byte: the poll would report it all the time. */
#define RETRY_MS 100

struct ws_mask {
	uv_poll_t poll;
	uv_timer_t retry;
	int fd, handles;
	void (*known)(void *arg, bool masked);
	void *arg;
};

static void on_closed(uv_handle_t *handle)
{
	struct ws_mask *mask = handle->data;

	if (--mask->handles == 0) {
		close(mask->fd);
		free(mask);
	}
}

void ws_mask_forget(struct ws_mask *mask)
{
	uv_close((uv_handle_t *)&mask->poll, on_closed);
	uv_close((uv_handle_t *)&mask->retry, on_closed);
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_retry(uv_timer_t *timer)
{
	struct ws_mask *mask = timer->data;

	uv_poll_start(&mask->poll, UV_READABLE, on_readable);
}

/* A connection that has ended is lws's to notice. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct ws_mask *mask = poll->data;
	unsigned char header[HEADER];
	ssize_t n = recv(mask->fd, header, sizeof(header), MSG_PEEK | MSG_DONTWAIT);

	(void)status;
	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 1) {
		uv_poll_stop(poll);
		uv_timer_start(&mask->retry, on_retry, RETRY_MS, 0);
		return;
	}
	mask->known(mask->arg, n < HEADER || (header[1] & MASKED) != 0);
}

struct ws_mask *ws_mask_watch(
	uv_loop_t *loop, int fd, void (*known)(void *arg, bool masked), void *arg)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct ws_mask *mask;

	if (own < 0)
		return NULL;
	mask = xcalloc(1, sizeof(*mask));
	*mask = (struct ws_mask){ .fd = own, .handles = 2, .known = known, .arg = arg };
	uv_poll_init(loop, &mask->poll, own);
	uv_timer_init(loop, &mask->retry);
	mask->poll.data = mask->retry.data = mask;
	uv_poll_start(&mask->poll, UV_READABLE, on_readable);
	return mask;
}

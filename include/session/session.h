/*
 * session: a worker's socket, from its handshake to its end, and all of them together. A session
 * has channels (channel.h), each of which has requests (request.h), each of which ends with a reply
 * (reply.h). Sessions know no message: they are handed the routes and the kinds of channels.
 */
#ifndef SESSION_H
#define SESSION_H

#include "core/context.h"
#include "session/backpressure.h"
#include "session/channel.h"
#include "session/resend.h"
#include "session/route.h"

struct sessions; /* all of them */
struct session;  /* one */

struct sessions_config {
	const struct context *context;
	struct backpressure *backpressure;
	struct resend *resend;
	const struct route *const *routes;       /* lists, NULL-terminated */
	const struct channel_kind *const *kinds; /* NULL-terminated */
	void *protocol; /* what the routes and the kinds share, for request_protocol */
};

/* config is copied, what it points to is borrowed. */
struct sessions *sessions_new(const struct sessions_config *config);
/* When none is left. */
void sessions_free(struct sessions *sessions);

/* The websocket server's callbacks (ws.h): handshake with the sessions, the others with a session.
 */
int session_handshake(
	struct sessions *sessions, const struct ws_head *head, void **session, const char **why);
void session_open(void *session, struct ws_socket *peer);
bool session_admit(void *session, size_t size);
void session_message(void *session, char *data, size_t n, bool binary, bool cut);
void session_closed(void *session, enum ws_end how, int code);

/* How many there are; and their requests that have not been answered, those included whose workers
 * have gone. */
int sessions_count(const struct sessions *sessions);
int sessions_open_requests(const struct sessions *sessions);
/* Appends the connected workers, a JSON array; the argument is the sessions, for the registry. */
void sessions_print(void *sessions, struct buf *out);

/* No more sessions, and no more runs for those that are there (channel_kind.on_drain). */
void sessions_drain(struct sessions *sessions);
bool sessions_are_draining(const struct sessions *sessions);
/* Closes (1001) those that are quiet: nothing is open, nothing came or went for so many
 * milliseconds, and no message is to be expected (channel_kind.message_expected). What is on its
 * way when its socket is closed is lost, since workers say nothing twice. With 0 milliseconds what
 * is to be expected does not count. */
void sessions_close_quiet(struct sessions *sessions, int64_t ms);
/* Closes all of them with this code. */
void sessions_close_all(struct sessions *sessions, int code);

/* Of its worker, from its token. */
const char *session_worker(const struct session *session);
/* Whom it counts for. When its last frame came, now_us(). */
const char *session_address(const struct session *session);
int64_t session_active_at(const struct session *session);
/* Is its socket gone, or about to be closed? */
bool session_is_closing(const struct session *session);
/* Its joined channels of runs. */
int session_run_count(const struct session *session);

#endif

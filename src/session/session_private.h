/*
 * What the other files of this folder need of sessions.
 */
#ifndef SESSION_PRIVATE_H
#define SESSION_PRIVATE_H

#include "session/session.h"

struct channel_list;
struct request_list;
struct route_table;

const struct sessions_config *sessions_config(const struct sessions *sessions);
const struct route_table *sessions_routes(const struct sessions *sessions);

struct sessions *session_sessions(const struct session *session);
/* Its channels, joined ones and others; its open requests that have no channel. */
struct channel_list *session_channels(struct session *session);
struct request_list *session_requests(struct session *session);

/* Sends a frame, unless the socket is gone. Takes b. */
void session_send(struct session *session, struct buf *b, bool binary);
/* Closes the socket with this code, unless that has been done. */
void session_close(struct session *session, int code);

/* A request of it is open; one has ended, of this session or of one that is gone (NULL). */
void session_request_began(struct session *session);
void session_request_ended(struct sessions *sessions, struct session *session);
/* A request was refused. */
void session_refused(struct session *session);

/* The first ref of its client on this connection that is a number; 0: none yet. A request with
 * this ref came (0: no number). */
int64_t session_first_ref(const struct session *session);
void session_note_ref(struct session *session, int64_t ref);

#endif

/*
 * message: what a worker sent, taken apart: its frame, its payload, what is large in it. And the
 * reader of a socket, which does that, for large messages beside the loop. Private to this folder.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "db/value.h"
#include "route_table.h"
#include "ws/phx.h"

#include <uv.h>

/* Bytes: a larger message waits for room and is read beside the loop; a larger body goes ahead of
 * its message. */
enum { LARGE = 64 * 1024 };

struct message;
struct reader;

/* ---- the reader ---- */

/* done is called once for each message, in the order in which they came: it has been read, or the
 * reader was freed.. */
struct reader *reader_new(
	uv_loop_t *loop, const struct route_table *routes, void (*done)(void *owner));
/* Reads the message, at once if it is small and there is none before it. */
void reader_read(struct reader *reader, struct message *message, void *owner);
/* Is a large message being read, or does one wait behind it? */
bool reader_is_busy(const struct reader *reader);
/* done is called for those that wait; for one that a thread reads when it has. */
void reader_free(struct reader *reader);

/* ---- the message ---- */

/* Takes data, whose byte behind the last is NUL. cut: see ws.h. */
struct message *message_new(char *data, size_t length, bool binary, bool cut);
/* Large parts are freed beside the loop. */
void message_free(struct message *message, uv_loop_t *loop);
/* Bytes that it counts against the memory limit, until it is freed. */
size_t message_size(const struct message *message);

/* Once it has been read. A frame without PHX_OK is not to be used. */
enum phx_error message_error(const struct message *message);
const struct phx_frame *message_frame(const struct message *message);
struct slice message_member(const struct message *message, const char *name);
void message_pick(
	const struct message *message, const char *const *names, int n, struct slice *out);
/* Has it been taken apart, so that its large members are not in its frame's payload? */
bool message_is_large(const struct message *message);
/* Was it too large? Then what is left of it is there, unless that has been dropped. */
bool message_is_truncated(const struct message *message);
void message_drop_payload(struct message *message);
/* Moves what this route, the message's, makes of its content to v; or returns why there is
 * nothing. */
const char *message_content(struct message *message, const struct route *route, struct value *v);
/* Appends what the journal keeps of the payload: contents and what is beyond the limit of bytes by
 * their length; nothing, if all together is. */
void message_describe(const struct message *message, size_t limit, struct buf *out);

#endif

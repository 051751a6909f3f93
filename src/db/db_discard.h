/*
 * db_discard: the end of a connection whose memory is large. Private to db.
 */
#ifndef DB_DISCARD_H
#define DB_DISCARD_H

#include <libpq-fe.h>
#include <uv.h>

/* Finishes it in a thread of the pool (lib/pool.h). Takes it. */
void db_discard(uv_loop_t *loop, PGconn *conn);

#endif

/*
 * db_lend: a large send, in a thread. libpq copies what it is handed, and moves what is left of it
 * each time the socket has taken some: for 100 MiB that is seconds. A thread may wait for the
 * socket, and then libpq moves nothing. Invariant: while the connection is lent the loop does not
 * touch it, but to shut its socket down.
 */
#include "db_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

void db_recall(struct db *db)
{
	db->recalled = true;
	shutdown(db->socket, SHUT_RDWR);
}

static void on_work(struct pool_job *job)
{
	struct db *db = container_of(job, struct db, job);

	PQsetnonblocking(db->conn, 0);
	db->send(db->send_arg);
	if (PQflush(db->conn) != 0 || PQsetnonblocking(db->conn, 1) != 0)
		db_fail(db, "%s", PQerrorMessage(db->conn));
}

static void on_sent(struct pool_job *job)
{
	struct db *db = container_of(job, struct db, job);

	db_enter(db, UP, -1);
	close(db->socket);
	if (db->recalled)
		db_fail(db, "no answer from the database");
	else if (db->lost)
		db_fail(db, "%s", PQerrorMessage(db->conn));
	else
		db_read(db);
}

void db_send_beside(struct db *db, void (*send)(void *arg), void *arg)
{
	if (db->state != UP)
		return; /* broken, and `down` is on its way */
	/* Our own descriptor of it: libpq may close its own at any time. */
	db->socket = fcntl(PQsocket(db->conn), F_DUPFD_CLOEXEC, 0);
	if (db->socket < 0) {
		db_fail(db, "%s", strerror(errno));
		return;
	}
	db_unwatch(db);
	db_enter(db, LENT, -1);
	db->recalled = db->lost = false;
	db->send = send;
	db->send_arg = arg;
	db->job = (struct pool_job){ .work = on_work, .done = on_sent };
	pool_start(db->loop, &db->job);
}

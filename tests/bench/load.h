/*
 * load: talks to the daemon as many workers would, as fast as it is answered or at a given rate,
 * and measures. What is said stands in load_script.c as a table, the sockets are load_socket.c's,
 * the clock and the sums load.c's.
 *
 * A slot is one conversation: it has one message in flight, as a worker has for each of its runs.
 */
#ifndef LOAD_H
#define LOAD_H

#include "lib/base.h"

struct peer;

struct slot {
	struct peer *peer;
	int at;             /* the message of the script that is in flight */
	unsigned ref;       /* of that message */
	unsigned join_ref;  /* of the run's channel */
	int64_t sent;       /* microseconds, load_now() */
	char topic[4 + 37]; /* run:<id> */
	struct buf token;
	char jobs[2][UUID_TEXT], steps[2][UUID_TEXT];
	char clips[3][UUID_TEXT]; /* the run's input, and what its steps put out */
	int step;                 /* which of the two */
};

/* ---- load_script.c ---- */

enum topic { TOPIC_PHOENIX, TOPIC_QUEUE, TOPIC_RUN };

struct message {
	const char *event;
	enum topic topic;
	bool change; /* a run or a step has another state when it is answered */
	/* Appends the payload. */
	void (*put)(struct slot *slot, struct buf *b);
	/* Reads the response; false if the conversation cannot go on. NULL: it always can. */
	bool (*take)(struct slot *slot, struct slice response);
};

struct mode {
	const char *name;
	const struct message *script;
	int n;
	bool joins; /* worker:queue, on each socket */
	bool holds; /* does not begin again, but stays as it is */
};

/* NULL if there is none of that name. */
const struct mode *mode_find(const char *name);

/* ---- load_socket.c ---- */

struct sockets_config {
	const char *url; /* ws://127.0.0.1:4000 */
	struct slice secret;
	int sockets, slots; /* slots on each socket */
	const struct mode *mode;
};

/* Connects all of them; load_ready() when the last one is there. Borrows config forever. */
void sockets_open(const struct sockets_config *config);
struct slot *sockets_slot(int i); /* 0 … sockets × slots - 1 */
void slot_send(struct slot *slot);
/* Runs the loop until sockets_stop(). */
void sockets_run(void);
void sockets_stop(void);
void *sockets_loop(void); /* uv_loop_t */

/* ---- load.c ---- */

int64_t load_now(void);
void load_ready(void);
/* The slot's message was answered. */
void load_answered(struct slot *slot, bool ok, struct slice response);

#endif

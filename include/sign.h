/*
 * sign: signs tokens on libuv's pool of threads. An RS256 signature is a quarter of a millisecond
 * of arithmetic: a batch of claims would keep everybody else waiting for all of its signatures.
 */
#ifndef SIGN_H
#define SIGN_H

#include "jwt.h"

#include <uv.h>

struct sign_token {
	json_t *claims;  /* borrowed until done, and nobody else's meanwhile */
	struct buf text; /* the token, appended; the caller's */
};

/* Some tokens of one key. Zero-initialise it and fill in what stands above the line; it stays where
 * it is until done. */
struct sign_job {
	struct jwt_key *key; /* referred to until done */
	struct sign_token *tokens;
	int n;
	void (*done)(struct sign_job *job);
	/* ---- */
	uv_work_t work;
};

/* Signs them all; done is called from the loop, never from here. */
void sign_start(uv_loop_t *loop, struct sign_job *job);

/* How many jobs are not done. They end soon by themselves; the loop runs until then. */
int sign_open(void);

#endif

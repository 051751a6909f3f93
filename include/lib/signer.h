/*
 * signer: signs tokens on libuv's pool of threads. An RS256 signature is a quarter of a millisecond
 * of arithmetic: a batch of claims would block the loop for all of its signatures.
 */
#ifndef SIGNER_H
#define SIGNER_H

#include "lib/jwt.h"

#include <uv.h>

struct signer_token {
	json_t *claims;  /* borrowed until done; exclusive to the job meanwhile */
	struct buf text; /* the token, appended; the caller's */
};

/* Some tokens of one key. Zero-initialise it and fill in what stands above the line; it stays where
 * it is until done. */
struct signer_job {
	struct jwt_key *key; /* referred to until done */
	struct signer_token *tokens;
	int n;
	void (*done)(struct signer_job *job);
	/* ---- */
	uv_work_t work;
};

/* Signs them all; done is called from the loop, never from here. */
void signer_start(uv_loop_t *loop, struct signer_job *job);

/* How many jobs are not done. They end soon by themselves; the loop runs until then. */
int signer_open_jobs(void);

#endif

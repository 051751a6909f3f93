/*
 * What is logged of requests. Private to this folder.
 */
#ifndef REQUEST_LOG_H
#define REQUEST_LOG_H

struct request;

/* What became of the request: the code of its answer ("ok", an error reply's); and before that a
 * verdict other than a refusal. */
void request_log_outcome(const struct request *request, const char *code);
void request_log_verdict(const struct request *request, const char *verdict);
/* It is answered `ok`, but without something. */
void request_log_warning(const struct request *request, const char *field, const char *message);

#endif

/*
 * option: one option of the configuration, and its values as text. Knows no option and no file:
 * those are conf's.
 */
#ifndef OPTION_H
#define OPTION_H

#include "lib/base.h"

/* Up to ADDRESSES the value is a char * that belongs to its struct, a CHOICE is an int, the rest
 * are int64_t (milliseconds, bytes). */
enum option_type {
	OPTION_STRING,
	OPTION_URL, /* of a database: printed without its password */
	OPTION_ADDRESSES,
	OPTION_NETWORKS, /* for net_list_has */
	OPTION_CHOICE,
	OPTION_NUMBER,
	OPTION_DURATION,
	OPTION_SIZE
};

struct option {
	const char *section, *name;
	enum option_type type;
	bool reload;              /* may change while the daemon runs */
	const char *def;          /* the default, as in the file */
	const char *min, *max;    /* numbers, durations and sizes; as in the file */
	const char *zero;         /* what a 0 means, where it is allowed beside min to max */
	const char *const *words; /* a choice's, in the order of its enum, and NULL */
	size_t field;             /* where in struct conf the value is */
	size_t project;           /* where in struct conf_project; 0: not for projects */
	const char *doc;          /* one sentence */
};

/* Stores what the text says in *to; false, and nothing stored, if the option cannot be that. */
bool option_parse(const struct option *o, const char *text, void *to)
	__attribute__((warn_unused_result));
/* Appends the value as option_parse reads it, a URL's passwords as ***. */
void option_print(struct buf *out, const struct option *o, const void *from);
/* Appends what the option takes: "a duration from 75s to 1d, or 0 (off)". */
void option_print_domain(struct buf *out, const struct option *o);

bool option_same(const struct option *o, const void *a, const void *b);
void option_swap(const struct option *o, void *a, void *b);

/* As conf_parse_duration and conf_parse_size. */
bool option_parse_duration(const char *s, int64_t *ms) __attribute__((warn_unused_result));
bool option_parse_size(const char *s, int64_t *bytes) __attribute__((warn_unused_result));

#endif

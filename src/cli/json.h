/*
 * cli json: the allowed members of a JSON document's objects, as tables, and the check of a
 * document against them. Every mistake is reported with its path.
 */
#ifndef CLI_FIELD_H
#define CLI_FIELD_H

#include <jansson.h>

#include "lib/base.h"

enum field_kind { ID, NAME, TEXT, COUNT, SWITCH, DIGESTS, OBJECT, LIST };

/* A table of them ends with a row without a name. */
struct field {
	const char *name;
	enum field_kind kind;
	bool optional;          /* null counts as missing */
	const struct field *of; /* the members of the object, or of each in the list; NULL: any */
};

/* Where the check is, and how much it has found. */
struct check {
	struct buf path;
	int mistakes;
};

/* Reports a mistake at the current path. */
void check_mistake(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Go down to a member, by its name or by its place in a list; what comes back brings check_leave up
 * again. */
size_t check_enter(struct check *c, const char *name);
size_t check_enter_nth(struct check *c, const char *list, size_t i);
void check_leave(struct check *c, size_t up);

/* Checks the object and all it holds, and turns ids to lower case: they are compared as text from
 * here on. An id may appear once in a list. */
void check_object(struct check *c, json_t *object, const struct field *fields);

/* The string that is a member of the object, NULL if there is none. Borrows. */
const char *field_text(const json_t *object, const char *name);

/* The place of the member with this id; the list's length if there is none or id is NULL. */
size_t field_find(const json_t *list, const char *id);

#endif

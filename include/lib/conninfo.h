/*
 * conninfo: what names a PostgreSQL database, a URL or keywords. It may hold a password, so nothing
 * of one that is wrong is ever said, neither by us nor, later, by libpq.
 */
#ifndef CONNINFO_H
#define CONNINFO_H

#include "lib/base.h"

enum { CONNINFO_MAX = 4000 }; /* bytes when printed: it fits on a line of the configuration file */

/* Can it be handed to libpq, which will not quote more of it in a sentence than hosts, ports and
 * names? Not so if a password in it was not written as it must be, and reads as one of these. */
bool conninfo_is_sound(const char *text) __attribute__((warn_unused_result));

/* Appends the keywords and values that libpq finds in it, *** for passwords; nothing if it cannot
 * be parsed. */
void conninfo_print(struct buf *out, const char *text);

#endif

/*
 * What conf.c (the table of options, and how a configuration is shown) and conf_file.c (how one is
 * read) share. Private to them.
 */
#ifndef CONF_PRIVATE_H
#define CONF_PRIVATE_H

#include "core/conf.h"
#include "lib/option.h"

extern const struct option conf_options[];
extern const size_t conf_noptions;

/* Where the option's value is. */
void *conf_field(const struct option *o, const struct conf *conf);
/* Is it the first of its section? */
bool conf_starts_section(const struct option *o);

#endif

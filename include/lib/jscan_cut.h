/*
 * jscan_cut: an object that was too large to be kept, from its two ends. Whatever member is whole
 * at either end is found; nothing is ever read across the gap between them.
 */
#ifndef JSCAN_CUT_H
#define JSCAN_CUT_H

#include "lib/base.h"

/* The members with which the text of an object begins, without its brace and without a comma behind
 * them: those that another one follows, so that they are whole. Absent if it is no object; may be
 * empty. */
struct slice jscan_cut_head(struct slice text);

/* The members with which the text of an object ends, without its brace and without a comma before
 * them. Read backwards, and so only strings, numbers, true, false and null: the first other value
 * ends the search, and so does one that does not begin within the text. What comes back is to be
 * validated as part of an object. May be empty. */
struct slice jscan_cut_tail(struct slice text);

#endif

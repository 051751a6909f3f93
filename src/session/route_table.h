/*
 * route_table: all routes, and what is counted of each. Private to this folder.
 */
#ifndef ROUTE_TABLE_H
#define ROUTE_TABLE_H

#include "session/route.h"

struct route_table;

/* Of lists that each have ROUTES_END; NULL-terminated, borrowed. */
struct route_table *route_table_new(const struct route *const *lists);
void route_table_free(struct route_table *table);

/* Is the topic this one, or does it begin like it (route.topic)? */
bool topic_matches(const char *pattern, struct slice topic);
/* What handles this event of this topic; NULL: nothing does. May be called in a thread. */
const struct route *route_table_find(
	const struct route_table *table, struct slice topic, struct slice event);
/* Counts a message that has been answered: the code of an error reply, or "ok". */
void route_table_count(const struct route_table *table, const struct route *route,
	const char *outcome, double seconds);

#endif

/*
 * All routes, with their metrics. Invariant: it never changes, so threads may search it.
 */
#include "route_table.h"

#include "lib/metrics.h"

#include <stdlib.h>

/* Other outcomes than `ok` get their series when they come. */
struct row {
	const struct route *route;
	struct series *ok, *seconds;
};

struct route_table {
	int n;
	struct row rows[];
};

static struct row row_of(const struct route *route)
{
	return (struct row){
		.route = route,
		.ok = metrics_seriesf(METRIC_MESSAGES, "event=\"%s\",outcome=\"ok\"", route->event),
		.seconds = metrics_seriesf(METRIC_MESSAGE_SECONDS, "event=\"%s\"", route->event),
	};
}

struct route_table *route_table_new(const struct route *const *lists)
{
	struct route_table *table;
	size_t n = 0;

	for (const struct route *const *list = lists; *list != NULL; list++)
		for (const struct route *route = *list; route->topic != NULL; route++)
			n++;
	table = xcalloc(1, sizeof(*table) + n * sizeof(table->rows[0]));
	for (; *lists != NULL; lists++)
		for (const struct route *route = *lists; route->topic != NULL; route++)
			table->rows[table->n++] = row_of(route);
	return table;
}

void route_table_free(struct route_table *table)
{
	free(table);
}

bool topic_matches(const char *pattern, struct slice topic)
{
	size_t n = strlen(pattern);

	return pattern[n - 1] == ':' ? topic.n > n && memcmp(topic.p, pattern, n) == 0
				     : slice_is(topic, pattern);
}

const struct route *route_table_find(
	const struct route_table *table, struct slice topic, struct slice event)
{
	for (int i = 0; i < table->n; i++) {
		const struct route *route = table->rows[i].route;

		if (topic_matches(route->topic, topic) && slice_is(event, route->event))
			return route;
	}
	return NULL;
}

void route_table_count(const struct route_table *table, const struct route *route,
	const char *outcome, double seconds)
{
	const struct row *row = table->rows;

	while (row->route != route)
		row++;
	if (strcmp(outcome, "ok") == 0)
		metrics_add(row->ok, 1);
	else
		metrics_add(metrics_seriesf(METRIC_MESSAGES, "event=\"%s\",outcome=\"%s\"",
				    route->event, outcome),
			1);
	metrics_observe(row->seconds, seconds);
}

/*
 * The database's clock. The janitor measures it in each sweep; an outage leaves the last value.
 */
#include "core/db_clock.h"

#include "lib/base.h"
#include "lib/metrics.h"

struct db_clock {
	int64_t offset; /* microseconds that it is ahead */
};

struct db_clock *db_clock_new(void)
{
	return xcalloc(1, sizeof(struct db_clock));
}

void db_clock_measured(struct db_clock *clock, int64_t us, int64_t took_ms)
{
	clock->offset = us - (now_us() - took_ms * 1000 / 2);
	metrics_set(metrics_series(METRIC_DB_CLOCK_OFFSET, NULL), (double)clock->offset / 1e6);
}

int64_t db_clock_at(const struct db_clock *clock, int64_t ours)
{
	return ours + clock->offset;
}

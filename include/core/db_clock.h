/*
 * db_clock: by how much the database's clock is ahead of this machine's. The times that decide are
 * the database's; this is for what is measured and shown here.
 */
#ifndef DB_CLOCK_H
#define DB_CLOCK_H

#include <stdint.h>

struct db_clock;

/* Equal to this machine's until it has been measured. Freed with free(3). */
struct db_clock *db_clock_new(void);

/* The database said that it was this late (microseconds since 1970) when it was asked so many
 * milliseconds ago. Its answer is taken to be from the middle of that time. */
void db_clock_measured(struct db_clock *clock, int64_t us, int64_t took_ms);

/* What the database's clock showed when ours (now_us()) showed this. */
int64_t db_clock_at(const struct db_clock *clock, int64_t ours);

#endif

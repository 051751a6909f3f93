/*
 * retention: which period is meant for whom (retention.h). Invariant: the period of the log's
 * partitions is that of whoever keeps lines the longest, so no partition goes too early.
 */
#include "core/retention.h"

static const size_t periods[RETENTION_KINDS] = {
	offsetof(struct retention, runs),
	offsetof(struct retention, dataclips),
	offsetof(struct retention, logs),
};

const char *const retention_partitioned[RETENTION_PARTITIONED] = { "log_lines", "transitions" };

int64_t retention_of_partitions(const struct conf *conf, size_t table)
{
	return table == 0 ? conf_longest(conf, offsetof(struct retention, logs))
			  : conf->retention_journal;
}

/* Until a partition goes, the lines of those who keep theirs for less are deleted one by one; of
 * the others none has to. */
static int64_t period_of(const struct conf *conf, const struct retention *r, size_t kind)
{
	int64_t keep = *(const int64_t *)((const char *)r + periods[kind]);

	if (periods[kind] == offsetof(struct retention, logs) &&
		keep == conf_longest(conf, periods[kind]))
		return 0;
	return keep;
}

void retention_params(const struct conf *conf, struct buf params[RETENTION_PARAMS])
{
	char id[UUID_TEXT];

	for (size_t i = 0; i <= RETENTION_KINDS; i++)
		buf_addc(&params[i], '{');
	for (size_t i = 0; i < conf->nprojects; i++) {
		const struct conf_project *project = &conf->projects[i];
		const char *comma = i == 0 ? "" : ",";

		buf_addf(&params[0], "%s%s", comma, uuid_format(&project->id, id));
		for (size_t k = 0; k < RETENTION_KINDS; k++)
			buf_addf(&params[1 + k], "%s%jd", comma,
				(intmax_t)period_of(conf, &project->retention, k));
	}
	for (size_t i = 0; i <= RETENTION_KINDS; i++)
		buf_addc(&params[i], '}');
	for (size_t k = 0; k < RETENTION_KINDS; k++)
		buf_addf(&params[1 + RETENTION_KINDS + k], "%jd",
			(intmax_t)period_of(conf, &conf->retention, k));
}

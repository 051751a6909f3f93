/*
 * cli lost, workers: what the janitor would do now, and who is there. The janitor's own statement
 * finds the runs, so this cannot say anything else than it does; but it knows of no outage, after
 * which the janitor waits.
 */
#include "cli.h"

#include <stdlib.h>

#include "core/stmt.h"

static int run_lost(const struct cli *cli)
{
	const struct conf *conf = cli->conf;
	char numbers[4][24], *query;
	int64_t ahead = 0;
	int limit, status;

	if (!cli_number(cli, "limit", 1, 1000000, 100, &limit) ||
		!cli_duration(cli, "within", 0, "like 10m", &ahead))
		return CLI_USAGE;
	const int64_t values[] = { ahead, conf->join_timeout, conf->max_requeues, limit };
	for (size_t i = 0; i < countof(values); i++)
		snprintf(numbers[i], sizeof(numbers[i]), "%lld", (long long)values[i]);
	const char *params[] = { numbers[0], numbers[1],
		conf->lease ? "join lease deadline" : "join deadline",
		conf_after_claim_name(conf->after_claim), numbers[2], "0", "0", numbers[3] };
	query = xasprintf("SELECT id AS run, state, worker_name AS worker, clock, overdue, action "
			  "FROM (%s) found",
		stmt_get("sweep_find")->sql);
	status = cli_list(cli, query, countof(params), params);
	free(query);
	return status;
}

static int run_workers(const struct cli *cli)
{
	const char *all = cli_option(cli, "all") ? "t" : "f";

	return cli_list(cli, cli_sql("workers"), 1, &all);
}

const struct cli_command cli_lost = {
	.name = "lost",
	.help = "Shows which runs the janitor would take now: by which clock, and by how much.",
	.options = {
		{ "within", "TIME", "or within this time, without activity (0)" },
		{ "dry-run", NULL, "changes nothing, which is so in any case" },
		{ "limit", "N", "at most N (100)" },
		{ "json", NULL, "prints a JSON array" },
	},
	.run = run_lost,
};

const struct cli_command cli_workers = {
	.name = "workers",
	.help = "Lists the connected workers of all coordinators, as of some seconds ago.",
	.options = {
		{ "all", NULL, "also coordinators that are gone, as last reported" },
		{ "json", NULL, "prints a JSON array" },
	},
	.run = run_workers,
};

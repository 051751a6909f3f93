/*
 * cli term: what is printed only on a terminal: colours and progress.
 */
#include "cli.h"

#include <unistd.h>

static bool is_coloured(void)
{
	static int coloured = -1;

	if (coloured < 0)
		coloured = log_colours(STDOUT_FILENO);
	return coloured;
}

const char *cli_colour(enum cli_colour colour)
{
	static const char *const codes[] = {
		[CLI_PLAIN] = "\33[0m",
		[CLI_BOLD] = "\33[1m",
		[CLI_DIM] = "\33[2m",
		[CLI_RED] = "\33[31m",
		[CLI_GREEN] = "\33[32m",
		[CLI_YELLOW] = "\33[33m",
	};

	return is_coloured() ? codes[colour] : "";
}

/* The states of runs and work orders. */
enum cli_colour cli_state_colour(const char *state)
{
	static const struct {
		const char *state;
		enum cli_colour colour;
	} colours[] = {
		{ "success", CLI_GREEN },
		{ "started", CLI_BOLD },
		{ "running", CLI_BOLD },
		{ "available", CLI_DIM },
		{ "pending", CLI_DIM },
		{ "cancelled", CLI_DIM },
		{ "failed", CLI_RED },
		{ "crashed", CLI_RED },
		{ "killed", CLI_RED },
		{ "exception", CLI_RED },
		{ "lost", CLI_RED },
	};

	for (size_t i = 0; i < countof(colours); i++)
		if (strcmp(state, colours[i].state) == 0)
			return colours[i].colour;
	return CLI_PLAIN;
}

/* The cursor goes back to the line's start, so that the next output overwrites it. */
void cli_progress(const char *what, int64_t done, int64_t total)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "%jd of %jd %s%c", (intmax_t)done, (intmax_t)total, what,
			done < total ? '\r' : '\n');
}

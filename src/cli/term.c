/*
 * cli term: what depends on a person at a terminal: colours, progress, questions, the width of
 * lines.
 */
#include "cli.h"

#include <stdlib.h>
#include <unistd.h>

enum { COLUMNS = 80 };

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

static int columns_of(const char *word, size_t n)
{
	int columns = 0;

	for (size_t i = 0; i < n; i++)
		columns += ((unsigned char)word[i] & 0xc0) !=
			   0x80; /* of UTF-8, a character's first byte */
	return columns;
}

void cli_paragraph(const char *text, int indent)
{
	int column = indent;

	while (*text) {
		size_t n = strcspn(text, " ");
		int columns = columns_of(text, n);

		if (column > indent && column + 1 + columns > COLUMNS) {
			printf("\n%*s", indent, "");
			column = indent;
		} else if (column > indent) {
			putchar(' ');
			column++;
		}
		printf("%.*s", (int)n, text);
		column += columns;
		text += n;
		text += strspn(text, " ");
	}
	putchar('\n');
}

bool cli_confirm(const char *fmt, ...)
{
	char answer[16];
	va_list ap;

	if (!isatty(STDIN_FILENO)) {
		cli_error("stdin is not a terminal: give --yes instead of an answer");
		return false;
	}
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fputs(" [y/N] ", stdout);
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y');
}

/*
 * What the fuzz targets share. Each is a function that libFuzzer calls with bytes of its own
 * invention; what must hold is required(), and the sanitizers see the rest.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "lib/base.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static inline void require(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

/* The next line of the input, without its end, as text that the caller frees. A NUL ends the text
 * as it does everywhere in C; libFuzzer learns quickly to do without. */
static inline char *next_line(struct slice *input)
{
	const char *end = input->n > 0 ? memchr(input->p, '\n', input->n) : NULL;
	size_t n = end ? (size_t)(end - input->p) : input->n;
	char *line = xmalloc(n + 1);

	if (n > 0)
		memcpy(line, input->p, n);
	line[n] = '\0';
	n += end != NULL;
	*input = (struct slice){ input->n > 0 ? input->p + n : NULL, input->n - n };
	return line;
}

#endif

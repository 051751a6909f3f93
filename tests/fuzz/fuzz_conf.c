/*
 * The configuration's file: whatever its bytes are, there is a configuration or there are
 * sentences, never both; and what is printed of a configuration is one, which says the same.
 */
#include "core/conf.h"
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

/* A file of these bytes that conf_load can open by name. */
static struct conf *load(const void *data, size_t n, struct buf *err)
{
	char path[32];
	int fd = memfd_create("conf", MFD_CLOEXEC);

	require(fd >= 0 && write(fd, data, n) == (ssize_t)n, "no file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	struct conf *conf = conf_load(path, err);
	close(fd);
	return conf;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf err = { 0 }, text = { 0 }, again = { 0 }, kept = { 0 };
	struct conf *conf = load(data, n, &err);

	require((conf == NULL) == (err.n > 0), "a mistake without a sentence, or the reverse");
	if (conf != NULL) {
		conf_print(conf, &text);
		struct conf *copy = load(text.p, text.n, &err);
		require(copy != NULL, "what was printed is refused");
		conf_print(copy, &again);
		require(text.n == again.n && memcmp(text.p, again.p, text.n) == 0,
			"what was printed says something else");
		conf_reload(conf, copy, &kept);
		conf_free(conf);
	}
	buf_free(&err);
	buf_free(&text);
	buf_free(&again);
	buf_free(&kept);
	return 0;
}

/*
 * metrics_process: what the kernel says of this process, under the names that every exporter gives
 * it. metrics.c calls it when it writes, and it sets series of metrics.c: a circle by nature, the
 * process being one more family.
 */
#include "lib/metrics.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void set(enum metrics_family family, double value)
{
	metrics_set(metrics_series(family, NULL), value);
}

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = -3; /* not itself, and neither . nor .. */

	/* cppcheck-suppress readdirCalled ; only this thread reads this stream */
	while (dir != NULL && readdir(dir) != NULL)
		n++;
	if (dir != NULL)
		closedir(dir);
	return n;
}

/* Pages of the process: all, and those in memory. */
static void set_memory(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	double all, resident, page = (double)sysconf(_SC_PAGESIZE);

	if (f != NULL && fscanf(f, "%lf %lf", &all, &resident) == 2) {
		set(METRIC_PROCESS_VIRTUAL, all * page);
		set(METRIC_PROCESS_RESIDENT, resident * page);
	}
	if (f != NULL)
		fclose(f);
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* The start is the time of the first call, by metrics_begin. */
void metrics_process(void)
{
	static double start;
	struct series *cpu = metrics_series(METRIC_PROCESS_CPU, NULL);
	struct rusage used;
	struct rlimit limit;

	if (start == 0)
		start = (double)now_us() / 1e6;
	set(METRIC_PROCESS_START, start);
	set(METRIC_PROCESS_FDS, count_descriptors());
	set_memory();
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		set(METRIC_PROCESS_MAX_FDS, (double)limit.rlim_cur);
	if (getrusage(RUSAGE_SELF, &used) == 0) {
		double now = seconds(used.ru_utime) + seconds(used.ru_stime),
		       so_far = metrics_value(cpu);
		metrics_add(cpu, now > so_far ? now - so_far : 0);
	}
}

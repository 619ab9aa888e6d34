/* SPDX-License-Identifier: MIT */
/* What the threads of this process have waited for a processor: a limit of time is one of the rest. */
#ifndef TESTS_WAITED_H
#define TESTS_WAITED_H

#include <dirent.h>
#include <limits.h>
#include <stdio.h>

/*
 * Nanoseconds, of all threads that live: the second figure of each one's schedstat. Only what waits to run counts, so
 * a thread that hangs, asleep, does not put a limit off.
 */
static inline unsigned long long waited_ns(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned long long sum = 0, ns;
	char path[NAME_MAX + 32];
	struct dirent *e;

	while (d && (e = readdir(d))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", e->d_name);
		f = fopen(path, "re");
		if (f && fscanf(f, "%*u %llu", &ns) == 1)
			sum += ns;
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return sum;
}

#endif

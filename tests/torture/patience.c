/* SPDX-License-Identifier: MIT */
#include "patience.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_NS 10000000ULL /* a look counts for so much at most: the caller may have been put aside, too */

static uint64_t read_clock(clockid_t clock)
{
	struct timespec t;

	return clock_gettime(clock, &t) ? 0 : (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The letter behind the name, which ends with the last parenthesis (proc(5), /proc/PID/stat). */
static char state(const char *dir, const char *tid)
{
	char path[300], line[512], *end;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/stat", dir, tid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	end = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return end && end[1] ? end[2] : 0;
}

/* Does a thread wait for a processor, or for a disk? */
static int wants_to_run(pid_t pid)
{
	char dir[64];
	struct dirent *e;
	int wants = 0;
	DIR *d;

	snprintf(dir, sizeof(dir), "/proc/%d/task", pid);
	d = opendir(dir);
	while (d && !wants && (e = readdir(d))) {
		char s = e->d_name[0] == '.' || atoi(e->d_name) == gettid() ? 0 : state(dir, e->d_name);

		wants = s == 'R' || s == 'D';
	}
	if (d)
		closedir(d);
	return wants;
}

struct patience patience_with(pid_t pid)
{
	struct patience p = {.pid = pid, .looked = read_clock(CLOCK_MONOTONIC)};

	if (clock_getcpuclockid(pid, &p.clock))
		p.clock = CLOCK_MONOTONIC;
	p.cpu = read_clock(p.clock);
	return p;
}

uint64_t patience_spent(struct patience *p)
{
	uint64_t cpu = read_clock(p->clock), looked = read_clock(CLOCK_MONOTONIC);
	uint64_t ran = cpu > p->cpu ? cpu - p->cpu : 0, slept = looked - p->looked;

	p->spent += ran;
	if (!ran && !wants_to_run(p->pid))
		p->spent += slept < LOOK_NS ? slept : LOOK_NS;
	p->cpu = cpu;
	p->looked = looked;
	return p->spent;
}

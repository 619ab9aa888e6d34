/* SPDX-License-Identifier: MIT */
#include "rounds.h"

#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include "calls.h"
#include "check.h"

#define SLACK_MAPS 12 /* guards of thread stacks the C library keeps */

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* Of files, and reserved ones: allocators and stacks come and go as they like. To `out` as well, if that is not NULL. */
static unsigned count_maps(FILE *out)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strchr(line, '/') && !strstr(line, " ---p "))
			continue;
		n++;
		if (out)
			fputs(line, out);
	}
	if (f)
		fclose(f);
	return n;
}

static void check_left(u64 round)
{
	static unsigned fds, maps;
	unsigned fds_now = count_fds(), maps_now = count_maps(NULL);

	if (!round) { /* what is made once is there now */
		fds = fds_now;
		maps = maps_now;
	}
	if (maps_now > maps + SLACK_MAPS)
		count_maps(stderr);
	MUST(fds_now == fds && maps_now <= maps + SLACK_MAPS,
	     "left: %u descriptors, were %u; %u mappings, were %u", fds_now, fds, maps_now, maps);
}

static void on_alarm(int sig)
{
	static const char text[] = "a hang\n";

	if (write(2, text, sizeof(text) - 1) < 0)
		_exit(3);
	abort();
}

struct rng rounds_rng(struct rng *r, unsigned i)
{
	return (struct rng){rng_next(r) * 0x5851f42d4c957f2dULL + i};
}

int rounds_main(int argc, char **argv, const struct rounds *r)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 2);
	u64 seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (u64)time(NULL), round = 0;

	/* A second arena, made when two threads want memory at once, keeps address space of its own. */
	mallopt(M_ARENA_MAX, 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %llu\n", (unsigned long long)seed);
	signal(SIGALRM, on_alarm);
	calls_init();
	r->init();
	do {
		struct rng rng = {seed ^ round * 0x9e3779b97f4a7c15ULL};

		alarm(ROUND_SECONDS);
		r->one(&rng, round);
		check_left(round++);
		if (round % r->leak_rounds == 0)
			calls_check_leaks();
	} while (time(NULL) < end);
	calls_check_leaks();
	calls_check_balance();
	printf("%llu rounds, ", (unsigned long long)round);
	r->print();
	printf("a signal is heard within %llu us of a vCPU's CPU time\n", (unsigned long long)calls_worst() / 1000);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * usage: stress_mem [-t SECONDS] [-s SEED] [-v VCPUS] [-u] [-q]
 *
 *   -t  how long (5)
 *   -s  seed of the guests' accesses and of each thread's changes (from the clock)
 *   -v  vCPUs, 2 to 8 (chosen by the seed)
 *   -u  make the changes by system calls of its own, unseen by a library in between. A
 *       guest may then see old bytes of the same page, but never another's, and nobody's
 *       memory outside the guest is touched.
 *   -q  no progress
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "changes.h"

#define CHANGERS      3
#define STALL_SECONDS 60

static unsigned seconds = 5, seed, vcpus;
static bool quiet;
static bool stopping;
static struct changer changers[CHANGERS];

void fail(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "stress_mem: ");
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\nstress_mem: again with: -s %u -v %u%s; doing", seed, vcpus,
		unseen ? " -u" : "");
	for (u32 i = 0; i < CHANGERS; i++)
		fprintf(stderr, "%s %s", i ? "," : "",
			LOAD(changers[i].doing) ? LOAD(changers[i].doing) : "nothing");
	fprintf(stderr, "\n");
	_exit(1);
}

static void parse(int argc, char **argv)
{
	int o;

	seed = (unsigned)time(NULL);
	while ((o = getopt(argc, argv, "t:s:v:uq")) != -1) {
		switch (o) {
		case 't':
			seconds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 's':
			seed = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'v':
			vcpus = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'u':
			unseen = true;
			break;
		case 'q':
			quiet = true;
			break;
		default:
			exit(2);
		}
	}
	if (!vcpus)
		vcpus = 2 + seed % (MAX_VCPUS - 1);
	if (vcpus < 1 || vcpus > MAX_VCPUS)
		fail("at most %u vCPUs", MAX_VCPUS);
}

static void *changer_thread(void *arg)
{
	while (!LOAD(stopping))
		change_something(arg);
	return NULL;
}

static u64 total_done(void)
{
	u64 n = 0;

	for (u32 i = 0; i < CHANGERS; i++)
		n += LOAD(changers[i].done);
	return n;
}

/* Only this thread prints while the others run. */
static void watch(void)
{
	u64 before = 0;
	u32 stalled = 0;

	for (unsigned t = 1; t <= seconds; t++) {
		u64 now, reads = 0, writes = 0;

		sleep(1);
		now = total_done();
		stalled = now == before ? stalled + 1 : 0;
		MUST(stalled < STALL_SECONDS, "nothing has changed for %u s", STALL_SECONDS);
		before = now;
		for (u32 i = 0; i < vcpus; i++) {
			reads += LOAD(machine.control->vcpus[i].reads);
			writes += LOAD(machine.control->vcpus[i].writes);
		}
		if (!quiet)
			printf("%3u s: %lu changes, %lu reads, %lu writes\n", t, now, reads,
			       writes);
	}
}

static void summary(void)
{
	u64 stable = 0, others = 0, exact = 0, faults = 0, mmios = 0;

	for (u32 i = 0; i < vcpus; i++) {
		struct gvcpu *g = machine.vcpus[i].g;

		stable += g->stable;
		others += g->others;
		exact += g->exact;
		faults += machine.vcpus[i].faults;
		mmios += machine.vcpus[i].mmios;
		MUST(g->reads > 100 && g->writes > 100, "vCPU %u hardly ran", i);
	}
	changes_print();
	printf("%lu reads of pages at rest, %lu of another's counter, %lu counts without a change "
	       "between, %lu EFAULTs, %lu MMIO exits; every byte as expected\n",
	       stable, others, exact, faults, mmios);
	MUST(unseen || (stable && others && exact), "nothing was checked");
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(argc, argv);
	printf("seed %u, %u vCPUs%s\n", seed, vcpus, unseen ? ", unseen changes" : "");
	machine_create(vcpus, seed & 1);
	machine.control->strict = !unseen;
	machine.control->nvcpus = vcpus;
	for (u32 b = 0; b < NR_BACKINGS; b++)
		if (!area_create(b))
			printf("without %s memory\n", backing_names[b]);
	for (u32 i = 0; i < vcpus; i++)
		machine.control->vcpus[i].rng = 0x9e3779b97f4a7c15ULL * (seed * 16ULL + i + 1);
	machine_start();
	for (u32 i = 0; i < CHANGERS; i++) {
		changers[i].seed = seed * CHANGERS + i;
		MUST(!pthread_create(&changers[i].thread, NULL, changer_thread, &changers[i]),
		     "out of threads");
	}
	watch();
	STORE(stopping, true);
	for (u32 i = 0; i < CHANGERS; i++)
		pthread_join(changers[i].thread, NULL);
	machine_stop();
	for (u32 i = 0; i < nareas; i++)
		area_check(&areas[i]);
	litter_check();
	summary();
	for (u32 i = 0; i < nareas; i++)
		area_destroy(&areas[i]);
	return 0;
}

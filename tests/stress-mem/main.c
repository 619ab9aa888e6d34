/* SPDX-License-Identifier: MIT */
/*
 * usage: stress_mem [-t SECONDS] [-s SEED] [-v VCPUS] [-o CHANGE,...] [-b WAY,...] [-n] [-w] [-l] [-q]
 *
 *   -t  --seconds  how long (5)
 *   -s  --seed     of the guests' accesses and of each thread's changes (from the clock). What each
 *                  thread does is a function of it; how threads meet is not.
 *   -v  --vcpus    2 to 8 (chosen by the seed)
 *   -o  --ops      only these changes
 *   -b  --by WAYS  calls are made in these ways only, by name, with commas between: libc, raw, child,
 *                  vfork, foreign; else in any
 *   -n  --untold   libc's calls, too, are seen by no library in between
 *   -w  --weak     a guest may see old bytes of the same page for good, but never another's, and
 *                  nobody's memory outside the guest is touched
 *   -l  --log      print each change
 *   -q  --quiet    no progress
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "changes.h"

#define CHANGERS      3
#define STALL_SECONDS 60

static unsigned seconds = 5, seed, vcpus;
static bool quiet, fetches;
static bool stopping;
static const char *ops, *by;
static struct changer changers[CHANGERS];
static pthread_t clock_of_ms;

double seconds_now(void)
{
	static double start; /* asked for first before there are threads */
	struct timespec ts;
	double now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
	if (start == 0)
		start = now;
	return now - start;
}

void fail(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "the last changes of each thread (begun, ended):\n");
	for (u32 i = 0; i < CHANGERS; i++)
		changes_print_log(&changers[i]);
	fprintf(stderr, "stress_mem: ");
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\nstress_mem: again with: -s %u -v %u%s%s%s%s%s%s; doing", seed, vcpus,
		by ? " -b " : "", by ? by : "",
		untold ? " -n" : "", weak ? " -w" : "", ops ? " -o " : "", ops ? ops : "");
	for (u32 i = 0; i < CHANGERS; i++) {
		const char *doing = LOAD(changers[i].doing);

		fprintf(stderr, "%s %s", i ? "," : "", doing ? doing : "nothing");
	}
	fprintf(stderr, "\n");
	areas_restore_host();
	_exit(1);
}

static unsigned number(const char *s)
{
	return (unsigned)strtoul(s, NULL, 10);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"seconds", required_argument, NULL, 't'}, {"seed", required_argument, NULL, 's'},
		{"vcpus", required_argument, NULL, 'v'},   {"ops", required_argument, NULL, 'o'},
		{"by", required_argument, NULL, 'b'},	   {"untold", no_argument, NULL, 'n'},
		{"weak", no_argument, NULL, 'w'},
		{"log", no_argument, NULL, 'l'},	   {"quiet", no_argument, NULL, 'q'},
		{0},
	};
	int o;

	seed = (unsigned)time(NULL);
	while ((o = getopt_long(argc, argv, "t:s:v:o:b:nwlq", options, NULL)) != -1) {
		switch (o) {
		case 't':
			seconds = number(optarg);
			break;
		case 's':
			seed = number(optarg);
			break;
		case 'v':
			vcpus = number(optarg);
			break;
		case 'o':
			ops = optarg;
			break;
		case 'b':
			by = optarg;
			break;
		case 'n':
			untold = true;
			break;
		case 'w':
			weak = true;
			break;
		case 'l':
			changes_logged = true;
			break;
		case 'q':
			quiet = true;
			break;
		default:
			exit(2);
		}
	}
	fetches = seed / NR_LOG_MODES & 1;
	if (ops)
		MUST(changes_select(ops), "no such change");
	if (by)
		MUST(changes_select_ways(by), "no such way");
	ways_look_at_kernel();
	if (untold && !told_at_all)
		weak = true;
	if (!vcpus)
		vcpus = 2 + seed % (MAX_VCPUS - 1);
	MUST(vcpus >= 1 && vcpus <= MAX_VCPUS, "at most %u vCPUs", MAX_VCPUS);
}

static void *changer_thread(void *arg)
{
	while (!LOAD(stopping))
		change_something(arg);
	return NULL;
}

/* The time, for guests. */
static void *clock_thread(void *unused)
{
	const struct timespec ms = {.tv_nsec = 1000000};

	while (!LOAD(machine.control->stop)) {
		STORE(machine.control->now, (u32)(seconds_now() * 1000));
		nanosleep(&ms, NULL);
	}
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
	u64 stable = 0, others = 0, calls = 0, exact = 0, faults = 0, mmios = 0;
	u64 reads = 0, writes = 0;

	for (u32 i = 0; i < vcpus; i++) {
		struct gvcpu *g = machine.vcpus[i].g;

		reads += g->reads;
		writes += g->writes;
		stable += g->stable;
		others += g->others;
		calls += g->fetches;
		exact += g->exact;
		faults += machine.vcpus[i].faults;
		mmios += machine.vcpus[i].mmios;
		MUST(g->reads > 100 && g->writes > 100, "vCPU %u hardly ran", i);
	}
	changes_print();
	printf("%lu reads, %lu writes, %lu EFAULTs, %lu MMIO exits: ", reads, writes, faults, mmios);
	if (weak)
		printf("every byte its page's own\n");
	else
		printf("%lu of pages at rest, %lu of another's counter, %lu calls of code, %lu counts "
		       "without a change between; every byte as expected\n",
		       stable, others, calls, exact);
	MUST(weak || (stable && others && exact && (calls || !fetches)), "nothing was checked");
}

static const char *const log_modes[] = {"dirty logs", "dirty logs cleared by hand",
					"dirty rings"};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(argc, argv);
	seconds_now(); /* the start */
	printf("seed %u, %u vCPUs, %s%s%s%s\n", seed, vcpus, log_modes[seed % NR_LOG_MODES],
	       fetches ? ", code in data" : "", untold ? ", untold" : "",
	       weak ? ", not looked at" : "");
	machine_create(vcpus, seed % NR_LOG_MODES);
	machine.control->strict = !weak;
	machine.control->fetches = fetches;
	machine.control->nvcpus = vcpus;
	for (u32 b = 0; b < NR_BACKINGS; b++)
		if (!area_create(b))
			printf("without %s memory\n", backing_names[b]);
	for (u32 i = 0; i < vcpus; i++)
		machine.control->vcpus[i].rng = 0x9e3779b97f4a7c15ULL * (seed * 16ULL + i + 1);
	foreign_start();
	MUST(!pthread_create(&clock_of_ms, NULL, clock_thread, NULL), "out of threads");
	machine_start();
	for (u32 i = 0; i < CHANGERS; i++) {
		changers[i].index = i;
		changers[i].first_seed = seed * CHANGERS + i;
		MUST(!pthread_create(&changers[i].thread, NULL, changer_thread, &changers[i]),
		     "out of threads");
	}
	watch();
	STORE(stopping, true);
	for (u32 i = 0; i < CHANGERS; i++)
		pthread_join(changers[i].thread, NULL);
	machine_stop();
	pthread_join(clock_of_ms, NULL);
	for (u32 i = 0; i < nareas; i++)
		area_check(&areas[i]);
	litter_check();
	summary();
	for (u32 i = 0; i < nareas; i++)
		area_destroy(&areas[i]);
	areas_restore_host();
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * explore/explore.h: run a scenario through its interleavings; for the command line and for tests.
 * Not thread-safe: one search a process.
 */
#ifndef EXPLORE_EXPLORE_H
#define EXPLORE_EXPLORE_H

#include "explore/scenario.h"

struct explore_limits {
	u64 executions;	      /* at most; 0: no bound */
	double seconds;	      /* at most, and one execution; 0: no bound */
	bool processor_time;  /* seconds of a processor are meant */
	bool order;	      /* all schedules of `from` preemptions (0), of one more, up to `preemptions` */
	unsigned preemptions;
	int from;	      /* with the place where an earlier search stopped, and how many it had run */
	u64 schedules;
	const char *at;
	unsigned changes;     /* and random priorities with so many change points; 0: not */
	u64 seed;	      /* of the first random execution */
	bool unshrunk;	      /* what is found is not made shorter */
};

#define EXPLORE_SHORT 40 /* choices of a schedule that a reader follows without a pencil */

struct explore_result {
	enum sched_verdict verdict; /* SCHED_OK: nothing found */
	u64 executions, states, steps;
	double seconds, cpu_seconds;
	int bound;		    /* every schedule of so many preemptions was run; -1: not even of none */
	u64 all;		    /* and how many those were */
	u64 schedules;		    /* of the bound after that, so far */
	char *at;		    /* where the search in order stopped in the bound after that, or NULL; free() */
	u64 seed;		    /* random: the execution that found it, or the next */
	bool whole;		    /* nothing is left to search: there is one actor */
	char why[512];
	struct sched_schedule schedule; /* that shows it, shrunk; free() its turns */
	u32 choices;			/* that a reader follows */
};

/* A survey of what is shared, then all schedules within a bound and random ones by turns (explore.c). */
void explore_search(const struct scenario *s, const struct explore_limits *l, struct explore_result *r);
/* A few executions in which every step is a choice, to see who touches what; how many. Before a replay, so that
 * it knows which steps are choices. */
unsigned explore_survey(const struct scenario *s);
/* One execution as sched_configure() says; one of this schedule. */
enum sched_verdict explore_execute(const struct scenario *s);
enum sched_verdict explore_run(const struct scenario *s, const struct sched_schedule *t);

/* All there are, one after the other; NULL past the last. */
const struct scenario *explore_scenario(unsigned n);
const struct scenario *explore_find(const char *name);
/* Names of defects, for --defect; NULL past the last. */
const char *explore_defect_name(unsigned defect);

#endif

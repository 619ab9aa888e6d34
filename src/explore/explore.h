/* SPDX-License-Identifier: MIT */
/*
 * explore/explore.h: run a scenario through its interleavings; for the command line and for tests.
 * Not thread-safe: one search a process.
 */
#ifndef EXPLORE_EXPLORE_H
#define EXPLORE_EXPLORE_H

#include "explore/scenario.h"

struct explore_limits {
	u64 executions; /* at most; 0: no bound */
	double seconds; /* at most; 0: no bound */
	unsigned preemptions;
	u64 seed;	/* of the first random execution */
};

struct explore_result {
	enum sched_verdict verdict; /* SCHED_OK: nothing found */
	u64 executions;
	bool complete;		    /* exhaustive: every schedule within the bound was run */
	u64 seed;		    /* random: the execution that found it */
	char why[512];
	struct sched_trace trace;   /* the schedule that shows it, shrunk; free() its arrays */
};

/* Every schedule of at most `preemptions` preemptions. */
void explore_exhaustive(const struct scenario *s, const struct explore_limits *l,
			struct explore_result *r);
/* Random priorities with `preemptions` change points, seed after seed. */
void explore_random(const struct scenario *s, const struct explore_limits *l,
		    struct explore_result *r);
/* One schedule again; verbose prints its steps. */
void explore_replay(const struct scenario *s, const struct sched_trace *t, bool verbose,
		    struct explore_result *r);

/* All there are, one after the other; NULL past the last. */
const struct scenario *explore_scenario(unsigned n);
const struct scenario *explore_find(const char *name);
/* Names of defects, for --defect; NULL past the last. */
const char *explore_defect_name(unsigned defect);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * explore/campaign.h: many scenarios, each in a process of its own, on the processors there are, within a
 * time. What a campaign has done can be kept in a file, and the next one goes on.
 */
#ifndef EXPLORE_CAMPAIGN_H
#define EXPLORE_CAMPAIGN_H

#include "explore/explore.h"

#define CAMPAIGN_SCENARIOS 256 /* at most */

struct campaign {
	struct explore_limits limits;
	double seconds;	      /* for all, as limits.processor_time says; 0: limits.seconds for each */
	unsigned jobs;	      /* at a time; 0: as many as there are processors */
	const struct scenario *only[CAMPAIGN_SCENARIOS]; /* these, in this order; none: all */
	unsigned nonly;
	const char *state;    /* a file, or NULL */
	bool first;	      /* no other is begun once something was found that a reader can follow, if it was shrunk */
	/* Called in the process of each, when its time is up: prints what was found, or that nothing was. */
	void (*report)(const struct scenario *s, const struct explore_result *r, void *arg);
	void *arg;
};

/* The n-th that it explores; NULL past the last. */
const struct scenario *campaign_scenario(const struct campaign *c, unsigned n);
/* 0: nothing was found, 1: something was; or -errno of the state file. */
int campaign_run(const struct campaign *c);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * explore/show.h: one schedule, looked at: every step of it with who makes it, where in the source, and what
 * the world is like before it.
 */
#ifndef EXPLORE_SHOW_H
#define EXPLORE_SHOW_H

#include <stdio.h>

#include "explore/scenario.h"

struct show_step {
	int actor;
	const char *what, *where; /* "src/mmu/fault.c:123", or NULL */
	bool choice;		  /* another could go on */
	char *world;		  /* stage 2, pages, tokens and vCPUs before it; NULL: not asked for */
};

struct show {
	const struct scenario *s;
	const struct sched_schedule *t;
	struct show_step *step;
	u32 n, room;
	int actors;
	enum sched_verdict verdict;
	char why[512];
};

/* Run the schedule and keep its steps, with the world of each if `worlds`. show_free() it. */
void show_run(struct show *w, const struct scenario *s, const struct sched_schedule *t, bool worlds);
void show_free(struct show *w);

/* A column for each actor; what one does again and again is one line, `*' stands where there is a choice. */
void show_lanes(FILE *f, const struct show *w);
/* The same as one page of HTML that needs nothing else, with the world of each step. */
void show_html(FILE *f, const struct show *w);
/*
 * Forward and back: commands from `in`, a line each; what is asked for goes to `out`. Source is read below
 * the directory `source`.
 */
void show_stepping(FILE *in, FILE *out, const struct show *w, const char *source);
/* The rule that was broken, in words, and the last step at which it could have been kept. */
void show_explain(FILE *f, const struct show *w);

/* world_show.c: stage 2, pages, tokens and vCPUs as they are now, a line each. */
void world_show(FILE *f);

#endif

/* SPDX-License-Identifier: MIT */
#include "explore/explore.h"
#include "explore/shrink.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SURVEY	       40 /* executions */
#define SURVEY_CHANGES 4
#define TURN	       50 /* executions in order, then so many random ones */

static double time_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

const struct scenario *explore_scenario(unsigned n)
{
	static const struct scenario *const all[] = {memory_scenarios, gmem_scenarios,
						     attribute_scenarios};

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		for (const struct scenario *s = all[i]; s->name; s++) {
			if (!n--)
				return s;
		}
	}
	return NULL;
}

const struct scenario *explore_find(const char *name)
{
	const struct scenario *s;

	for (unsigned i = 0; (s = explore_scenario(i)); i++) {
		if (!strcmp(s->name, name))
			return s;
	}
	return NULL;
}

const char *explore_defect_name(unsigned defect)
{
	static const char *const names[] = {
		[DEFECT_NONE] = "none",
#define DEFECT(constant, name, what, origin) [DEFECT_##constant] = name,
#include "defects_list.h"
#undef DEFECT
	};

	return defect < ARRAY_SIZE(names) ? names[defect] : NULL;
}

enum sched_verdict explore_execute(const struct scenario *s)
{
	enum sched_verdict v;

	sched_begin();
	s->setup();
	/* What set-up finds is found; its actors would begin in a world that is not theirs. */
	v = sched_verdict();
	if (v == SCHED_OK)
		v = sched_run();
	/* An execution that was broken off leaves locks held: there is nothing to take down. */
	if (v == SCHED_OK) {
		sched_finish(s->check, scenario_teardown);
		v = sched_verdict();
	}
	sched_end();
	return v == SCHED_OK ? sched_verdict() : v;
}

static void found(const struct scenario *s, const struct explore_limits *l, enum sched_verdict v,
		  struct explore_result *r)
{
	shrink_begin(&r->schedule);
	if (l->unshrunk) {
		r->verdict = v;
		r->choices = sched_choices();
		snprintf(r->why, sizeof(r->why), "%s", sched_why());
		return;
	}
	/* What is found only where all that is freed is inaccessible is shrunk there. */
	sched_strict(false);
	if (explore_run(s, &r->schedule) == SCHED_OK)
		sched_strict(true);
	shrink(s, &r->schedule);
	sched_strict(true);
	r->verdict = explore_run(s, &r->schedule);
	r->choices = sched_choices();
	if (r->verdict == SCHED_OK) {
		/* Cannot happen with a deterministic scenario; say what was seen all the same. */
		r->verdict = v;
	}
	snprintf(r->why, sizeof(r->why), "%s", sched_why());
}

/* One execution of a search; true when it has found something. */
static bool look(const struct scenario *s, const struct explore_limits *l, struct explore_result *r)
{
	enum sched_verdict v = explore_execute(s);

	r->executions++;
	if (v != SCHED_OK)
		found(s, l, v, r);
	return v != SCHED_OK;
}

static double now(const struct explore_limits *l)
{
	return time_of(l->processor_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC);
}

/* At least one execution, whatever the time. */
static unsigned survey(const struct scenario *s, const struct explore_limits *l, double until)
{
	unsigned n = 0;
	bool any = false;

	sched_forget();
	sched_survey(true);
	for (u64 seed = 1; seed <= SURVEY && !any && !(n && (sched_alone() || (until > 0 && now(l) >= until))); seed++) {
		sched_configure(SCHED_RANDOM, seed, SURVEY_CHANGES, NULL);
		any = explore_execute(s) != SCHED_OK;
		n++;
	}
	sched_survey(false);
	sched_grew();
	return n;
}

unsigned explore_survey(const struct scenario *s)
{
	return survey(s, NULL, 0);
}

/* A search: executions in order and random ones take turns. */
struct search {
	const struct scenario *s;
	const struct explore_limits *l;
	struct explore_result *r;
	double until;	      /* 0: no bound */
	unsigned preemptions; /* of those in order */
	bool begun;	      /* some of so many preemptions were run */
	bool all;	      /* none is left in order */
	bool whole;	      /* nor at random: there is one actor */
};

static bool goes_on(const struct search *x)
{
	if (x->r->verdict != SCHED_OK || (x->l->executions && x->r->executions >= x->l->executions))
		return false;
	return x->until <= 0 || now(x->l) < x->until;
}

static bool goes_on_in_order(const struct search *x)
{
	return x->l->order && !x->all && goes_on(x);
}

static bool goes_on_at_random(const struct search *x)
{
	return x->l->changes && !x->whole && goes_on(x);
}

/* The next one of all schedules of so many preemptions, and when that was the last, of one more. */
static void in_order(struct search *x)
{
	struct explore_result *r = x->r;

	if (x->begun)
		sched_go_on(x->preemptions);
	else
		sched_configure(SCHED_EXHAUSTIVE, 0, x->preemptions, NULL);
	if (!x->begun)
		r->schedules = 0;
	x->begun = true;
	if (look(x->s, x->l, r))
		return;
	r->schedules++;
	if (sched_grew()) {
		/* More is shared than was known: what was run had too few choices. */
		x->begun = false;
	} else if (!sched_advance()) {
		r->bound = (int)x->preemptions;
		r->all = r->schedules;
		x->begun = false;
		x->all = ++x->preemptions > x->l->preemptions;
	}
}

/* In every second one each step is a choice: that finds what goes wrong between steps, where two race. */
static void at_random(struct search *x)
{
	struct explore_result *r = x->r;

	sched_survey(r->seed & 1);
	sched_configure(SCHED_RANDOM, r->seed, x->l->changes, NULL);
	r->executions++;
	if (explore_execute(x->s) != SCHED_OK)
		r->verdict = sched_verdict();
	sched_survey(false);
	x->whole = sched_alone();
	if (r->verdict != SCHED_OK)
		found(x->s, x->l, r->verdict, r);
	else
		r->seed++;
}

/* Where an earlier search has stopped. */
static void return_to_place(struct search *x)
{
	const struct explore_limits *l = x->l;

	x->preemptions = (unsigned)l->from;
	x->all = x->preemptions > l->preemptions;
	sched_configure(SCHED_EXHAUSTIVE, 0, x->preemptions, NULL);
	x->begun = l->at && sched_return(l->at);
	if (x->begun)
		x->r->schedules = l->schedules;
}

static void take_turns(struct search *x)
{
	while (goes_on_in_order(x) || goes_on_at_random(x)) {
		for (unsigned i = 0; i < TURN && goes_on_in_order(x); i++)
			in_order(x);
		for (unsigned i = 0; i < TURN && goes_on_at_random(x); i++)
			at_random(x);
	}
	if (x->begun && x->r->verdict == SCHED_OK)
		x->r->at = sched_place();
}

void explore_search(const struct scenario *s, const struct explore_limits *l, struct explore_result *r)
{
	double start = time_of(CLOCK_MONOTONIC), cpu = time_of(CLOCK_PROCESS_CPUTIME_ID);
	struct search x = {.s = s, .l = l, .r = r, .until = l->seconds > 0 ? now(l) + l->seconds : 0};
	u64 steps = sched_steps();

	memset(r, 0, sizeof(*r));
	r->bound = l->from - 1;
	r->seed = l->seed;
	r->executions = survey(s, l, x.until);
	return_to_place(&x);
	take_turns(&x);
	r->whole = x.whole;
	r->states = sched_states();
	r->steps = sched_steps() - steps;
	r->seconds = time_of(CLOCK_MONOTONIC) - start;
	r->cpu_seconds = time_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
}

/* SPDX-License-Identifier: MIT */
#include "explore/explore.h"
#include "explore/shrink.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SURVEY	       40 /* executions */
#define SURVEY_CHANGES 4

static double time_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double now(void)
{
	return time_of(CLOCK_MONOTONIC);
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

static bool spent(const struct explore_limits *l, const struct explore_result *r, double until)
{
	return (l->executions && r->executions >= l->executions) || (until > 0 && now() >= until);
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

unsigned explore_survey(const struct scenario *s)
{
	unsigned n = 0;
	bool any = false;

	sched_forget();
	sched_survey(true);
	for (u64 seed = 1; seed <= SURVEY && !any && !(n && sched_alone()); seed++) {
		sched_configure(SCHED_RANDOM, seed, SURVEY_CHANGES, NULL);
		any = explore_execute(s) != SCHED_OK;
		n++;
	}
	sched_survey(false);
	sched_grew();
	return n;
}

/* All schedules of so many preemptions; true when that was the end. */
static bool in_order(const struct scenario *s, const struct explore_limits *l, unsigned preemptions,
		     double until, struct explore_result *r)
{
	sched_configure(SCHED_EXHAUSTIVE, 0, preemptions, NULL);
	r->schedules = 0;
	if ((int)preemptions == l->from && l->at && sched_return(l->at))
		r->schedules = l->schedules;
	for (;;) {
		if (look(s, l, r))
			return true;
		r->schedules++;
		if (sched_grew()) {
			/* More is shared than was known: what was run had too few choices. */
			sched_configure(SCHED_EXHAUSTIVE, 0, preemptions, NULL);
			r->schedules = 0;
		} else if (!sched_advance()) {
			r->bound = (int)preemptions;
			r->all = r->schedules;
			return false;
		}
		if (spent(l, r, until)) {
			r->at = sched_place();
			return true;
		}
	}
}

/* In every second one each step is a choice: that finds what goes wrong between steps, where two race. */
static void at_random(const struct scenario *s, const struct explore_limits *l, double until,
		      struct explore_result *r)
{
	bool any = false;

	for (r->seed = l->seed; !any && !spent(l, r, until); r->seed++) {
		sched_survey(r->seed & 1);
		sched_configure(SCHED_RANDOM, r->seed, l->changes, NULL);
		any = explore_execute(s) != SCHED_OK;
		sched_survey(false);
		r->executions++;
		if (sched_alone())
			break;
	}
	if (any)
		found(s, l, sched_verdict(), r);
}

void explore_search(const struct scenario *s, const struct explore_limits *l, struct explore_result *r)
{
	double start = now(), until = l->seconds > 0 ? start + l->seconds : 0;
	struct explore_limits first = *l; /* the search in order has half of it, if there is another */
	double cpu = time_of(CLOCK_PROCESS_CPUTIME_ID);
	u64 steps = sched_steps();

	if (l->changes) {
		first.executions = l->executions / 2;
		first.seconds = l->seconds / 2;
	}
	memset(r, 0, sizeof(*r));
	r->bound = l->from - 1;
	r->seed = l->seed;
	r->executions = explore_survey(s);
	for (unsigned p = (unsigned)l->from; l->order && p <= l->preemptions; p++) {
		if (in_order(s, &first, p, first.seconds > 0 ? start + first.seconds : 0, r))
			break;
	}
	if (r->verdict == SCHED_OK && l->changes)
		at_random(s, l, until, r);
	r->states = sched_states();
	r->steps = sched_steps() - steps;
	r->seconds = now() - start;
	r->cpu_seconds = time_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
}

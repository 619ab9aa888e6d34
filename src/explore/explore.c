/* SPDX-License-Identifier: MIT */
#include "explore/explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
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
		[DEFECT_NO_SEQUENCE_CHECK] = "no-sequence-check",
		[DEFECT_SEQUENCE_AFTER_FAULT] = "sequence-after-fault",
		[DEFECT_NO_ZAP] = "no-zap",
		[DEFECT_NO_FLUSH] = "no-flush",
		[DEFECT_CACHE_KEPT] = "cache-kept",
		[DEFECT_DROP_BY_PFN] = "drop-by-pfn",
		[DEFECT_NO_GRACE_PERIOD] = "no-grace-period",
		[DEFECT_GMEM_LOST_END] = "gmem-lost-end",
		[DEFECT_GMEM_FIRST_FILE_ONLY] = "gmem-first-file-only",
		[DEFECT_GMEM_NO_STORE_LOCK] = "gmem-no-store-lock",
		[DEFECT_ATTRIBUTE_NOT_RECHECKED] = "attribute-not-rechecked",
		[DEFECT_COPY_NOT_AWAITED] = "copy-not-awaited",
		[DEFECT_TEARDOWN_UNCHECKED] = "teardown-unchecked",
		[DEFECT_PIN_KEPT] = "pin-kept",
		[DEFECT_MARK_UNHELD] = "mark-unheld",
		[DEFECT_MARKS_DROPPED] = "marks-dropped",
		[DEFECT_NEEDS_PAGE] = "needs-page",
		[DEFECT_PAGE_BY_PFN] = "page-by-pfn",
		[DEFECT_END_LOOKS_UP] = "end-looks-up",
		[DEFECT_TOKEN_NO_REF] = "token-no-ref",
		[DEFECT_LATE_ZAP] = "late-zap",
		[DEFECT_PIN_WEAK] = "pin-weak",
		[DEFECT_SLOT_NOT_RECHECKED] = "slot-not-rechecked",
		[DEFECT_SLOTS_WAIT] = "slots-wait",
		[DEFECT_ARRAY_KEPT] = "array-kept",
		[DEFECT_LOG_OF_OLD_SLOT] = "log-of-old-slot",
		[DEFECT_LOG_OF_NEW_SLOT] = "log-of-new-slot",
		[DEFECT_RING_SHOWN_FIRST] = "ring-shown-first",
		[DEFECT_ANSWER_TO_ANOTHER] = "answer-to-another",
		[DEFECT_TOLD_IN_GUEST] = "told-in-guest",
		[DEFECT_NO_GATE] = "no-gate",
		[DEFECT_LOST_STOP] = "lost-stop",
	};

	return defect < ARRAY_SIZE(names) ? names[defect] : NULL;
}

static enum sched_verdict execute(const struct scenario *s)
{
	enum sched_verdict v;

	sched_begin();
	s->setup();
	v = sched_run();
	/* An execution that was broken off leaves locks held: there is nothing to take down. */
	if (v == SCHED_OK) {
		s->check();
		scenario_teardown();
		v = sched_verdict();
	}
	sched_end();
	return v == SCHED_OK ? sched_verdict() : v;
}

static void copy_trace(struct sched_trace *to, const struct sched_trace *from)
{
	to->n = to->room = from->n;
	to->choice = malloc(from->n + 1);
	to->width = malloc(from->n + 1);
	if (!to->choice || !to->width)
		abort();
	memcpy(to->choice, from->choice, from->n);
	memcpy(to->width, from->width, from->n);
}

static enum sched_verdict run_trace(const struct scenario *s, const struct sched_trace *t)
{
	sched_configure(SCHED_REPLAY, 0, 0, t);
	return execute(s);
}

/*
 * Shrink: drop the schedule's tail, then one preemption after the other, as long as something is
 * still found. What is left is what the reader has to understand.
 */
static void shrink(const struct scenario *s, struct sched_trace *t)
{
	while (t->n && t->choice[t->n - 1] == 0)
		t->n--;
	for (u32 i = t->n; i-- > 0;) {
		u8 was = t->choice[i];

		if (!was)
			continue;
		t->choice[i] = 0;
		if (run_trace(s, t) == SCHED_OK)
			t->choice[i] = was;
	}
	while (t->n && t->choice[t->n - 1] == 0)
		t->n--;
}

static void found(const struct scenario *s, enum sched_verdict v, struct explore_result *r)
{
	copy_trace(&r->trace, sched_trace());
	shrink(s, &r->trace);
	r->verdict = run_trace(s, &r->trace);
	if (r->verdict == SCHED_OK) {
		/* Cannot happen with a deterministic scenario; say what was seen all the same. */
		r->verdict = v;
	}
	snprintf(r->why, sizeof(r->why), "%s", sched_why());
}

static bool spent(const struct explore_limits *l, const struct explore_result *r, double start)
{
	return (l->executions && r->executions >= l->executions) ||
	       (l->seconds > 0 && now() - start >= l->seconds);
}

void explore_exhaustive(const struct scenario *s, const struct explore_limits *l,
			struct explore_result *r)
{
	double start = now();
	enum sched_verdict v;

	memset(r, 0, sizeof(*r));
	sched_configure(SCHED_EXHAUSTIVE, 0, l->preemptions, NULL);
	for (;;) {
		v = execute(s);
		r->executions++;
		if (v != SCHED_OK) {
			found(s, v, r);
			return;
		}
		if (!sched_advance()) {
			r->complete = true;
			return;
		}
		if (spent(l, r, start))
			return;
	}
}

void explore_random(const struct scenario *s, const struct explore_limits *l,
		    struct explore_result *r)
{
	double start = now();
	enum sched_verdict v;

	memset(r, 0, sizeof(*r));
	for (r->seed = l->seed;; r->seed++) {
		sched_configure(SCHED_RANDOM, r->seed, l->preemptions, NULL);
		v = execute(s);
		r->executions++;
		if (v != SCHED_OK) {
			found(s, v, r);
			return;
		}
		if (spent(l, r, start))
			return;
	}
}

void explore_replay(const struct scenario *s, const struct sched_trace *t, bool verbose,
		    struct explore_result *r)
{
	memset(r, 0, sizeof(*r));
	sched_verbose(verbose);
	r->verdict = run_trace(s, t);
	sched_verbose(false);
	r->executions = 1;
	snprintf(r->why, sizeof(r->why), "%s", sched_why());
	copy_trace(&r->trace, sched_trace());
}

/* SPDX-License-Identifier: MIT */
/*
 * explore/shrink.c: what is left of a schedule is what a reader has to understand. Turns are left out, made
 * shorter, made to last, and exchanged, as long as something is still found and it is better: fewer choices
 * until the last turn, then fewer turns. Where that ends with many, all schedules of one and two
 * preemptions are looked at as well, and random ones: a minimum of small changes need not be a small schedule.
 */
#include "explore/shrink.h"

#include <stdlib.h>

#include "explore/explore.h"

#define ALL_RUNS    20000 /* of schedules in order, at most, for each number of preemptions */
#define ALL_BOUND   2
#define RANDOM_RUNS 5000 /* of random ones, with so many changes of priority */
#define CHANGES	    2

struct best {
	const struct scenario *s;
	struct sched_schedule *t;
	u32 choices, turns;
};

void shrink_begin(struct sched_schedule *s)
{
	const struct sched_schedule *last = sched_schedule();

	s->n = s->room = last->n;
	s->turn = malloc((last->n + 1) * sizeof(*s->turn));
	if (!s->turn)
		abort();
	memcpy(s->turn, last->turn, last->n * sizeof(*s->turn));
}

enum sched_verdict explore_run(const struct scenario *s, const struct sched_schedule *t)
{
	sched_configure(SCHED_REPLAY, 0, 0, t);
	return explore_execute(s);
}

/* The execution just run has found something: is it the best one? */
static bool take(struct best *b)
{
	u32 choices = sched_choices(), n = sched_schedule()->n;

	if (choices > b->choices || (choices == b->choices && n >= b->turns))
		return false;
	free(b->t->turn);
	shrink_begin(b->t);
	b->choices = choices;
	b->turns = n;
	return true;
}

static bool try(struct best *b, const struct sched_schedule *t)
{
	return explore_run(b->s, t) != SCHED_OK && take(b);
}

/* -- changes: each makes one in a copy, and tries it */

static void copy(struct sched_schedule *to, const struct sched_schedule *from)
{
	to->n = from->n;
	to->turn = malloc((from->n + 1) * sizeof(*to->turn));
	if (!to->turn)
		abort();
	memcpy(to->turn, from->turn, from->n * sizeof(*to->turn));
}

/* Turns of one actor that follow each other are one. */
static void join(struct sched_schedule *t)
{
	u32 n = 0;

	for (u32 i = 0; i < t->n; i++) {
		struct sched_turn *last = n ? &t->turn[n - 1] : NULL;

		if (!last || last->actor != t->turn[i].actor) {
			t->turn[n++] = t->turn[i];
			continue;
		}
		last->steps = last->steps && t->turn[i].steps ? last->steps + t->turn[i].steps : 0;
		last->hold = t->turn[i].hold;
	}
	t->n = n;
}

static bool without(struct best *b, u32 i)
{
	struct sched_schedule t;
	bool better;

	copy(&t, b->t);
	memmove(&t.turn[i], &t.turn[i + 1], (t.n - i - 1) * sizeof(*t.turn));
	t.n--;
	join(&t);
	better = try(b, &t);
	free(t.turn);
	return better;
}

static bool exchanged(struct best *b, u32 i)
{
	struct sched_schedule t;
	struct sched_turn turn;
	bool better;

	if (i + 1 >= b->t->n)
		return false;
	copy(&t, b->t);
	turn = t.turn[i];
	t.turn[i] = t.turn[i + 1];
	t.turn[i + 1] = turn;
	join(&t);
	better = try(b, &t);
	free(t.turn);
	return better;
}

/* Turn i of so many steps; with what it loses at its actor's next turn, if `later`. */
static bool with_steps(struct best *b, u32 i, u32 steps, bool later)
{
	u32 was = b->t->turn[i].steps;
	struct sched_schedule t;
	bool better;

	copy(&t, b->t);
	t.turn[i].steps = steps;
	for (u32 j = i + 1; later && j < t.n; j++) {
		if (t.turn[j].actor != t.turn[i].actor)
			continue;
		if (t.turn[j].steps)
			t.turn[j].steps += was - steps;
		break;
	}
	better = try(b, &t);
	free(t.turn);
	return better;
}

static bool shorter(struct best *b, u32 i)
{
	u32 was = b->t->turn[i].steps;

	for (u32 steps = 1; steps < was; steps++) {
		if (with_steps(b, i, steps, false) || with_steps(b, i, steps, true))
			return true;
	}
	return was && with_steps(b, i, 0, false);
}

static bool shown(struct best *b, u32 i)
{
	struct sched_schedule t;
	bool better;

	if (!b->t->turn[i].hold)
		return false;
	copy(&t, b->t);
	t.turn[i].hold = false;
	better = explore_run(b->s, &t) != SCHED_OK && sched_choices() <= b->choices;
	if (better) {
		b->turns = ~0u; /* as many turns as before will do */
		take(b);
	}
	free(t.turn);
	return better;
}

static void change(struct best *b)
{
	bool better;

	do {
		better = false;
		for (u32 i = b->t->n; i-- > 0;) {
			if (i < b->t->n)
				better |= without(b, i);
			if (i < b->t->n)
				better |= exchanged(b, i);
			if (i < b->t->n)
				better |= shorter(b, i);
			if (i < b->t->n)
				better |= shown(b, i);
		}
	} while (better);
}

static void look_at_all(struct best *b, unsigned preemptions)
{
	sched_configure(SCHED_EXHAUSTIVE, 0, preemptions, NULL);
	for (u32 runs = 0; runs < ALL_RUNS; runs++) {
		if (explore_execute(b->s) != SCHED_OK)
			take(b);
		if (!sched_advance())
			return;
	}
}

static void look_at_random(struct best *b)
{
	for (u64 seed = 1; seed <= RANDOM_RUNS && b->choices > EXPLORE_SHORT; seed++) {
		sched_configure(SCHED_RANDOM, seed, CHANGES, NULL);
		if (explore_execute(b->s) != SCHED_OK && take(b))
			change(b);
	}
}

void shrink(const struct scenario *s, struct sched_schedule *t)
{
	struct best b = {.s = s, .t = t, .choices = ~0u, .turns = ~0u};

	if (!try(&b, t))
		return;
	change(&b);
	for (unsigned p = 1; p <= ALL_BOUND && b.choices > EXPLORE_SHORT; p++) {
		look_at_all(&b, p);
		change(&b);
	}
	look_at_random(&b);
}

/* SPDX-License-Identifier: MIT */
/*
 * explore/choose.c: who goes on where several can. A search in order keeps the choices of the last execution
 * and changes the last one that can still be another; a random one gives actors priorities, and takes the
 * running one's away at a few steps (PCT); a replay follows turns. The turns of every execution are kept.
 */
#include <stdlib.h>

#include "explore/internal.h"

#define CHANGES 8 /* of priority, at most */

struct choice {
	u8 choice, width;
	bool preempts; /* any but the first does */
};

static enum sched_strategy strategy;
static u64 seed, rng;
static unsigned bound;
static struct sched_schedule replay, turns;
static u32 replay_at;		  /* whose turn of the replay it is */
static u32 replay_steps, turn_steps; /* come to in that turn; in the one that is kept */
static bool replay_holds;	  /* stores of who is interrupted */
static struct choice *choices;
static u32 nchoices, room, given; /* made in this execution; the first ones are given */
static u32 made;		  /* choices among actors */
static u64 priority[SCHED_MAX_ACTORS];
static u64 change_at[CHANGES]; /* choices at which the running actor loses its priority */
static bool surveys;	       /* each step of this execution is a choice */
static u64 expected[2] = {100, 100}; /* choices of the last one that was not, or was, so: where changes may fall */

static u64 next_random(void)
{
	/* splitmix64 */
	u64 z = rng += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static void *grown(void *p, u32 *n, size_t size)
{
	*n = *n ? 2 * *n : 64;
	p = realloc(p, *n * size);
	if (!p)
		abort();
	return p;
}

void sched_configure(enum sched_strategy s, u64 first, unsigned preemptions,
		     const struct sched_schedule *turn)
{
	strategy = s;
	seed = first;
	bound = preemptions;
	sched_leave(~0ULL);
	if (s == SCHED_EXHAUSTIVE)
		given = nchoices = 0;
	replay.n = 0;
	for (u32 i = 0; turn && i < turn->n; i++) {
		if (replay.n == replay.room)
			replay.turn = grown(replay.turn, &replay.room, sizeof(*replay.turn));
		replay.turn[replay.n++] = turn->turn[i];
	}
}

void sched_go_on(unsigned preemptions)
{
	strategy = SCHED_EXHAUSTIVE;
	bound = preemptions;
}

bool explore_replays(void)
{
	return strategy == SCHED_REPLAY;
}

/* -- the search in order */

static unsigned preemptions_in(u32 n)
{
	unsigned p = 0;

	for (u32 i = 0; i < n; i++)
		p += choices[i].choice && choices[i].preempts;
	return p;
}

bool sched_advance(void)
{
	for (u32 i = nchoices; i-- > 0;) {
		struct choice *c = &choices[i];

		if (c->choice + 1 >= c->width)
			continue;
		if (c->preempts && !c->choice && preemptions_in(i) >= bound)
			continue;
		c->choice++;
		given = i + 1;
		return true;
	}
	return false;
}

/* Three characters each: the choice, of how many, whether it preempts. */
#define PLACE_CHARS 3

char *sched_place(void)
{
	char *s = malloc(PLACE_CHARS * given + 1), *p = s;

	for (u32 i = 0; s && i < given; i++) {
		*p++ = (char)('a' + choices[i].choice);
		*p++ = (char)('a' + choices[i].width);
		*p++ = choices[i].preempts ? '1' : '0';
	}
	if (s)
		*p = 0;
	return s;
}

bool sched_return(const char *place)
{
	u32 n = (u32)(strlen(place) / PLACE_CHARS);

	for (u32 i = 0; i < n; i++, place += PLACE_CHARS) {
		struct choice c = {(u8)(place[0] - 'a'), (u8)(place[1] - 'a'), place[2] == '1'};

		if (c.choice >= c.width || c.width > SCHED_MAX_ACTORS)
			return false;
		while (i >= room)
			choices = grown(choices, &room, sizeof(*choices));
		choices[i] = c;
	}
	given = n;
	return true;
}

static int in_order(int width, bool preempts)
{
	if (nchoices == room)
		choices = grown(choices, &room, sizeof(*choices));
	if (nchoices >= given)
		choices[nchoices] = (struct choice){.width = (u8)width, .preempts = preempts};
	return choices[nchoices++].choice;
}

/* -- the random one */

static int by_priority(const struct explore_choice *c)
{
	int best = 0;

	for (unsigned i = 0; i < MIN(bound, (unsigned)CHANGES); i++) {
		if (change_at[i] == made && c->current >= 0)
			priority[c->current] = i; /* below every initial one */
	}
	for (int i = 1; i < c->n; i++) {
		if (priority[c->list[i]] > priority[c->list[best]])
			best = i;
	}
	return best;
}

int explore_choose(const struct explore_choice *c)
{
	int i = 0;

	if (c->n > 1 && strategy == SCHED_RANDOM)
		i = by_priority(c);
	else if (c->n > 1)
		i = in_order(c->n, c->can_stay);
	made += c->n > 1;
	return MIN(i, c->n - 1);
}

bool explore_choose_hold(void)
{
	if (strategy == SCHED_REPLAY)
		return replay_holds;
	return strategy == SCHED_RANDOM ? (next_random() & 1) != 0 : in_order(2, true) != 0;
}

void explore_choose_leave(void)
{
	strategy = SCHED_RANDOM;
	for (int i = 0; i < SCHED_MAX_ACTORS; i++)
		explore_choose_spawned(i);
	for (unsigned i = 0; i < CHANGES; i++)
		change_at[i] = made + next_random() % expected[surveys];
}

/* -- turns */

bool explore_turn_over(void)
{
	turn_steps++;
	return replay_at < replay.n && replay.turn[replay_at].steps == ++replay_steps;
}

void explore_passed(void)
{
	made++;
}

int explore_turn_next(const struct explore_choice *c)
{
	replay_steps = 0;
	if (c->current >= 0 && replay_at < replay.n)
		replay_holds = replay.turn[replay_at++].hold;
	for (; replay_at < replay.n; replay_at++) {
		for (int i = 0; i < c->n; i++) {
			if (c->list[i] == replay.turn[replay_at].actor)
				return i;
		}
	}
	return 0;
}

void explore_turn_begin(int actor, bool usual)
{
	if (turns.n == turns.room)
		turns.turn = grown(turns.turn, &turns.room, sizeof(*turns.turn));
	turns.turn[turns.n++] = (struct sched_turn){.actor = (u8)actor, .usual = usual, .at = made};
	turn_steps = 0;
}

void explore_turn_interrupted(bool hold)
{
	turns.turn[turns.n - 1].steps = turn_steps;
	turns.turn[turns.n - 1].hold = hold;
}

const struct sched_schedule *sched_schedule(void)
{
	while (turns.n > 1 && turns.turn[turns.n - 1].usual)
		turns.n--;
	if (turns.n)
		turns.turn[turns.n - 1].steps = 0;
	return &turns;
}

u32 sched_choices(void)
{
	return sched_schedule()->n ? turns.turn[turns.n - 1].at : 0;
}

/* -- an execution */

void explore_choose_begin(void)
{
	rng = seed;
	if (made)
		expected[surveys] = made;
	surveys = explore_surveys();
	nchoices = made = turns.n = 0;
	replay_at = replay_steps = turn_steps = 0;
}

void explore_choose_spawned(int actor)
{
	priority[actor] = (next_random() | BIT(63)) >> 1;
}

void explore_choose_run(void)
{
	for (unsigned i = 0; i < CHANGES; i++)
		change_at[i] = next_random() % expected[surveys];
}

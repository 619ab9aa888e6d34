/* SPDX-License-Identifier: MIT */
/*
 * explore/share.c: who touches what, with which locks. A step at which nothing that another actor does could
 * make a difference is no point at which another actor must go on.
 *
 * That is so (Lipton's reduction) for a step on an object that nobody else touches, or that others only
 * read as this one does, or that every other who does otherwise touches only with a lock that excludes
 * this actor's; and for dropping a lock. What is not excluded is a choice: locks that others take as well, atomics,
 * and every step of the model and of scenarios, which call sched_point().
 *
 * Who touches what is learned while executing. When an execution shows a new pair, all that went before
 * was looked at with too few choices, so a search in order begins anew (sched_grew()). Once an entire search
 * shows none, it was complete: in the first schedule that would show one, all steps before it commute as was
 * said, so it is no other than one that was run. What is assumed: plain accesses are ordered by the steps
 * (the thread sanitizer's to show), and an object is the eight bytes at its address.
 */
#include <stdlib.h>

#include "explore/internal.h"

#define OBJECTS	   16384 /* a power of two */
#define TOUCHES	   14	 /* kinds of access to one object; with more it is a choice for all */
#define LOCK_SETS  512
#define LOCKS_HELD 8
#define MOST_STATES (4u << 20) /* are counted, and no more */

enum { EXCLUSIVE = 1 }; /* in the low bit of a lock's address */

struct lock_set {
	u64 lock[LOCKS_HELD]; /* sorted, the low bit says how; 0 ends */
};

struct touch {
	u8 actor, access;
	u16 set; /* locks held */
	bool choice;
};

struct explore_object {
	u64 at; /* 0: free */
	u8 ntouches;
	bool all;   /* too many kinds: always a choice */
	bool tried; /* a lock that somebody takes if it is free */
	struct touch touch[TOUCHES];
	/* of this execution: what happened before */
	u32 execution;
	u64 written, read;
};

static struct explore_object objects[OBJECTS];
static u32 nobjects;
static struct lock_set sets[LOCK_SETS];
static u32 nsets = 1; /* set 0 is empty */
static u16 held[SCHED_MAX_ACTORS];
static bool grew, surveying;
static u32 execution;
static struct {
	u64 start, end;
} counters[2];

/* -- what happened before: a hash for each actor, and states as sets of them */

static u64 past[SCHED_MAX_ACTORS];
static u64 *states; /* a set by hash, 0 free */
static u64 nstates, room;

static u64 mix(u64 a, u64 b)
{
	u64 z = a * 0x9e3779b97f4a7c15 + b;

	z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93;
	return z ^ (z >> 32);
}

static bool state_insert(u64 *in, u64 size, u64 h)
{
	u64 i = h & (size - 1);

	while (in[i] && in[i] != h)
		i = (i + 1) & (size - 1);
	if (in[i])
		return false;
	in[i] = h;
	return true;
}

static void states_grow(void)
{
	u64 size = room ? 2 * room : 1 << 12;
	u64 *in = calloc(size, sizeof(*in));

	if (!in)
		abort();
	for (u64 i = 0; i < room; i++) {
		if (states[i])
			state_insert(in, size, states[i]);
	}
	free(states);
	states = in;
	room = size;
}

void explore_state(int current)
{
	u64 h = (u64)current + 1;

	for (int i = 0; i < SCHED_MAX_ACTORS; i++)
		h += mix(past[i], (u64)i);
	if (nstates == MOST_STATES)
		return;
	if (2 * nstates >= room)
		states_grow();
	nstates += state_insert(states, room, h | 1);
}

u64 sched_states(void)
{
	return nstates;
}

/* -- locks */

static u16 set_number(const struct lock_set *s)
{
	for (u32 i = 0; i < nsets; i++) {
		if (!memcmp(&sets[i], s, sizeof(*s)))
			return (u16)i;
	}
	if (nsets == LOCK_SETS)
		return 0; /* said of nothing: no lock excludes anybody */
	sets[nsets] = *s;
	return (u16)nsets++;
}

void explore_lock_taken(const void *lock, bool exclusive)
{
	int self = sched_self();
	struct lock_set s;
	u64 l = (u64)lock | (exclusive ? EXCLUSIVE : 0);
	u32 n = 0;

	if (self < 0)
		return;
	s = sets[held[self]];
	while (n < LOCKS_HELD && s.lock[n])
		n++;
	if (n == LOCKS_HELD)
		return;
	while (n && s.lock[n - 1] > l) {
		s.lock[n] = s.lock[n - 1];
		n--;
	}
	s.lock[n] = l;
	held[self] = set_number(&s);
}

void explore_lock_dropped(const void *lock)
{
	int self = sched_self();
	struct lock_set s;

	if (self < 0)
		return;
	s = sets[held[self]];
	for (u32 i = 0; i < LOCKS_HELD; i++) {
		if ((s.lock[i] & ~(u64)EXCLUSIVE) != (u64)lock)
			continue;
		memmove(&s.lock[i], &s.lock[i + 1], (LOCKS_HELD - 1 - i) * sizeof(s.lock[0]));
		s.lock[LOCKS_HELD - 1] = 0;
		break;
	}
	held[self] = set_number(&s);
}

/* Can two actors that hold these not be there at once? */
static bool excluded(u16 a, u16 b)
{
	const struct lock_set *x = &sets[a], *y = &sets[b];

	for (u32 i = 0; i < LOCKS_HELD && x->lock[i]; i++) {
		for (u32 j = 0; j < LOCKS_HELD && y->lock[j]; j++) {
			u64 one = x->lock[i], other = y->lock[j];

			if ((one | EXCLUSIVE) == (other | EXCLUSIVE) && ((one | other) & EXCLUSIVE))
				return true;
		}
	}
	return false;
}

/* -- objects */

void sched_counters(const void *start, size_t size)
{
	u32 i = counters[0].start ? 1 : 0;

	counters[i].start = (u64)start;
	counters[i].end = (u64)start + size;
}

static bool counter(u64 at)
{
	return (at >= counters[0].start && at < counters[0].end) ||
	       (at >= counters[1].start && at < counters[1].end);
}

static struct explore_object *object_at(u64 at)
{
	u32 i = (u32)mix(at, 0) & (OBJECTS - 1);

	while (objects[i].at && objects[i].at != at)
		i = (i + 1) & (OBJECTS - 1);
	if (!objects[i].at) {
		if (++nobjects > OBJECTS / 2)
			abort(); /* scenarios are made to fit */
		objects[i].at = at;
	}
	return &objects[i];
}

void explore_lock_tried(const void *lock)
{
	struct explore_object *o = object_at((u64)lock & ~7ULL);

	grew |= !o->tried;
	o->tried = true;
}

bool explore_lock_is_tried(const void *lock)
{
	return object_at((u64)lock & ~7ULL)->tried;
}

static bool conflict(const struct explore_object *o, const struct touch *a, const struct touch *b)
{
	if (a->actor == b->actor || (a->access == SCHED_READ && b->access == SCHED_READ))
		return false;
	if (a->access == SCHED_ADD && b->access == SCHED_ADD && counter(o->at))
		return false;
	return !excluded(a->set, b->set);
}

static struct touch *touch_new(struct explore_object *o, const struct touch *t)
{
	if (o->ntouches == TOUCHES) {
		grew |= !o->all;
		o->all = true;
		return NULL;
	}
	o->touch[o->ntouches] = *t;
	for (u32 i = 0; i < o->ntouches; i++) {
		if (!conflict(o, &o->touch[i], t))
			continue;
		grew |= !o->touch[i].choice || !o->touch[o->ntouches].choice;
		o->touch[i].choice = o->touch[o->ntouches].choice = true;
	}
	return &o->touch[o->ntouches++];
}

/* What happened before: what this actor did, and what was written here; for a write, what was read, too. */
void explore_happened(struct explore_object *o, enum sched_access access)
{
	int self = sched_self();

	if (o->execution != execution) {
		o->execution = execution;
		o->written = o->read = 0;
	}
	if (access == SCHED_READ) {
		past[self] = mix(past[self], mix(o->at, o->written));
		o->read += past[self];
		return;
	}
	past[self] = mix(past[self], mix(o->at, o->written + o->read + 1));
	o->written = past[self];
	o->read = 0;
}

struct explore_object *explore_touch(const void *obj, enum sched_access access, bool *choice)
{
	int self = sched_self();
	struct explore_object *o = object_at((u64)obj & ~7ULL);
	struct touch t = {.actor = (u8)self, .access = (u8)access, .set = held[self]}, *known = NULL;

	for (u32 i = 0; i < o->ntouches && !known; i++) {
		if (o->touch[i].actor == t.actor && o->touch[i].access == t.access && o->touch[i].set == t.set)
			known = &o->touch[i];
	}
	if (!known && !o->all)
		known = touch_new(o, &t);
	*choice = o->all || (known && known->choice);
	return o;
}

void sched_note(const void *obj, enum sched_access access)
{
	bool choice;

	if (sched_self() >= 0)
		explore_happened(explore_touch(obj, access, &choice), access);
}

/* -- searches and executions */

bool sched_grew(void)
{
	bool was = grew;

	grew = false;
	return was;
}

void sched_survey(bool on)
{
	surveying = on;
}

bool explore_surveys(void)
{
	return surveying;
}

void sched_forget(void)
{
	memset(objects, 0, sizeof(objects));
	memset(sets, 0, sizeof(sets));
	nobjects = 0;
	nsets = 1;
	grew = false;
	free(states);
	states = NULL;
	nstates = room = 0;
}

void explore_share_reset(void)
{
	execution++;
	memset(held, 0, sizeof(held));
	memset(past, 0, sizeof(past));
	memset(counters, 0, sizeof(counters));
}

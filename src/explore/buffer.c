/* SPDX-License-Identifier: MIT */
/*
 * A store buffer for each actor: what an x86 processor may do with stores, and the one order of two
 * accesses that it does not keep (a store and a later load of something else; Intel SDM vol. 3, 8.2).
 *
 * The running actor's stores stand in memory at once, so that it sees them itself, by whatever access.
 * When another goes on and the buffer is held back, they are taken out again, the last one first, and
 * put back when their actor goes on. They leave in order: all of them, at a fence, an atomic
 * read-modify-write, a lock, or when the scheduler lets them go as it switches.
 */
#include <stdlib.h>
#include "explore/internal.h"

#define BUFFER_STORES 32 /* x86's are longer; one that is full drains */

struct store {
	void *p;
	size_t size;
	u64 value; /* while the actor runs: what was there; while it does not: what it has stored */
};

static struct buffer {
	struct store store[BUFFER_STORES];
	u32 n;
	bool out; /* the stores are taken out of memory */
} buffers[SCHED_MAX_ACTORS];

static void exchange(struct store *s)
{
	u64 was = 0;

	memcpy(&was, s->p, s->size);
	memcpy(s->p, &s->value, s->size);
	s->value = was;
}

void sched_store(void *p, const void *value, size_t size)
{
	int self = sched_self();

	if (self >= 0) {
		struct buffer *b = &buffers[self];

		if (b->n == BUFFER_STORES)
			b->n = 0;
		b->store[b->n] = (struct store){.p = p, .size = size};
		memcpy(&b->store[b->n++].value, p, size);
	}
	memcpy(p, value, size);
}

void sched_fence(void)
{
	if (sched_self() >= 0)
		buffers[sched_self()].n = 0;
}

bool explore_buffered(int actor)
{
	return buffers[actor].n;
}

void explore_buffer_hold(int actor)
{
	struct buffer *b = &buffers[actor];

	for (u32 i = b->n; i-- > 0;)
		exchange(&b->store[i]);
	b->out = b->n;
}

void explore_buffer_resume(int actor)
{
	struct buffer *b = &buffers[actor];

	for (u32 i = 0; b->out && i < b->n; i++)
		exchange(&b->store[i]);
	b->out = false;
}

void explore_buffer_drain(int actor)
{
	buffers[actor].n = 0;
}

void explore_buffer_reset(void)
{
	memset(buffers, 0, sizeof(buffers));
}

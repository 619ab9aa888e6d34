/* SPDX-License-Identifier: MIT */
/* Changes of memslots: delete, create, move, flags; and dirty logs, with their own oracle. */
#include <linux/kvm.h>
#include <string.h>
#include <time.h>
#include "changes.h"

#define LATE_TRIES 5000 /* a millisecond each */

static void whole_area(struct change *c)
{
	c->first = 0;
	c->n = c->a->npages;
}

void slot_remade(struct change *c)
{
	struct area *a = c->a;

	whole_area(c);
	away_begin(c);
	machine_slot(a->index, 0, a->gpa, 0, a->mem);
	change_pause(c);
	machine_slot(a->index, a->slot_flags, a->gpa, a->npages * PAGE, a->mem);
	away_end(c);
}

/* A write is an MMIO exit meanwhile. */
void slot_read_only(struct change *c)
{
	struct area *a = c->a;

	whole_area(c);
	away_begin(c);
	machine_slot(a->index, 0, a->gpa, 0, a->mem);
	machine_slot(a->index, KVM_MEM_READONLY, a->gpa, a->npages * PAGE, a->mem);
	change_pause(c);
	machine_slot(a->index, 0, a->gpa, 0, a->mem);
	machine_slot(a->index, 0, a->gpa, a->npages * PAGE, a->mem);
	away_end(c);
}

void slot_moved(struct change *c)
{
	struct area *a = c->a;

	whole_area(c);
	away_begin(c);
	machine_slot(a->index, a->slot_flags, a->gpa + GPA_MOVED, a->npages * PAGE, a->mem);
	change_pause(c);
	machine_slot(a->index, a->slot_flags, a->gpa, a->npages * PAGE, a->mem);
	away_end(c);
}

/* Counters only grow, so a sum that moved is a write. */
static u64 sum_of(const struct area *a, u32 page)
{
	const u64 *words = (const u64 *)(a->mem + page * PAGE);
	u64 sum = 0;

	for (u32 i = 0; i < machine.nvcpus; i++)
		sum += number_of(LOAD(words[1 + i]));
	return sum;
}

static bool bit(const u64 *bits, u32 n)
{
	return bits[n / 64] >> (n % 64) & 1;
}

static void take_harvest(struct area *a, u64 *bits)
{
	if (machine.log_mode == LOG_RINGS)
		rings_harvest(a->index, bits);
	else
		machine_dirty_get(a->index, bits);
	if (machine.log_mode == LOG_CLEAR)
		machine_dirty_clear(a->index, a->npages, bits);
}

/*
 * A page whose sum moved and that the harvest does not name is late: a later one must name it. Not
 * always the next: a vCPU may lie between making the page writable and logging it, as in KVM, while
 * another writes.
 */
static void harvest(struct area *a, u64 *last, u64 *late)
{
	u64 bits[PAGES / 64];

	take_harvest(a, bits);
	for (u32 p = 0; p < a->npages; p++) {
		u64 sum = sum_of(a, p);

		late[p / 64] &= ~(bits[p / 64] & 1ULL << (p % 64));
		if (sum != last[p] && !bit(bits, p))
			late[p / 64] |= 1ULL << (p % 64);
		last[p] = sum;
	}
}

/* Those that are late now are named before long. */
static void harvest_late(struct area *a, u64 *late)
{
	struct timespec t = {.tv_nsec = 1000000};
	u64 bits[PAGES / 64], any = 1;

	for (u32 tries = 0; any && tries < LATE_TRIES; tries++) {
		take_harvest(a, bits);
		any = 0;
		for (u32 w = 0; w < PAGES / 64; w++)
			any |= late[w] &= ~bits[w];
		if (any)
			nanosleep(&t, NULL);
	}
	for (u32 p = 0; any && machine.control->strict && p < a->npages; p++)
		MUST(!bit(late, p), "a write to %s page %u is in no dirty log",
		     backing_names[a->backing], p);
}

void slot_logged(struct change *c)
{
	struct area *a = c->a;
	u64 last[PAGES], late[PAGES / 64] = {0};

	machine_slot(a->index, KVM_MEM_LOG_DIRTY_PAGES, a->gpa, a->npages * PAGE, a->mem);
	for (u32 p = 0; p < a->npages; p++)
		last[p] = sum_of(a, p);
	for (u32 i = 1 + changer_pick(c->by, 8); i; i--) {
		change_pause(c);
		harvest(a, last, late);
	}
	harvest_late(a, late);
	machine_slot(a->index, 0, a->gpa, a->npages * PAGE, a->mem);
}

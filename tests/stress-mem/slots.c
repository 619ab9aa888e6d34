/* SPDX-License-Identifier: MIT */
/* Changes of memslots: delete, create, move, flags; and dirty logs, with their own oracle. */
#include <linux/kvm.h>
#include <string.h>
#include "changes.h"

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

/*
 * A harvest that does not name a page, although a write to it was seen before the harvest began
 * and after the one before it was over: that write is in no log. One seen first after it may be
 * in the next.
 */
static void harvest(struct area *a, u64 *last, u64 *late)
{
	u64 bits[PAGES / 64];

	if (machine.log_mode == LOG_RINGS)
		rings_harvest(a->index, bits);
	else
		machine_dirty_get(a->index, bits);
	if (machine.log_mode == LOG_CLEAR)
		machine_dirty_clear(a->index, a->npages, bits);
	for (u32 p = 0; p < a->npages; p++) {
		u64 sum = sum_of(a, p);

		MUST(!bit(late, p) || bit(bits, p) || !machine.control->strict,
		     "a write to %s page %u is in no dirty log", backing_names[a->backing], p);
		late[p / 64] &= ~(1ULL << (p % 64));
		if (sum != last[p] && !bit(bits, p))
			late[p / 64] |= 1ULL << (p % 64);
		last[p] = sum;
	}
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
	machine_slot(a->index, 0, a->gpa, a->npages * PAGE, a->mem);
}

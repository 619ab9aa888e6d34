/* SPDX-License-Identifier: MIT */
/*
 * mmu/slot_array.h: memslots by gfn: a sorted array, looked up without a lock, replaced as a whole.
 */
#ifndef MMU_SLOT_ARRAY_H
#define MMU_SLOT_ARRAY_H

#include "mmu/memslots.h"

struct memslots; /* published by RCU */
struct slot_chunk;

/* Lookup by gfn, O(log n). In an RCU read side, or with slots_lock or mmu_lock held. */
struct memslot *memslot_find(struct mmu *mmu, gfn_t gfn);
/* Call fn for every slot that overlaps [start, end), by ascending gfn. As memslot_find(). */
void memslots_each(struct mmu *mmu, gfn_t start, gfn_t end,
		   void (*fn)(struct memslot *s, void *arg), void *arg);

/* What an update replaces, to be freed once nobody can see it. */
struct slot_array_retired {
	struct slot_chunk *chunks;
	struct memslots *array[2];
	u32 narrays;
};

/* An empty one, or NULL; and its end, with nobody else left. */
struct memslots *slot_array_create(void);
void slot_array_destroy(struct memslots *m);
/*
 * m without `old` and with `new_` (either may be NULL), to be published in its place; or NULL.
 * slots_lock held. When it is published, what went is freed after a grace period.
 */
struct memslots *slot_array_update(struct memslots *m, struct memslot *old, struct memslot *new_,
				   struct slot_array_retired *r);
void slot_array_free_retired(struct slot_array_retired *r);

#endif

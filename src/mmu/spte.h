/* SPDX-License-Identifier: MIT */
/*
 * mmu/spte.h: what the 64 bits of a stage-2 entry say.
 *
 *   bit 0      present: a table or a leaf. Everything else means nothing without it, save FROZEN.
 *   bit 1      leaf
 *   bit 2      frozen: not present and owned by a thread that is about to store the next value
 *   bits 3-7   of a leaf, below
 *   bits 12-51 of a leaf: host address of the block's first byte (a multiple of the block's size
 *              in guest frames, but only of 4 KiB as a host address)
 *   bits 52-53 of a leaf: enum mmu_level, the level the leaf stands at
 *   bits 6-63  of a table: its address
 *
 * A table holds no permission: the leaf alone decides.
 *
 * A leaf changes bit by bit in these ways only:
 *   - accessed and dirty are set by vCPUs without a lock, by compare-and-exchange;
 *   - everything else under mmu_lock (tree.c).
 * A TLB holds a write entry only where the leaf is writable *and* dirty; so clearing dirty and
 * flushing is all that dirty logging needs.
 */
#ifndef MMU_SPTE_H
#define MMU_SPTE_H

#include "primary/primary.h"

#define SPTE_PRESENT  BIT(0)
#define SPTE_LEAF     BIT(1)
#define SPTE_FROZEN   BIT(2)
#define SPTE_WRITABLE BIT(3) /* a vCPU may write: primary mapping and memslot allow it */
#define SPTE_ACCESSED BIT(4)
#define SPTE_DIRTY    BIT(5)
#define SPTE_PAGE     BIT(6) /* page-backed: a page with a reference count stands behind it */
#define SPTE_DIRTIES  BIT(7) /* a write through it dirties a page */

#define SPTE_HOST_MASK	 0x000ffffffffff000ULL
#define SPTE_LEVEL_SHIFT 52
#define SPTE_LEVEL_MASK	 (3ULL << SPTE_LEVEL_SHIFT)
#define SPTE_TABLE_MASK	 (~63ULL)

static inline bool spte_present(u64 s)
{
	return s & SPTE_PRESENT;
}

static inline bool spte_leaf(u64 s)
{
	return (s & (SPTE_PRESENT | SPTE_LEAF)) == (SPTE_PRESENT | SPTE_LEAF);
}

static inline bool spte_table(u64 s)
{
	return (s & (SPTE_PRESENT | SPTE_LEAF)) == SPTE_PRESENT;
}

static inline u64 spte_host(u64 s)
{
	return s & SPTE_HOST_MASK;
}

static inline int spte_level(u64 s)
{
	return (int)((s & SPTE_LEVEL_MASK) >> SPTE_LEVEL_SHIFT);
}

/* A leaf for the block of `level` whose first byte is at host address `host`. */
static inline u64 spte_make_leaf(const struct frame *f, u64 host, int level, bool slot_writable)
{
	u64 s = SPTE_PRESENT | SPTE_LEAF | host | ((u64)level << SPTE_LEVEL_SHIFT);

	if (f->writable && slot_writable)
		s |= SPTE_WRITABLE;
	if (f->page)
		s |= SPTE_PAGE;
	if (f->dirties)
		s |= SPTE_DIRTIES;
	return s;
}

#endif

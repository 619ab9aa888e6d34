/* SPDX-License-Identifier: MIT */
/* mmu/memslots.h: a memslot, and the set of a VM's as mmu/ sees it. VMMs' calls stand in mmu.h. */
#ifndef MMU_MEMSLOTS_H
#define MMU_MEMSLOTS_H

#include "base/interval.h"
#include "mmu/mmu.h"
#include "sync/rcu.h"

/* Dirty bitmap of a slot; handed on when the slot's other flags change. */
struct slot_log {
	u64 nwords;
	u64 word[]; /* atomic; bit n of word w: page w * 64 + n */
};

/* A memslot's place in a gmem_file, of which it is part (gmem.c). */
struct gmem_binding {
	struct interval by_page; /* in the file; the store lock, held for read: and bind_lock */
	struct gmem_file *file;	 /* changes as that does; atomic for a look in an RCU read side */
};

/* Immutable once published, but for what its pointers lead to and `bound`. Freed after a grace
 * period. */
struct memslot {
	u32 id;
	u32 flags;
	gfn_t base_gfn;
	u64 npages; /* 4 KiB pages */
	hva_t hva;
	u64 serial; /* unlike that of any other slot this VM ever had */
	struct slot_log *log; /* NULL without logging */
	struct gmem_binding bound; /* with MMU_SLOT_GMEM */
	u64 gmem_page; /* of the file, where the slot begins */
	bool gmem_only; /* the file serves shared faults too */
	struct interval by_hva; /* in mmu->hva_tree; mmu_lock */
	sync_rcu_head rcu;
	bool free_log; /* nobody took it over */
};

static inline bool memslot_has(const struct memslot *s, gfn_t gfn)
{
	return gfn - s->base_gfn < s->npages;
}

/* The gfns of s, and the one after them, that host addresses [start, end) show. */
static inline gfn_t memslot_gfn_from(const struct memslot *s, hva_t start)
{
	return s->base_gfn + ((MAX(start, s->hva) - s->hva) >> PAGE_SHIFT);
}

static inline gfn_t memslot_gfn_to(const struct memslot *s, hva_t end)
{
	return s->base_gfn + MIN((end - s->hva + PAGE_SIZE - 1) >> PAGE_SHIFT, s->npages);
}

static inline hva_t memslot_gfn_to_hva(const struct memslot *s, gfn_t gfn)
{
	return s->hva + ((gfn - s->base_gfn) << PAGE_SHIFT);
}

/* By id; slots_lock held. */
struct memslot *memslot_by_id(struct mmu *mmu, u32 id);
int memslots_init(struct mmu *mmu);
/* The host's memory is no longer watched for any of them; nothing is installed any more. No lock held. */
void memslots_let_go(struct mmu *mmu);
void memslots_fini(struct mmu *mmu);

#endif

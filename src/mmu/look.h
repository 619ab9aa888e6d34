/* SPDX-License-Identifier: MIT */
/*
 * mmu/look.h: memslots and stage 2 as they are at a moment, for a report. Any thread but one in guest
 * mode, no lock held. Nothing is faulted in, marked or changed.
 */
#ifndef MMU_LOOK_H
#define MMU_LOOK_H

#include "mmu/mmu.h"

/* What there is at one gfn. */
struct mmu_seen {
	bool slot, private_;
	u32 id, flags; /* MMU_SLOT_* */
	gfn_t base;
	u64 npages;
	hva_t hva; /* of the page */
	bool mapped; /* the rest means something */
	int level;   /* enum mmu_level of the leaf */
	u64 host;    /* where vCPUs reach the page */
	bool writable, accessed, dirty;
};

void mmu_look(struct mmu *mmu, gfn_t gfn, struct mmu_seen *out);

struct mmu_slot_seen {
	u32 id, flags;
	gfn_t base;
	u64 npages;
	hva_t hva;
	u64 mapped[3]; /* pages of 4 KiB, 2 MiB, 1 GiB in stage 2 */
	u64 dirty;     /* of them, by leaf */
};

/* The first `max` slots by gfn. How many there are. Holds mmu_lock for as long as it counts. */
u32 mmu_look_slots(struct mmu *mmu, struct mmu_slot_seen *out, u32 max);

#endif

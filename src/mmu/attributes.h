/* SPDX-License-Identifier: MIT */
/* mmu/attributes.h: which gfns are private. VMMs' calls stand in mmu.h. */
#ifndef MMU_ATTRIBUTES_H
#define MMU_ATTRIBUTES_H

#include "mmu/vm.h"

/* Was any gfn ever made private and is it still? Without a lock. */
static inline bool attr_any(const struct mmu *mmu)
{
	return sync_load(&mmu->nr_private);
}

/* mmu_lock held (either way), or slots_lock: is every gfn of [start, end) private, or not one? */
bool attr_uniform(struct mmu *mmu, gfn_t start, gfn_t end, bool private_);
void attr_fini(struct mmu *mmu);

#endif

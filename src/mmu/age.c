/* SPDX-License-Identifier: MIT */
/*
 * Accessed tracking by range. A TLB entry is filled only from a leaf that is marked accessed, so
 * clearing the marks and flushing makes the next access set them again; what was cleared goes back
 * to the primary MMU (spte_changed()), so that its own mark covers every access there was.
 */
#include "mmu/age.h"
#include "mmu/flush.h"
#include "mmu/memslots.h"
#include "mmu/spte.h"
#include "mmu/tree.h"
#include "mmu/vm.h"

struct age {
	struct mmu *mmu;
	hva_t start, end;
	bool clear, young;
};

static bool age_slot(struct interval *n, void *arg)
{
	struct memslot *s = container_of(n, struct memslot, by_hva);
	struct age *a = arg;
	struct tree_iter it;

	tree_for_each(&it, a->mmu, memslot_gfn_from(s, a->start), memslot_gfn_to(s, a->end)) {
		if (!spte_leaf(it.old) || !(it.old & SPTE_ACCESSED))
			continue;
		a->young = true;
		if (!a->clear)
			return false;
		/* Dirty stays: a write entry of a TLB depends on it, not on accessed. */
		while (!tree_set_atomic(a->mmu, it.sptep, it.level, &it.old,
					it.old & ~SPTE_ACCESSED))
			;
	}
	return true;
}

bool mmu_age(struct mmu *mmu, hva_t start, hva_t end)
{
	struct age a = {.mmu = mmu, .start = start, .end = end, .clear = true};
	u64 mark;

	mmu_lock_write(mmu);
	interval_each(&mmu->hva_tree, start, end - 1, age_slot, &a);
	mark = mmu_zap_mark(mmu, a.young);
	mmu_unlock_write(mmu);
	mmu_flush_zapped(mmu, mark);
	return a.young;
}

bool mmu_test_young(struct mmu *mmu, hva_t start, hva_t end)
{
	struct age a = {.mmu = mmu, .start = start, .end = end};

	mmu_lock_read(mmu);
	interval_each(&mmu->hva_tree, start, end - 1, age_slot, &a);
	mmu_unlock_read(mmu);
	return a.young;
}

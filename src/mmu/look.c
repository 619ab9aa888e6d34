/* SPDX-License-Identifier: MIT */
/* mmu/look.c: see look.h. */
#include "mmu/look.h"

#include "mmu/invalidate.h"
#include "mmu/memslots.h"
#include "mmu/slot_array.h"
#include "mmu/spte.h"
#include "mmu/tree.h"
#include "mmu/vm.h"

static void see_slot(struct mmu *mmu, gfn_t gfn, struct mmu_seen *out)
{
	const struct memslot *s = memslot_find(mmu, gfn);

	if (!s)
		return;
	out->slot = true;
	out->id = s->id;
	out->flags = s->flags;
	out->base = s->base_gfn;
	out->npages = s->npages;
	out->hva = s->hva + ((gfn - s->base_gfn) << PAGE_SHIFT);
}

static void see_leaf(u64 spte, gfn_t gfn, struct mmu_seen *out)
{
	if (!spte_leaf(spte))
		return;
	out->mapped = true;
	out->level = spte_level(spte);
	out->host = spte_host(spte) + ((gfn & (LEVEL_PAGES(out->level) - 1)) << PAGE_SHIFT);
	out->writable = spte & SPTE_WRITABLE;
	out->accessed = spte & SPTE_ACCESSED;
	out->dirty = spte & SPTE_DIRTY;
}

void mmu_look(struct mmu *mmu, gfn_t gfn, struct mmu_seen *out)
{
	u64 *sptep;

	memset(out, 0, sizeof(*out));
	out->private_ = mmu_is_private(mmu, gfn);
	sync_rcu_read_lock();
	see_slot(mmu, gfn, out);
	see_leaf(tree_lookup(mmu, gfn, &sptep), gfn, out);
	sync_rcu_read_unlock();
}

struct list {
	struct mmu_slot_seen *out;
	u32 n, max;
};

static void add_slot(struct memslot *s, void *arg)
{
	struct list *l = arg;

	if (l->n < l->max)
		l->out[l->n] = (struct mmu_slot_seen){.id = s->id, .flags = s->flags, .base = s->base_gfn,
						      .npages = s->npages, .hva = s->hva};
	l->n++;
}

static void count_leaves(struct mmu *mmu, struct mmu_slot_seen *s)
{
	struct tree_iter it;

	tree_for_each(&it, mmu, s->base, s->base + s->npages) {
		if (!spte_leaf(it.old))
			continue;
		s->mapped[it.level - LEVEL_4K]++;
		s->dirty += (it.old & SPTE_DIRTY) != 0;
	}
}

u32 mmu_look_slots(struct mmu *mmu, struct mmu_slot_seen *out, u32 max)
{
	struct list l = {out, 0, max};

	sync_rcu_read_lock();
	memslots_each(mmu, 0, TREE_MAX_GFN, add_slot, &l);
	sync_rcu_read_unlock();
	for (u32 i = 0; i < MIN(l.n, max); i++) {
		mmu_lock_read(mmu);
		count_leaves(mmu, &out[i]);
		mmu_unlock_read(mmu);
	}
	return l.n;
}

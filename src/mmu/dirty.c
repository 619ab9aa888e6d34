/* SPDX-License-Identifier: MIT */
/*
 * The dirty log of a memslot.
 *
 * A slot that logs is mapped at 4 KiB. A vCPU may cache a write translation only where the SPTE is
 * dirty, and whoever sets dirty marks the page in the log after it. A harvest takes the log's
 * bits, then clears dirty in their SPTEs, then flushes: what was written before is visible when the
 * harvest returns, what is written after finds dirty clear and is logged again.
 *
 * A vCPU that finds dirty set marks the page as well. Who set it may not have come to its mark, and the
 * host may let it wait for long, while harvest after harvest would not show what the other wrote.
 * A ring has no such promise to keep: it lists a page once, in the ring of the vCPU that made it dirty.
 */
#include <stdlib.h>
#include "base/guard.h"
#include "mmu/attributes.h"
#include "mmu/dirty.h"
#include "mmu/flush.h"
#include "mmu/memslots.h"
#include "mmu/names.h"
#include "mmu/ring.h"
#include "mmu/slot_array.h"
#include "mmu/spte.h"
#include "mmu/tree.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"

struct slot_log *slot_log_alloc(u64 npages, bool set)
{
	u64 nwords = ALIGN_UP(npages, 64) / 64;
	struct slot_log *l = calloc(1, sizeof(*l) + nwords * sizeof(u64));

	if (!l)
		return NULL;
	l->nwords = nwords;
	if (!set)
		return l;
	memset(l->word, 0xff, nwords * sizeof(u64));
	if (npages % 64)
		l->word[nwords - 1] = BIT(npages % 64) - 1;
	return l;
}

static void log_page(struct mmu_vcpu *v, struct memslot *s, gfn_t gfn, bool written)
{
	u64 page = gfn - s->base_gfn;

	if (!s->log)
		return;
	if (v && v->ring.entry)
		(written ? ring_add_written : ring_add)(v, s->id, page);
	else if (!(sync_load(&s->log->word[page / 64]) & BIT(page % 64)))
		sync_or(&s->log->word[page / 64], BIT(page % 64));
}

void memslot_mark_dirty(struct mmu_vcpu *v, struct memslot *s, gfn_t gfn)
{
	log_page(v, s, gfn, false);
}

void memslots_mark_dirty(struct mmu *mmu, struct mmu_vcpu *v, gfn_t gfn, bool written)
{
	struct memslot *now = memslot_find(mmu, gfn);
	struct memslot *leaving = sync_rcu_deref(&mmu->leaving);

	if (leaving && (leaving == now || !memslot_has(leaving, gfn)))
		leaving = NULL;
	if (now)
		log_page(v, now, gfn, written);
	if (leaving)
		log_page(v, leaving, gfn, written);
}

void memslots_mark_found_dirty(struct mmu *mmu, struct mmu_vcpu *v, gfn_t gfn)
{
	if (likely(!sync_load(&mmu->logging)) || v->ring.entry)
		return;
	sync_rcu_read_lock();
	memslots_mark_dirty(mmu, v, gfn, false);
	sync_rcu_read_unlock();
}

bool dirty_protect_word(struct mmu *mmu, gfn_t gfn, u64 bits)
{
	struct tree_iter it;
	bool changed = false;
	u64 last = 63 - (u64)__builtin_clzll(bits);

	tree_for_each(&it, mmu, gfn + (u64)__builtin_ctzll(bits), gfn + last + 1) {
		if (!spte_leaf(it.old) || !(it.old & SPTE_DIRTY))
			continue;
		if (it.level == LEVEL_4K && !(bits & BIT(it.gfn - gfn)))
			continue;
		tree_set(mmu, it.sptep, it.level, it.old & ~SPTE_DIRTY);
		changed = true;
	}
	return changed;
}

/* Words protected in one hold of mmu_lock, so that faults get their turn. */
#define PROTECT_BATCH 256

/* Re-protect the pages of `bits`, nwords words for pages from `first` (a multiple of 64) on. */
static void protect(struct mmu *mmu, struct memslot *s, u64 first, const u64 *bits, u64 nwords)
{
	u64 mark = 0;

	for (u64 w = 0; w < nwords;) {
		bool changed = false;
		u64 end = MIN(nwords, w + PROTECT_BATCH);

		mmu_lock_write(mmu);
		for (; w < end; w++) {
			if (bits[w])
				changed |= dirty_protect_word(mmu, s->base_gfn + first + w * 64,
							      bits[w]);
		}
		mark = mmu_zap_mark(mmu, changed);
		mmu_unlock_write(mmu);
	}
	mmu_flush_zapped(mmu, mark);
}

/* The slot whose log is asked for, or NULL and the errno. slots_lock held. */
static struct memslot *log_slot(struct mmu *mmu, u32 slot, int *err)
{
	struct memslot *s;

	*err = -EINVAL;
	if (slot >= MMU_USER_SLOTS)
		return NULL;
	*err = -ENOENT;
	s = memslot_by_id(mmu, slot);
	return s && s->log ? s : NULL;
}

int mmu_dirty_get(struct mmu *mmu, u32 slot, void *user_bitmap)
{
	struct memslot *s;
	u64 *bits = NULL;
	u64 n;
	int r;

	mutex_lock(&mmu->slots_lock);
	s = log_slot(mmu, slot, &r);
	if (!s)
		goto out;
	n = s->log->nwords;
	r = -ENOMEM;
	bits = malloc(n * sizeof(*bits));
	if (!bits)
		goto out;
	for (u64 i = 0; i < n; i++) {
		bits[i] = sync_load(&s->log->word[i]);
		if (bits[i] && !(mmu->manual_protect & 1))
			bits[i] = sync_xchg(&s->log->word[i], 0);
	}
	if (!(mmu->manual_protect & 1))
		protect(mmu, s, 0, bits, n);
	r = guard_copy_to(user_bitmap, bits, n * sizeof(*bits));
out:
	mutex_unlock(&mmu->slots_lock);
	free(bits);
	return r;
}

int mmu_dirty_clear(struct mmu *mmu, u32 slot, u64 first_page, u32 npages,
		    const void *user_bitmap)
{
	u64 n = ALIGN_UP((u64)npages, 64) / 64;
	struct memslot *s;
	u64 *bits = NULL;
	int r;

	if (first_page & 63)
		return -EINVAL;
	mutex_lock(&mmu->slots_lock);
	s = log_slot(mmu, slot, &r);
	if (!s)
		goto out;
	r = -EINVAL;
	/* api.rst 4.117: a multiple of 64 pages, but for the slot's last ones. */
	if (first_page > s->npages || npages > s->npages - first_page ||
	    (npages < s->npages - first_page && (npages & 63)))
		goto out;
	r = -ENOMEM;
	bits = malloc(n * sizeof(*bits) + 1);
	if (!bits)
		goto out;
	r = guard_copy_from(bits, user_bitmap, n * sizeof(*bits));
	if (r)
		goto out;
	for (u64 i = 0; i < n; i++) {
		if (bits[i])
			bits[i] &= sync_and(&s->log->word[first_page / 64 + i], ~bits[i]);
	}
	protect(mmu, s, first_page, bits, n);
out:
	mutex_unlock(&mmu->slots_lock);
	free(bits);
	return r;
}

int mmu_set_manual_protect(struct mmu *mmu, u64 flags)
{
	/* Initially set makes no sense without manual protect (api.rst 7.18). */
	if (flags & ~3ULL || flags == 2)
		return -EINVAL;
	mutex_lock(&mmu->slots_lock);
	mmu->manual_protect = flags;
	mutex_unlock(&mmu->slots_lock);
	return 0;
}

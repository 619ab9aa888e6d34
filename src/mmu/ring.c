/* SPDX-License-Identifier: MIT */
/*
 * Dirty rings: each vCPU lists the pages it dirties, in memory shared with the VMM, instead of
 * bits in its slots' logs (KVM's api.rst, 8.29).
 *
 * Only the vCPU's thread adds; it does so where its log bit would be set, so after the SPTE is
 * dirty and before the write. The VMM collects entries in order and marks them; a reset takes
 * the marked ones out, clears dirty in their SPTEs and flushes: as after a harvest of the log,
 * what was written before the reset returned is visible to the VMM then, and what is written
 * after finds dirty clear and is listed again. What the VMM writes into the ring is never
 * trusted.
 */
#include <assert.h>
#include "mmu/attributes.h"
#include "mmu/dirty.h"
#include "mmu/flush.h"
#include "mmu/memslots.h"
#include "mmu/ring.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"

/* Kept free for what is listed on the way out: an instruction's pages, host-side writes. */
#define RING_RESERVED 64
/* What a host-side write may list: its page in the slot there is, and in the one that is leaving. */
#define RING_PER_USE 2
/* A host-side write lists its page unless one of so many last entries does. */
#define RING_LOOK_BACK 16
/* Entries taken out in one hold of mmu_lock. */
#define RESET_BATCH 512

int mmu_ring_enable(struct mmu *mmu, u32 entries)
{
	int r = -EINVAL;

	mutex_lock(&mmu->slots_lock);
	if (!mmu->ring_entries && entries > RING_RESERVED && !(entries & (entries - 1))) {
		mmu->ring_entries = entries;
		r = 0;
	}
	mutex_unlock(&mmu->slots_lock);
	return r;
}

void mmu_ring_attach(struct mmu_vcpu *v, struct mmu_dirty_gfn *entries, u32 full_request)
{
	v->ring.full_request = full_request;
	v->ring.mask = v->mmu->ring_entries - 1;
	sync_store_release(&v->ring.entry, entries);
}

static u32 ring_used(const struct mmu_ring *r)
{
	return sync_load(&r->added) - sync_load_acquire(&r->taken);
}

bool mmu_ring_full(const struct mmu_vcpu *v)
{
	const struct mmu_ring *r = &v->ring;

	return r->entry && ring_used(r) >= r->mask + 1 - RING_RESERVED;
}

bool ring_has_room(const struct mmu_vcpu *v)
{
	const struct mmu_ring *r = &v->ring;

	return !r->entry || ring_used(r) + RING_PER_USE <= r->mask + 1;
}

void ring_add(struct mmu_vcpu *v, u32 slot, u64 offset)
{
	struct mmu_ring *r = &v->ring;
	struct mmu_dirty_gfn *e = &r->entry[r->added & r->mask];

	assert(ring_used(r) <= r->mask);
	sync_store(&e->slot, slot);
	sync_store(&e->offset, offset);
	/* Counted before it shows: who marks it as collected must find it taken by the next reset. */
	sync_store(&r->added, r->added + 1);
	sync_store_release(&e->flags, MMU_DIRTY_GFN_DIRTY);
	/* A vCPU that does not write itself meets nobody else who tells it to leave. */
	if (mmu_ring_full(v))
		mmu_vcpu_request(v, r->full_request);
}

/*
 * The write is done. If it is listed and not yet taken out, that will be after it: the VMM
 * looks at the page after the reset.
 */
void ring_add_written(struct mmu_vcpu *v, u32 slot, u64 offset)
{
	struct mmu_ring *r = &v->ring;
	u32 n = MIN(ring_used(r), RING_LOOK_BACK);

	sync_mb();
	for (u32 i = 1; i <= n; i++) {
		const struct mmu_dirty_gfn *e = &r->entry[(r->added - i) & r->mask];

		if (sync_load(&e->slot) == slot && sync_load(&e->offset) == offset &&
		    ring_used(r) >= i)
			return;
	}
	ring_add(v, slot, offset);
}

/* ------------------------------------------------------------------ reset */

static bool protect_entry(struct mmu *mmu, u32 slot, u64 offset)
{
	struct memslot *s = memslot_by_id(mmu, slot);

	if (!s || !s->log || offset >= s->npages)
		return false;
	return dirty_protect_word(mmu, s->base_gfn + offset, 1);
}

/* The next entry the VMM has collected: out of the ring. */
static bool take_entry(struct mmu_ring *r, u32 *slot, u64 *offset)
{
	struct mmu_dirty_gfn *e = &r->entry[r->taken & r->mask];

	if (r->taken == sync_load_acquire(&r->added) ||
	    !(sync_load_acquire(&e->flags) & MMU_DIRTY_GFN_RESET))
		return false;
	*slot = sync_load(&e->slot);
	*offset = sync_load(&e->offset);
	sync_store_release(&e->flags, 0);
	sync_store_release(&r->taken, r->taken + 1);
	return true;
}

static u32 reset_ring(struct mmu *mmu, struct mmu_vcpu *v, u64 *mark)
{
	u32 n = 0, in_batch;

	if (!sync_load_acquire(&v->ring.entry))
		return 0;
	do {
		bool changed = false;
		u64 offset;
		u32 slot;

		mmu_lock_write(mmu);
		for (in_batch = 0; in_batch < RESET_BATCH; in_batch++) {
			if (!take_entry(&v->ring, &slot, &offset))
				break;
			changed |= protect_entry(mmu, slot, offset);
		}
		*mark = mmu_zap_mark(mmu, changed);
		mmu_unlock_write(mmu);
		n += in_batch;
	} while (in_batch == RESET_BATCH);
	return n;
}

int mmu_ring_reset(struct mmu *mmu, u32 *n)
{
	u64 mark = 0;

	*n = 0;
	mutex_lock(&mmu->slots_lock);
	if (!mmu->ring_entries) {
		mutex_unlock(&mmu->slots_lock);
		return -EINVAL;
	}
	rwlock_read_lock(&mmu->vcpus_lock);
	for (struct mmu_vcpu *v = mmu->vcpus; v; v = v->next)
		*n += reset_ring(mmu, v, &mark);
	rwlock_read_unlock(&mmu->vcpus_lock);
	mmu_flush_zapped(mmu, mark);
	mutex_unlock(&mmu->slots_lock);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The memslots of a VM. By gfn they stand in a sorted array (slot_array.c), by hva (ranges may
 * overlap there) in an interval tree under mmu_lock, by id in an array under slots_lock.
 *
 * A new array is published under mmu_lock held for write, and the old slot's SPTEs go in the
 * same hold. So whoever holds mmu_lock for read sees slots and SPTEs that agree, and a fault
 * that looked its slot up before need only compare serials there.
 */
#include <assert.h>
#include <stdlib.h>
#include "mmu/cache.h"
#include "mmu/dirty.h"
#include "mmu/flush.h"
#include "mmu/gmem.h"
#include "mmu/memslots.h"
#include "mmu/slot_array.h"
#include "mmu/tree.h"
#include "mmu/vm.h"
#include "sync/trace.h"

#define MAX_NPAGES ((1ULL << 31) - 1) /* KVM_MEM_MAX_NR_PAGES */
#define HVA_END	   0x7ffffffff000ULL  /* TASK_SIZE_MAX with four-level paging */

struct memslot *memslot_by_id(struct mmu *mmu, u32 id)
{
	mutex_assert_held(&mmu->slots_lock);
	return id < MMU_USER_SLOTS ? mmu->by_id[id] : NULL;
}

/* ------------------------------------------------------------------ slots */

static void slot_free(struct memslot *s)
{
	if (s->free_log)
		free(s->log);
	free(s);
}

static void slot_free_rcu(sync_rcu_head *head)
{
	slot_free(container_of(head, struct memslot, rcu));
}

/* A slot as r asks for, taking over what `old` has gathered about the same memory. */
static struct memslot *slot_make(struct mmu *mmu, const struct mmu_region *r, struct memslot *old)
{
	struct memslot *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->id = r->slot;
	s->flags = r->flags;
	s->base_gfn = r->gpa >> PAGE_SHIFT;
	s->npages = r->size >> PAGE_SHIFT;
	s->hva = r->hva;
	s->gmem_page = r->gmem_offset >> PAGE_SHIFT;
	s->serial = ++mmu->serial;
	s->by_hva.start = r->hva;
	s->by_hva.last = r->hva + r->size - 1;
	if (r->flags & MMU_SLOT_LOG_DIRTY)
		s->log = old && old->log ? old->log
					 : slot_log_alloc(s->npages, mmu->manual_protect & 2);
	if ((r->flags & MMU_SLOT_LOG_DIRTY) && !s->log) {
		free(s);
		return NULL;
	}
	s->free_log = true;
	return s;
}

/* The old slot leaves; what the new one took over stays. */
static void slot_retire(struct memslot *old, const struct memslot *new_)
{
	if (new_ && old->log == new_->log)
		old->free_log = false;
	sync_rcu_call(&old->rcu, slot_free_rcu);
}

static void slot_unmake(struct memslot *s, const struct memslot *old)
{
	s->free_log = !old || s->log != old->log;
	gmem_unbind(s);
	slot_free(s);
}

/* ------------------------------------------------------------------ the update */

/* KVM's checks of the arguments alone (api.rst, 4.35), in KVM's order where it shows. */
static int region_check(const struct mmu_region *r)
{
	if ((r->slot & 0xffff) >= MMU_USER_SLOTS || r->slot >> 16)
		return -EINVAL;
	/* Private memory is neither logged nor read-only (api.rst, 4.140). */
	if (r->flags & MMU_SLOT_GMEM ? r->flags != MMU_SLOT_GMEM
				     : r->flags & ~(MMU_SLOT_READONLY | MMU_SLOT_LOG_DIRTY))
		return -EINVAL;
	if ((r->flags & MMU_SLOT_GMEM) && ((r->gmem_offset & ~PAGE_MASK) ||
					   r->gmem_offset + r->size < r->gmem_offset))
		return -EINVAL;
	if ((r->size | r->gpa | r->hva) & ~PAGE_MASK)
		return -EINVAL;
	if (r->hva + r->size < r->hva || r->hva + r->size > HVA_END)
		return -EINVAL;
	if (r->gpa + r->size < r->gpa || r->size >> PAGE_SHIFT > MAX_NPAGES)
		return -EINVAL;
	return 0;
}

struct overlap {
	const struct memslot *but;
	bool found;
};

static void note_overlap(struct memslot *s, void *arg)
{
	struct overlap *o = arg;

	o->found |= s != o->but;
}

/* The checks against what exists. 0: carry it out; 1: nothing to do; or -errno. */
static int region_check_old(struct mmu *mmu, const struct mmu_region *r, struct memslot *old)
{
	gfn_t gfn = r->gpa >> PAGE_SHIFT;
	u64 npages = r->size >> PAGE_SHIFT;
	struct overlap o = {.but = old};

	if (!npages)
		return old ? 0 : -EINVAL;
	if (old) {
		/* A slot with a guest_memfd can only be deleted. */
		if (r->hva != old->hva || npages != old->npages ||
		    ((r->flags | old->flags) & MMU_SLOT_GMEM) ||
		    ((r->flags ^ old->flags) & MMU_SLOT_READONLY))
			return -EINVAL;
		if (gfn == old->base_gfn)
			return r->flags == old->flags ? 1 : 0;
	}
	memslots_each(mmu, gfn, gfn + npages, note_overlap, &o);
	if (o.found)
		return -EEXIST;
	if (gfn + npages > TREE_MAX_GFN)
		return -EINVAL;
	return 0;
}

/* Publish, and bring stage 2 in line, in one hold of mmu_lock. */
static void slot_swap(struct mmu *mmu, struct memslots *m, struct memslot *old,
		      struct memslot *new_)
{
	struct tree_free f = {NULL};
	bool reflag = old && new_ && old->base_gfn == new_->base_gfn;
	bool zapped = false;
	u64 mark, caches = 0;

	mmu_lock_write(mmu);
	/* Counted before it is seen, and until nobody is left who writes through it. */
	if (new_ && new_->log)
		sync_store(&mmu->logging, mmu->logging + 1);
	sync_rcu_publish(&mmu->leaving, old);
	sync_rcu_publish(&mmu->slots, m);
	if (old)
		interval_remove(&mmu->hva_tree, &old->by_hva);
	if (new_)
		interval_insert(&mmu->hva_tree, &new_->by_hva);
	if (reflag && new_->log)
		zapped = tree_start_logging(mmu, old->base_gfn, old->base_gfn + old->npages,
					    (mmu->manual_protect & 2) && !mmu->ring_entries);
	else if (old) /* gone, moved, or to be faulted in anew as large as may be */
		zapped = tree_zap(mmu, old->base_gfn, old->base_gfn + old->npages, &f);
	mark = mmu_zap_mark(mmu, zapped);
	if (old && !reflag)
		caches = mmu_caches_stale(mmu, old->hva, old->hva + (old->npages << PAGE_SHIFT));
	mmu_unlock_write(mmu);

	mmu_flush_zapped(mmu, mark);
	mmu_caches_wait(mmu, caches);
	tree_free_flush(mmu, &f);
	if (old)
		mmu_users_wait(mmu);
	sync_store(&mmu->leaving, NULL);
	if (old && old->log)
		sync_store(&mmu->logging, mmu->logging - 1);
}

/* slots_lock held. `new_` is NULL to delete. */
static int slot_change(struct mmu *mmu, u32 id, struct memslot *old, struct memslot *new_)
{
	struct slot_array_retired r = {NULL};
	struct memslots *m;
	int err;

	if (!old) {
		err = mmu->ops->range_add(mmu->primary, new_->hva, new_->npages << PAGE_SHIFT);
		if (err)
			return err;
	}
	m = slot_array_update(mmu->slots, old, new_, &r);
	if (!m) {
		if (!old)
			mmu->ops->range_remove(mmu->primary, new_->hva, new_->npages << PAGE_SHIFT);
		return -ENOMEM;
	}
	slot_swap(mmu, m, old, new_);
	mmu->by_id[id] = new_;
	TRACE(memslot, -1, 0, id, (new_ ? new_ : old)->base_gfn << PAGE_SHIFT,
	      new_ ? new_->npages << PAGE_SHIFT : 0, (new_ ? new_ : old)->hva);
	if (!old || !new_) {
		sync_add(&mmu->stat.memslots, new_ ? 1 : -1);
		sync_add(&mmu->stat.memslot_bytes, (new_ ? new_->npages : -old->npages) << PAGE_SHIFT);
	}
	if (!new_)
		mmu->ops->range_remove(mmu->primary, old->hva, old->npages << PAGE_SHIFT);
	slot_array_free_retired(&r);
	if (old) {
		gmem_unbind(old);
		slot_retire(old, new_);
	}
	return 0;
}

/* slots_lock held; nobody sees s yet. */
static int slot_bind(struct mmu *mmu, const struct mmu_region *r, struct memslot *s)
{
	if (!(r->flags & MMU_SLOT_GMEM))
		return 0;
	if (!r->gmem)
		return r->gmem_error;
	return gmem_mmu(r->gmem) == mmu ? gmem_bind(r->gmem, s) : -EINVAL;
}

int mmu_set_region(struct mmu *mmu, const struct mmu_region *r)
{
	struct memslot *old, *new_ = NULL;
	int err = region_check(r);

	if (err)
		return err;
	mutex_lock(&mmu->slots_lock);
	old = memslot_by_id(mmu, r->slot);
	err = region_check_old(mmu, r, old);
	if (err)
		goto out;
	if (r->size) {
		new_ = slot_make(mmu, r, old);
		err = new_ ? slot_bind(mmu, r, new_) : -ENOMEM;
	}
	if (!err)
		err = slot_change(mmu, r->slot, old, new_);
	if (err && new_)
		slot_unmake(new_, old);
out:
	mutex_unlock(&mmu->slots_lock);
	return MIN(err, 0);
}

/* ------------------------------------------------------------------ life */

int memslots_init(struct mmu *mmu)
{
	mmu->by_id = calloc(MMU_USER_SLOTS, sizeof(mmu->by_id[0]));
	mmu->slots = slot_array_create();
	if (mmu->by_id && mmu->slots)
		return 0;
	free(mmu->by_id);
	free(mmu->slots);
	return -ENOMEM;
}

void memslots_let_go(struct mmu *mmu)
{
	mutex_lock(&mmu->slots_lock);
	for (u32 i = 0; i < MMU_USER_SLOTS; i++) {
		const struct memslot *s = mmu->by_id[i];

		if (s)
			mmu->ops->range_remove(mmu->primary, s->hva, s->npages << PAGE_SHIFT);
	}
	mutex_unlock(&mmu->slots_lock);
}

/* Nobody else is left; stage 2 was zapped, and the primary's books closed. */
void memslots_fini(struct mmu *mmu)
{
	for (u32 i = 0; i < MMU_USER_SLOTS; i++) {
		struct memslot *s = mmu->by_id[i];

		if (!s)
			continue;
		assert(!s->bound.file); /* a file holds a reference on the VM */
		slot_free(s);
	}
	slot_array_destroy(mmu->slots);
	free(mmu->by_id);
}

hva_t mmu_gfn_to_hva(struct mmu *mmu, gfn_t gfn, bool *readonly)
{
	struct memslot *s;
	hva_t hva = 0;

	if (mmu_is_private(mmu, gfn))
		return 0;
	sync_rcu_read_lock();
	s = memslot_find(mmu, gfn);
	if (s) {
		hva = memslot_gfn_to_hva(s, gfn);
		if (readonly)
			*readonly = s->flags & MMU_SLOT_READONLY;
	}
	sync_rcu_read_unlock();
	return hva;
}

/* SPDX-License-Identifier: MIT */
/*
 * Translating and faulting: the life of a guest access from the TLB's miss on.
 */
#include <assert.h>
#include "mmu/attributes.h"
#include "mmu/code.h"
#include "mmu/dirty.h"
#include "mmu/fault.h"
#include "mmu/flush.h"
#include "mmu/gmem.h"
#include "mmu/invalidate.h"
#include "mmu/memslots.h"
#include "mmu/names.h"
#include "mmu/slot_array.h"
#include "mmu/spte.h"
#include "mmu/translate.h"
#include "mmu/tree.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"
#include "sync/trace.h"

/* ------------------------------------------------------------------ the lock-free walk */

/* A leaf serves an access when it allows it; accessed and dirty are set on the way. */
static bool leaf_use(struct mmu_vcpu *v, gfn_t gfn, u64 *sptep, u64 *s, unsigned access)
{
	bool write = access & MMU_WRITE;
	u64 want = SPTE_ACCESSED | (write ? SPTE_DIRTY : 0);

	for (;;) {
		u64 old = *s;

		if (!spte_leaf(old) || (write && !(old & SPTE_WRITABLE)))
			return false;
		if ((old & want) == want) {
			if (write)
				memslots_mark_found_dirty(v->mmu, v, gfn);
			return true;
		}
		if (!tree_set_atomic(v->mmu, sptep, spte_level(old), s, old | want))
			continue;
		*s = old | want;
		/*
		 * Dirty is set before the log's bit: a harvest that clears the bit first will clear
		 * dirty after, and wait for this vCPU. The other way round a write could slip
		 * between the two harvests.
		 */
		if (want & ~old & SPTE_DIRTY)
			memslots_mark_dirty(v->mmu, v, gfn, false);
		return true;
	}
}

#define BLOCK_SHIFT 9 /* pages of 2 MiB */
#define BLOCK_PAGES LEVEL_PAGES(LEVEL_2M)

static struct leaf_cached *leaf_slot(struct mmu_vcpu *v, gfn_t gfn)
{
	return &v->leaves[(gfn >> BLOCK_SHIFT) % MMU_LEAVES];
}

/*
 * What a TLB may hold of a leaf, this may: it is good until the same handshake. So is the table that a leaf was found
 * in: who takes it out of the tree takes the leaf out, or finds that somebody did, and waits for this vCPU's answer
 * before the table is freed.
 */
static void leaf_keep(struct mmu_vcpu *v, gfn_t gfn, u64 *sptep, u64 s, const struct mmu_xlat *x)
{
	struct leaf_cached *l = leaf_slot(v, gfn);

	*l = (struct leaf_cached){.block = (gfn >> BLOCK_SHIFT) + 1, .epoch = v->epoch};
	if (spte_level(s) > LEVEL_4K) {
		l->host = x->host - ((gfn & (BLOCK_PAGES - 1)) << PAGE_SHIFT);
		l->writable = x->writable;
	} else {
		l->table = sptep - (gfn & (BLOCK_PAGES - 1));
	}
}

static void leaf_show(gfn_t gfn, u64 s, struct mmu_xlat *out)
{
	gfn_t off = gfn & (LEVEL_PAGES(spte_level(s)) - 1);

	out->host = (u8 *)(spte_host(s) + (off << PAGE_SHIFT));
	out->writable = (s & SPTE_WRITABLE) && (s & SPTE_DIRTY);
	out->code = false;
}

/*
 * A leaf that has come to allow the access says that the memslot does, too. One that has not, or that is to be marked
 * as accessed or dirty, is for the walk.
 */
static bool translate_by_table(struct mmu_vcpu *v, gfn_t gfn, u64 *table, unsigned access, struct mmu_xlat *out)
{
	bool write = access & MMU_WRITE;
	u64 want = SPTE_PRESENT | SPTE_LEAF | SPTE_ACCESSED | (write ? SPTE_WRITABLE | SPTE_DIRTY : 0);
	u64 s = sync_load_acquire(&table[gfn & (BLOCK_PAGES - 1)]);

	if ((s & want) != want)
		return false;
	if (write)
		memslots_mark_found_dirty(v->mmu, v, gfn);
	leaf_show(gfn, s, out);
	return true;
}

/* By what is remembered of the block. In guest mode. */
static bool translate_remembered(struct mmu_vcpu *v, gfn_t gfn, unsigned access, struct mmu_xlat *out)
{
	const struct leaf_cached *l = leaf_slot(v, gfn);

	if (l->block != (gfn >> BLOCK_SHIFT) + 1 || l->epoch != v->epoch)
		return false;
	if (l->table)
		return translate_by_table(v, gfn, l->table, access, out);
	if ((access & MMU_WRITE) && !l->writable)
		return false;
	out->host = l->host + ((gfn & (BLOCK_PAGES - 1)) << PAGE_SHIFT);
	out->writable = l->writable;
	out->code = false;
	return true;
}

/* In guest mode. 0; -ENOENT as mmu_translate(); -EAGAIN: needs a fault; -ENXIO: too, though there is no
 * memory. */
static int translate_fast(struct mmu_vcpu *v, gfn_t gfn, unsigned access, struct mmu_xlat *out)
{
	struct memslot *slot;
	u64 *sptep, s;
	int r = -EAGAIN;

	sync_rcu_read_lock();
	slot = memslot_find(v->mmu, gfn);
	if (!slot || ((access & MMU_WRITE) && (slot->flags & MMU_SLOT_READONLY))) {
		/* A private gfn without private memory is no device: the fault decides. */
		r = attr_any(v->mmu) ? -ENXIO : -ENOENT;
		goto out;
	}
	s = tree_lookup(v->mmu, gfn, &sptep);
	if (s && leaf_use(v, gfn, sptep, &s, access)) {
		leaf_show(gfn, s, out);
		leaf_keep(v, gfn, sptep, s, out);
		r = 0;
	}
out:
	sync_rcu_read_unlock();
	return r;
}

static void look_for_code(struct mmu_vcpu *v, gfn_t gfn, struct mmu_xlat *x)
{
	struct page_name n = name_of(v, gfn, x->host);

	x->code = code_marked(&n);
}

bool mmu_translate_present(struct mmu_vcpu *v, gpa_t gpa, unsigned access, bool stores, struct mmu_xlat *out)
{
	gfn_t gfn = gpa >> PAGE_SHIFT;

	assert(v->mode == MMU_IN_GUEST);
	if ((access & MMU_WRITE) && mmu_ring_full(v))
		return false;
	if (!translate_remembered(v, gfn, access, out) && translate_fast(v, gfn, access, out))
		return false;
	if (stores && out->writable)
		look_for_code(v, gfn, out);
	return true;
}

/* Before a fault, which may take as long as the host likes: nobody stays stopped. Was anyone? */
static bool end_stop(struct mmu_vcpu *v)
{
	bool stops = mmu_stops_others(v);

	if (stops)
		mmu_start_others(v);
	return stops;
}

int mmu_translate(struct mmu_vcpu *v, gpa_t gpa, unsigned access, struct mmu_xlat *out)
{
	gfn_t gfn = gpa >> PAGE_SHIFT;
	bool stopped_others = false;
	int r;

	assert(v->mode == MMU_IN_GUEST);
	if ((access & MMU_WRITE) && mmu_ring_full(v))
		return -EINTR;
	while (!stopped_others && ((r = translate_fast(v, gfn, access, out)) == -EAGAIN || r == -ENXIO)) {
		bool had_slot = r == -EAGAIN;

		stopped_others = end_stop(v);
		mmu_vcpu_leave(v);
		r = mmu_fault(v, gfn, access, NULL);
		mmu_vcpu_enter(v);
		/* A memslot that has just gone may be back for the next access of the instruction, which
		 * would go on without its stop. Where there was none it is a device's, to which an
		 * instruction that begins anew would never get. */
		if (r == -ENOENT && stopped_others && had_slot)
			r = 0;
		if (r)
			return r;
	}
	if (stopped_others)
		return -EAGAIN;
	if (!r && out->writable)
		look_for_code(v, gfn, out);
	return r;
}

/* ------------------------------------------------------------------ the fault */

/* What a fault knows of its slot without holding on to it. */
struct fault {
	struct mmu_vcpu *v;
	gfn_t gfn;
	unsigned access;
	u64 serial;
	u32 slot_flags;
	gfn_t base_gfn;
	u64 npages;
	hva_t slot_hva, hva;
	bool private_;		/* what the gfn's attribute said */
	struct gmem_file *gmem; /* where the frame comes from, with a reference; NULL: hva */
	u64 slot_page, page;	/* of the store: where the slot begins, and of gfn */
	u64 seq; /* of invalidations, before the primary MMU was asked */
	struct frame frame;
};

/* Does this slot serve the access, and from where? In an RCU read side. */
static int fault_use_slot(struct fault *f, struct memslot *s)
{
	/* Before anything else: what is private is private memory's or nobody's. */
	if (f->private_ && !(s && (s->flags & MMU_SLOT_GMEM)))
		return -EFAULT;
	if (!s || ((f->access & MMU_WRITE) && (s->flags & MMU_SLOT_READONLY)))
		return -ENOENT;
	f->serial = s->serial;
	f->slot_flags = s->flags;
	f->base_gfn = s->base_gfn;
	f->npages = s->npages;
	f->slot_hva = s->hva;
	f->hva = memslot_gfn_to_hva(s, f->gfn);
	if (!f->private_ && !s->gmem_only)
		return 0;
	f->slot_page = s->gmem_page;
	f->page = s->gmem_page + (f->gfn - s->base_gfn);
	f->gmem = gmem_of_slot(s);
	return f->gmem ? 0 : -EFAULT; /* its file was closed */
}

/* Slot and attribute of one moment: in between they may both change. */
static int fault_find_slot(struct fault *f)
{
	struct mmu *mmu = f->v->mmu;
	bool lock = attr_any(mmu);
	int r;

	if (lock)
		mmu_lock_read(mmu);
	f->private_ = lock && !attr_uniform(mmu, f->gfn, f->gfn + 1, false);
	sync_rcu_read_lock();
	r = fault_use_slot(f, memslot_find(mmu, f->gfn));
	sync_rcu_read_unlock();
	if (lock)
		mmu_unlock_read(mmu);
	return r;
}

/*
 * The largest level that the slot and the primary mapping allow: the block lies in the slot, its
 * guest and host addresses (or pages of the store) are congruent.
 */
static int fault_max_level(const struct fault *f)
{
	u64 at = f->gmem ? f->slot_page : f->slot_hva >> PAGE_SHIFT;
	int level = f->frame.max_level;

	for (; level > LEVEL_4K; level--) {
		u64 pages = LEVEL_PAGES(level);
		gfn_t first = ALIGN_DOWN(f->gfn, pages);

		if (first >= f->base_gfn && first + pages <= f->base_gfn + f->npages &&
		    !((at ^ f->base_gfn) & (pages - 1)))
			break;
	}
	return level;
}

/* mmu_lock held for read, the slot and the sequence checked. */
static int fault_install(struct fault *f, struct memslot *slot, int *level)
{
	struct mmu *mmu = f->v->mmu;
	bool write = f->access & MMU_WRITE;
	int r;

	for (;;) {
		u64 off = (f->gfn & (LEVEL_PAGES(*level) - 1)) << PAGE_SHIFT;
		u64 leaf = spte_make_leaf(&f->frame, (u64)f->frame.host - off, *level,
					  !(f->slot_flags & MMU_SLOT_READONLY));

		leaf |= SPTE_ACCESSED | (write ? SPTE_DIRTY : 0);
		r = tree_install(mmu, f->gfn, *level, leaf, &f->v->tables);
		if (r != -EEXIST)
			break;
		--*level;
	}
	if (!r && write)
		memslot_mark_dirty(f->v, slot, f->gfn);
	return r;
}

/* Pages that a fault of one brings in where they are logged, and so mapped, one by one. */
#define AROUND 16

/*
 * The pages around gfn lie in a block that could be mapped by one leaf, were it not for the log. They get theirs as it
 * would: a vCPU that comes to one finds it by its walk, which sets accessed and dirty and marks the log.
 */
static void fault_install_around(const struct fault *f)
{
	gfn_t first = ALIGN_DOWN(f->gfn, AROUND);
	u64 host = (u64)f->frame.host - ((f->gfn - first) << PAGE_SHIFT);

	tree_install_beside(f->v->mmu, first, AROUND,
			    spte_make_leaf(&f->frame, host, LEVEL_4K, !(f->slot_flags & MMU_SLOT_READONLY)));
}

/* A leaf of another frame or size is in the way: remove it, flush, and let the fault run again. */
static void fault_clear_way(struct fault *f)
{
	struct mmu *mmu = f->v->mmu;
	struct tree_free fr = {NULL};
	u64 mark;

	mmu_lock_write(mmu);
	mark = mmu_zap_mark(mmu, tree_zap(mmu, f->gfn, f->gfn + 1, &fr));
	mmu_unlock_write(mmu);
	mmu_flush_zapped(mmu, mark);
	tree_free_flush(mmu, &fr);
}

/* The block of `level` around gfn, as an invalidation may touch it. */
static struct mmu_span fault_span(const struct fault *f, int level)
{
	u64 pages = LEVEL_PAGES(level);
	gfn_t first = ALIGN_DOWN(f->gfn, pages);
	hva_t hva = f->hva - ((f->gfn - first) << PAGE_SHIFT);
	struct mmu_span s = {hva, hva + LEVEL_SIZE(level), first, first + pages};

	if (f->gmem)
		s.hva = s.hva_end = 0;
	return s;
}

/*
 * The largest level up to `level` at which no invalidation of the block is in progress or has ended since the frame
 * was asked for, and all of it has the attribute that the frame was got for; 0 when that is not so of
 * the page itself. mmu_lock held for read. A block beside which a VMM changes its mappings again and
 * again is mapped smaller: the fault comes to an end.
 */
static int fault_stable_level(const struct fault *f, int level)
{
	struct mmu *mmu = f->v->mmu;

	for (; level >= LEVEL_4K; level--) {
		struct mmu_span s = fault_span(f, level);

		if (attr_uniform(mmu, s.gfn, s.gfn_end, f->private_) && !mmu_invalidating(mmu, &s) &&
		    !mmu_invalidated_since(mmu, f->seq, &s))
			return level;
	}
	return 0;
}

/* The frame is in: put it into stage 2. -EAGAIN: something changed meanwhile. */
static int fault_finish(struct fault *f, int *plevel)
{
	struct mmu *mmu = f->v->mmu;
	struct memslot *slot;
	int level = 0, r = -EAGAIN;
	bool around;

	mmu_lock_read(mmu);
	slot = memslot_find(mmu, f->gfn);
	if (slot && slot->serial == f->serial)
		level = fault_stable_level(f, fault_max_level(f));
	if (level) {
		gfn_t first = ALIGN_DOWN(f->gfn, LEVEL_PAGES(level));

		/* Named in large pieces also where pages are logged, and so mapped, one by one. */
		names_set(f->v, &f->frame, f->gfn, first, first + LEVEL_PAGES(level));
		around = level > LEVEL_4K && (f->slot_flags & MMU_SLOT_LOG_DIRTY);
		if (around)
			level = LEVEL_4K;
		r = fault_install(f, slot, &level);
		if (!r && around)
			fault_install_around(f);
	}
	mmu_unlock_read(mmu);
	if (plevel)
		*plevel = level;
	return r;
}

/* Ask for the frame; for private memory the store lock is held from here on. */
static int fault_ask(struct fault *f)
{
	const struct mmu_vcpu_ops *ops = f->v->ops;
	struct mmu *mmu = f->v->mmu;

	if (f->gmem)
		return gmem_fault_begin(f->gmem, f->page, ops->interrupted, f->v->owner, &f->frame);
	return mmu->ops->fault_in(mmu->primary, f->hva, f->access & MMU_WRITE, ops->interrupted,
				  f->v->owner, &f->frame);
}

/* The end of the short pin: what fault_in() gave, and nothing that a pfn looks like. */
static void fault_release(struct fault *f, bool installed)
{
	bool dirty = installed && (f->access & MMU_WRITE);
	struct mmu *mmu = f->v->mmu;

	mmu->ops->release(mmu->primary, &f->frame, installed, dirty);
}

static int fault_bring_in(struct fault *f, int *plevel)
{
	struct mmu_span span = fault_span(f, LEVEL_4K);
	struct mmu *mmu = f->v->mmu;
	int r = mmu_fault_result(mmu, fault_ask(f), f->seq, &span);

	if (r)
		goto out;
	assert(f->frame.pfn == (u64)f->frame.host >> PAGE_SHIFT);
	assert(!(f->access & MMU_WRITE) || f->frame.writable);
	r = tree_cache_fill(mmu, &f->v->tables, TREE_ROOT_LEVEL - LEVEL_4K);
	if (!r)
		r = names_prepare(f->v, &f->frame);
	if (!r)
		r = fault_finish(f, plevel);
	fault_release(f, r == 0);
out:
	if (f->gmem)
		gmem_fault_end(f->gmem);
	return r;
}

static int fault_try(struct fault *f, int *plevel)
{
	struct mmu *mmu = f->v->mmu;
	struct mmu_span span;
	int r;

	f->gmem = NULL;
	f->seq = sync_load_acquire(&mmu->invalidate_seq);
	r = fault_find_slot(f);
	if (r)
		return r;
	span = fault_span(f, LEVEL_4K);
	if (mmu_invalidate_wait(mmu, &span))
		r = -EAGAIN;
	else
		r = fault_bring_in(f, plevel);
	if (f->gmem)
		gmem_put(f->gmem);
	if (r == -EBUSY) {
		fault_clear_way(f);
		r = -EAGAIN;
	}
	return r;
}

static int fault_run(struct fault *f, int *level)
{
	struct mmu_vcpu *v = f->v;
	int r;

	assert(v->mode == MMU_OUTSIDE);
	v->stat->pf_taken++;
	v->stat->under_way = 1;
	do
		r = v->ops->interrupted(v->owner) ? -EINTR : fault_try(f, level);
	while (r == -EAGAIN);
	v->stat->under_way = 0;
	TRACE(fault, v->index, 0, f->gfn << PAGE_SHIFT, (f->access & MMU_WRITE) != 0, r, 0);
	v->fault_private = f->private_;
	if (!r)
		v->stat->pf_fixed++;
	return r;
}

int mmu_fault(struct mmu_vcpu *v, gfn_t gfn, unsigned access, int *level)
{
	struct fault f = {.v = v, .gfn = gfn, .access = access};

	return fault_run(&f, level);
}

int mmu_refault(struct mmu_vcpu *v, gpa_t gpa, unsigned access, int error)
{
	struct fault f = {.v = v, .gfn = gpa >> PAGE_SHIFT, .access = access};
	int r;

	assert(v->mode == MMU_IN_GUEST);
	end_stop(v);
	mmu_vcpu_leave(v);
	fault_clear_way(&f);
	r = fault_run(&f, NULL);
	/* A mapping nobody probed says no by itself, and has just done so. */
	if (!r && f.frame.unprobed)
		r = error;
	mmu_vcpu_enter(v);
	return r;
}

int mmu_prefault(struct mmu_vcpu *v, gpa_t gpa, u64 size, u64 *done)
{
	*done = 0;
	while (*done < size) {
		gpa_t at = gpa + *done;
		int level = LEVEL_4K, r;
		u64 step;

		r = mmu_fault(v, at >> PAGE_SHIFT, MMU_READ, &level);
		if (r)
			return r;
		step = LEVEL_SIZE(level) - (at & (LEVEL_SIZE(level) - 1));
		*done += MIN(step, size - *done);
	}
	return 0;
}

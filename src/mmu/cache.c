/* SPDX-License-Identifier: MIT */
/* Host-side caches of guest pages: see cache.h. */
#include <assert.h>
#include "mmu/attributes.h"
#include "mmu/cache.h"
#include "mmu/code.h"
#include "mmu/dirty.h"
#include "mmu/flush.h"
#include "mmu/invalidate.h"
#include "mmu/memslots.h"
#include "mmu/names.h"
#include "mmu/ring.h"
#include "mmu/slot_array.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"

void mmu_cache_init(struct mmu_cache *c, struct mmu_vcpu *v, u32 stale_request)
{
	struct mmu *mmu = v->mmu;

	memset(c, 0, sizeof(*c));
	mutex_init(&c->lock);
	c->vcpu = v;
	c->stale_request = stale_request;
	c->stale = 1;
	rwlock_write_lock(&mmu->caches_lock);
	c->next = mmu->caches;
	mmu->caches = c;
	rwlock_write_unlock(&mmu->caches_lock);
}

/* mmu_lock held for write. */
static void mark_stale(struct mmu *mmu, struct mmu_cache *c)
{
	if (c->stale)
		return;
	interval_remove(&mmu->cache_tree, &c->by_hva);
	sync_store(&c->stale, 1);
	if (c->stale_request)
		mmu_vcpu_request(c->vcpu, c->stale_request);
}

static void forget(struct mmu_cache *c)
{
	struct mmu *mmu = c->vcpu->mmu;

	mmu_lock_write(mmu);
	mark_stale(mmu, c);
	mmu_unlock_write(mmu);
}

void mmu_cache_fini(struct mmu_cache *c)
{
	struct mmu *mmu = c->vcpu->mmu;
	struct mmu_cache **p;

	forget(c);
	rwlock_write_lock(&mmu->caches_lock);
	for (p = &mmu->caches; *p != c; p = &(*p)->next)
		;
	*p = c->next;
	rwlock_write_unlock(&mmu->caches_lock);
	mutex_destroy(&c->lock);
}

int mmu_cache_set(struct mmu_cache *c, gpa_t gpa, u32 len)
{
	if (!len || (gpa & ~PAGE_MASK) + len > PAGE_SIZE)
		return -EINVAL;
	mutex_lock(&c->lock);
	forget(c);
	c->gpa = gpa;
	c->len = len;
	c->set = true;
	mutex_unlock(&c->lock);
	return 0;
}

void mmu_cache_unset(struct mmu_cache *c)
{
	mutex_lock(&c->lock);
	forget(c);
	c->set = false;
	mutex_unlock(&c->lock);
}

/* ------------------------------------------------------------------ made stale */

u64 mmu_caches_stale(struct mmu *mmu, hva_t start, hva_t end)
{
	struct interval *n;

	assert(mmu->exclusive);
	while ((n = interval_find(&mmu->cache_tree, start, end - 1))) {
		mark_stale(mmu, container_of(n, struct mmu_cache, by_hva));
		sync_store_release(&mmu->cache_seq, mmu->cache_seq + 1);
	}
	return mmu->cache_seq;
}

struct use {
	struct mmu_cache *cache;
	u32 uses; /* as it began */
};

static bool use_ended(struct mmu_vcpu *v, const void *arg)
{
	const struct use *u = arg;

	return sync_load_acquire(&u->cache->uses) != u->uses;
}

static void wait_for_use(struct mmu_cache *c)
{
	struct use u = {c, sync_load_acquire(&c->uses)};

	if ((u.uses & 1) && sync_load(&c->stale))
		mmu_wait_for_vcpu(c->vcpu, use_ended, &u, NULL);
}

/*
 * Caches that somebody else made stale count too: a range that holds none may have lost its
 * caches to a thread that is still waiting for their uses.
 */
void mmu_caches_wait(struct mmu *mmu, u64 seq)
{
	u64 upto = sync_load_acquire(&mmu->cache_seq);
	u64 done = sync_load_acquire(&mmu->cache_seq_done);

	if (done >= seq)
		return;
	sync_mb(); /* stale is stored, uses are read; a use does it the other way round */
	rwlock_read_lock(&mmu->caches_lock);
	for (struct mmu_cache *c = mmu->caches; c; c = c->next)
		wait_for_use(c);
	rwlock_read_unlock(&mmu->caches_lock);
	while (done < upto && !sync_cmpxchg(&mmu->cache_seq_done, &done, upto))
		;
}

/* ------------------------------------------------------------------ made anew */

struct refresh {
	u64 serial, seq;
	hva_t hva; /* of the page */
	struct frame frame;
};

static int refresh_find(struct mmu *mmu, struct mmu_cache *c, struct refresh *r)
{
	struct memslot *s;
	int err = -EFAULT;

	if (mmu_is_private(mmu, c->gpa >> PAGE_SHIFT))
		return err; /* not the host's to use */
	sync_rcu_read_lock();
	s = memslot_find(mmu, c->gpa >> PAGE_SHIFT);
	if (s && !(s->flags & MMU_SLOT_READONLY)) {
		r->serial = s->serial;
		r->hva = memslot_gfn_to_hva(s, c->gpa >> PAGE_SHIFT);
		err = 0;
	}
	sync_rcu_read_unlock();
	return err;
}

static struct mmu_span refresh_span(const struct mmu_cache *c, const struct refresh *r)
{
	gfn_t gfn = c->gpa >> PAGE_SHIFT;

	return (struct mmu_span){r->hva, r->hva + PAGE_SIZE, gfn, gfn + 1};
}

/* The frame is in: -EAGAIN when slots, attributes or mappings changed meanwhile. */
static int refresh_publish(struct mmu *mmu, struct mmu_cache *c, struct refresh *r)
{
	struct mmu_span span = refresh_span(c, r);
	gfn_t gfn = c->gpa >> PAGE_SHIFT;
	struct memslot *s;
	int err = -EAGAIN;

	mmu_lock_write(mmu);
	s = memslot_find(mmu, gfn);
	if (s && s->serial == r->serial && attr_uniform(mmu, gfn, gfn + 1, false) &&
	    !mmu_invalidating(mmu, &span) && !mmu_invalidated_since(mmu, r->seq, &span)) {
		c->host = (u8 *)r->frame.host + (c->gpa & ~PAGE_MASK);
		c->pfn = r->frame.pfn;
		c->page_backed = r->frame.page;
		c->dirties = r->frame.dirties;
		c->object = r->frame.object;
		c->index = r->frame.index;
		c->by_hva.start = r->hva;
		c->by_hva.last = r->hva + PAGE_SIZE - 1;
		interval_insert(&mmu->cache_tree, &c->by_hva);
		sync_store_release(&c->stale, 0);
		err = 0;
	}
	mmu_unlock_write(mmu);
	return err;
}

static int refresh(struct mmu_cache *c)
{
	const struct mmu_vcpu_ops *ops = c->vcpu->ops;
	struct mmu *mmu = c->vcpu->mmu;
	struct mmu_span span;
	struct refresh r;
	int err;

	if (ops->interrupted(c->vcpu->owner))
		return -EINTR;
	r.seq = sync_load_acquire(&mmu->invalidate_seq);
	err = refresh_find(mmu, c, &r);
	if (err)
		return err;
	span = refresh_span(c, &r);
	if (mmu_invalidate_wait(mmu, &span))
		return -EAGAIN;
	err = mmu->ops->fault_in(mmu->primary, r.hva, true, ops->interrupted,
				 c->vcpu->owner, &r.frame);
	err = mmu_fault_result(mmu, err, r.seq, &span);
	if (err)
		return err;
	err = refresh_publish(mmu, c, &r);
	mmu->ops->release(mmu->primary, &r.frame, !err, false);
	return err;
}

/* ------------------------------------------------------------------ uses */

/* Count in; false, and not counted, when stale. */
static bool use_begin(struct mmu_cache *c)
{
	sync_add(&c->uses, 1);
	if (!sync_load(&c->stale))
		return true;
	sync_add(&c->uses, 1);
	mmu_vcpu_wake_waiters(c->vcpu);
	return false;
}

/*
 * Code was written, and every vCPU is told: outside guest mode, since a flush that waits for this
 * vCPU holds their list, and somebody who makes another may be waiting for that.
 */
static void tell_code(struct mmu_vcpu *v, const struct page_name *n)
{
	bool leave = v->mode == MMU_IN_GUEST;

	if (leave)
		mmu_vcpu_leave(v);
	code_written(n);
	if (leave)
		mmu_vcpu_enter(v);
}

/*
 * Count out what was done. The log is marked after the write: a harvest that takes the bit
 * before it is set finds it set the next time, and one that takes it after finds the bytes.
 */
static void use_end(struct mmu_cache *c)
{
	struct mmu *mmu = c->vcpu->mmu;
	struct page_name n = {c->object, c->object ? c->index : c->pfn};
	bool wrote = c->wrote;

	c->wrote = false;
	/* As a zap does: begin has not returned, so the page is still the one that was used. */
	mmu->ops->zapped(mmu->primary, c->pfn, c->page_backed, true, wrote && c->dirties);
	if (wrote)
		mmu_log_write(mmu, c->vcpu, c->gpa >> PAGE_SHIFT);
	sync_add(&c->uses, 1);
	mmu_vcpu_wake_waiters(c->vcpu);
	if (wrote && code_marked(&n))
		tell_code(c->vcpu, &n);
}

/* One use of what is at hand. -EAGAIN: look again. */
static int use_once(struct mmu_cache *c, int (*fn)(struct mmu_cache *c, void *arg), void *arg,
		    bool *refused)
{
	const struct mmu_vcpu *v = c->vcpu;
	int r = fn(c, arg);

	use_end(c);
	if (r == -EAGAIN && v->ops->interrupted(v->owner))
		return -EINTR;
	if (r != -EFAULT || *refused)
		return r;
	/* The mapping changed without our being told: fault it in once more. */
	*refused = true;
	forget(c);
	return -EAGAIN;
}

int mmu_cache_use(struct mmu_cache *c, enum mmu_cache_how how,
		  int (*fn)(struct mmu_cache *c, void *arg), void *arg)
{
	bool refused = false;
	int r;

	mutex_lock(&c->lock);
	do {
		r = -EAGAIN;
		if (!c->set)
			r = -EFAULT;
		else if (!ring_has_room(c->vcpu))
			r = -EINTR; /* the VMM has to empty it first */
		else if (use_begin(c))
			r = use_once(c, fn, arg, &refused);
		else if (how == MMU_CACHE_WAIT && !(r = refresh(c)))
			r = -EAGAIN; /* now the use */
	} while (r == -EAGAIN && how == MMU_CACHE_WAIT);
	mutex_unlock(&c->lock);
	return r;
}

static int use_access(struct mmu_cache *c, u32 off, void *buf, u32 n, bool write)
{
	struct mmu *mmu = c->vcpu->mmu;
	hva_t hva = c->by_hva.start + (c->gpa & ~PAGE_MASK) + off;

	assert(off + n <= c->len && (sync_load(&c->uses) & 1));
	/* What was written before a fault in the middle was written. */
	c->wrote |= write;
	return mmu->ops->access(mmu->primary, hva, (u8 *)c->host + off, buf, n, write);
}

int mmu_cache_read(struct mmu_cache *c, u32 off, void *buf, u32 n)
{
	return use_access(c, off, buf, n, false);
}

int mmu_cache_write(struct mmu_cache *c, u32 off, const void *buf, u32 n)
{
	return use_access(c, off, (void *)buf, n, true);
}

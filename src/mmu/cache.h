/* SPDX-License-Identifier: MIT */
/*
 * mmu/cache.h: host-side use of a guest page that outlives a fault: a paravirtual clock, steal
 * time, anything the host writes again and again between a vCPU's runs. The one type for it.
 *
 * A cache remembers where a guest-physical range is reached, and holds nothing: no reference, no
 * pin. So a halted vCPU's caches keep no truncation waiting. What keeps it honest is the same
 * invalidation that keeps SPTEs honest:
 *
 * - A use counts itself in c->uses (a full fence), looks at c->stale, accesses, marks the page and
 *   the dirty log, counts itself out. An invalidation marks stale under mmu_lock every cache
 *   that overlaps its range, fences, and then waits for uses counted in before. Of the two one
 *   sees the other: either the use finds the cache stale and touches nothing, or begin waits
 *   until what it wrote stands in the page and the page is marked. The primary MMU takes the page
 *   away, or writes it back, only after that: no write can be lost in between.
 * - A use that finds the cache stale makes it anew first, as a fault does: translate by the
 *   memslots, read the sequence of invalidations, fault in through the primary MMU, publish under
 *   mmu_lock unless something changed, give the frame's reference back.
 * - A memslot that goes or moves makes caches stale as an invalidation does.
 *
 * Why it cannot deadlock. Locks, outer first: c->lock, mmu_lock. begin takes mmu_lock, and never
 * c->lock: it waits for the counted part of a use only, which takes no lock but leaves of the
 * primary MMU's (those of zapped()) and blocks on nothing but the host's own fault on the access.
 * Such a fault may want whoever called begin (a userfaultfd's monitor): so begin kicks the vCPU,
 * the access is broken off, the use counts itself out, finds the cache stale and starts over. What
 * may wait for the host for long, fault_in(), is outside the counted part.
 *
 * The vCPU's own thread uses its caches, with no lock held: outside guest mode or, with
 * MMU_CACHE_NOWAIT, in it; then it may have been left and entered again, and translations are stale.
 */
#ifndef MMU_CACHE_H
#define MMU_CACHE_H

#include "base/interval.h"
#include "mmu/mmu.h"
#include "sync/lock.h"

struct mmu_cache {
	struct mutex lock; /* a use, or a change of what follows up to `ready` */
	struct mmu_vcpu *vcpu;
	u32 stale_request; /* owner request bits to post when it becomes stale; or 0 */
	gpa_t gpa;
	u32 len;
	bool set; /* gpa and len mean something */

	/* Written under mmu_lock held for write while no use is counted in. */
	struct interval by_hva; /* the page, in mmu->cache_tree unless stale */
	void *host;		/* where gpa is reached */
	u64 pfn;
	bool page_backed, dirties;
	u64 object, index; /* as struct frame's */

	u32 stale; /* atomic */
	u32 uses;  /* atomic; odd: a use is counted in */
	bool wrote; /* in a use */
	struct mmu_cache *next; /* in mmu->caches; caches_lock */
};

void mmu_cache_init(struct mmu_cache *c, struct mmu_vcpu *v, u32 stale_request);
void mmu_cache_fini(struct mmu_cache *c);

/* Cache [gpa, gpa + len). -EINVAL unless it lies in one page. Nothing is looked up yet. */
int mmu_cache_set(struct mmu_cache *c, gpa_t gpa, u32 len);
void mmu_cache_unset(struct mmu_cache *c);

enum mmu_cache_how {
	MMU_CACHE_WAIT,	  /* fault in what is not there */
	MMU_CACHE_NOWAIT, /* only if it is at hand: -EAGAIN otherwise */
};

/*
 * A use: fn(c, arg) runs with the range reachable by the two calls below, and hands on what they
 * return. It is called again from its start when something was taken away meanwhile, so what it
 * has written before must be such that it can. 0; -EFAULT: no memslot, a read-only one or nothing
 * mapped; -EHWPOISON; -EINTR: interrupted(), or the vCPU's dirty ring has no room; -EAGAIN: see
 * above; or what fn returns.
 */
int mmu_cache_use(struct mmu_cache *c, enum mmu_cache_how how,
		  int (*fn)(struct mmu_cache *c, void *arg), void *arg);

/* In fn: n bytes at an offset. An aligned power of two up to 8 is one access. 0 or for fn's return. */
int mmu_cache_read(struct mmu_cache *c, u32 off, void *buf, u32 n);
int mmu_cache_write(struct mmu_cache *c, u32 off, const void *buf, u32 n);

/* ------------------------------------------------------------------ for mmu/ itself */

/*
 * mmu_lock held for write: make host-side caches of [start, end) stale. What it returns is for
 * mmu_caches_wait(), which returns when no use of them is under way; with no lock of mmu/'s held
 * but slots_lock.
 */
u64 mmu_caches_stale(struct mmu *mmu, hva_t start, hva_t end);
void mmu_caches_wait(struct mmu *mmu, u64 seq);

#endif

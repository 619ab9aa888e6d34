/* SPDX-License-Identifier: MIT */
/*
 * mmu/vm.h: a VM's memory, which the files of this room share, and its locks. Nobody else includes it.
 *
 * Locks, outer first: stop_lock; slots_lock; a store's lock, and its bind_lock; a host-side cache's
 * lock; a marked page's (code.c); flush_lock; vcpus_lock or caches_lock; wait_lock; mmu_lock; names_lock;
 * the primary MMU's. code.c's book.lock is a leaf.
 *
 * A vCPU is waited for under any of the first ones up to vcpus_lock or caches_lock, never under
 * mmu_lock. So in guest mode a vCPU takes none of those but stop_lock, which is tried, and the lock
 * of a cache, which is its thread's own; who waits for another of them is outside. The owner of
 * stop_lock does what a vCPU does in guest mode; nobody waits for that lock, but at the gate for the
 * stop's end (vcpu.c), holding nothing.
 */
#ifndef MMU_VM_H
#define MMU_VM_H

#include "base/interval.h"
#include "base/statpage.h"
#include "mmu/invalidate.h"
#include "sync/lock.h"

struct mmu {
	u64 refs; /* atomic; low half: the VM's, its vCPUs', its files'; high half: one per token */
	const struct primary_ops *ops;
	void *primary;

	struct mutex slots_lock;
	struct memslots *slots;	 /* published under mmu_lock held for write */
	struct memslot *leaving; /* what an update has replaced or taken out, until no user is left */
	struct memslot **by_id;	 /* MMU_USER_SLOTS pointers; slots_lock */
	u64 serial;		 /* last given; slots_lock */
	u64 manual_protect;	 /* slots_lock */
	u32 logging;		 /* atomic: memslots with a log, those that leave among them; slots_lock */
	u32 ring_entries;	 /* of each vCPU's dirty ring, 0: none; slots_lock; never changes back */

	struct rwlock lock;	 /* mmu_lock */
	bool exclusive;		 /* mmu_lock is held for write */
	struct interval_tree hva_tree; /* slots by hva; mmu_lock */
	/* Private gfns: pieces that neither overlap nor touch; slots_lock and mmu_lock. */
	struct interval_tree private_gfns;
	u64 nr_private; /* pieces; atomic for a look without the lock */
	struct table *root;
	struct table *shown; /* what vCPUs walk: root, or nothing while it is hidden; atomic */
	u32 hides;	     /* invalidations that hide it; mmu_lock held for write */

	/* Written under mmu_lock held for write, read under it either way. */
	struct mmu_token *tokens;   /* invalidations in progress, linked */
	u64 nr_tokens;		    /* atomic for a look without the lock */
	u64 invalidate_seq;	    /* completed invalidations; atomic */
	struct mmu_span recent[MMU_RECENT];	    /* of those, the last ones */
	u64 zap_seq;		    /* atomic: zaps so far */
	u64 flushed_seq;	    /* atomic: the last of them known flushed */

	struct mutex flush_lock;    /* one flush at a time; outside vcpus_lock */
	struct mutex stop_lock;	    /* held by the vCPU that has stopped the others; see vcpu.c */
	struct mmu_vcpu *stopper;   /* which one that is; written under stop_lock, read atomically */
	u32 nr_leaving;		    /* atomic: vCPUs that a stop keeps from leaving for a signal */
	struct rwlock vcpus_lock;
	struct mmu_vcpu *vcpus;
	struct mutex wait_lock;
	struct waitq waitq;	    /* ends of invalidations, of stops and of users */
	u32 nr_waiters;		    /* atomic: threads that sleep on waitq or are about to */
	struct waitq vcpu_waitq;    /* what one vCPU does: answers, leaves, ends the use of a cache */

	/*
	 * Host-side uses of guest memory in progress, counted by the parity of users_turn when they
	 * began: a memslot update turns it and waits for those before.
	 */
	u64 users_turn, users[2]; /* atomic */

	struct rwlock caches_lock;
	struct mmu_cache *caches;	/* all there are; caches_lock */
	struct interval_tree cache_tree; /* those not stale; mmu_lock held for write */
	u64 cache_seq;			/* times one was made stale; the same, and atomic */
	u64 cache_seq_done;		/* atomic: of them, uses from before have ended */

	/* Names of pages by gfn (names.c); written under names_lock held for write. */
	struct rwlock names_lock;
	struct interval_tree names;
	u64 nr_names;	/* atomic for a look without the lock */
	u64 names_gen;	/* atomic: counts changes, from 1 */
	u64 objects;	/* bits of the objects that a leaf was ever installed of */

	u32 has_code;	/* atomic: a vCPU has had code from guest memory */
	u32 code_bit;	/* of this VM in marked pages (code.c) */
	struct mmu *next_vm; /* in the process; code.c's book.lock */

	struct mmu_token *tokens_free; /* wait_lock; so that a begin need not allocate */
	struct statpage_vm stat;       /* a page of its own; mmu/'s part is atomic */
};

/* A reference, unless the last is gone. */
bool mmu_get_unless_gone(struct mmu *mmu);
/* A token's: it keeps the memory, not the VM. */
void mmu_token_get(struct mmu *mmu);
void mmu_token_put(struct mmu *mmu);

static inline void mmu_lock_write(struct mmu *mmu)
{
	rwlock_write_lock(&mmu->lock);
	mmu->exclusive = true;
}

static inline void mmu_unlock_write(struct mmu *mmu)
{
	mmu->exclusive = false;
	rwlock_write_unlock(&mmu->lock);
}

static inline void mmu_lock_read(struct mmu *mmu)
{
	rwlock_read_lock(&mmu->lock);
}

static inline void mmu_unlock_read(struct mmu *mmu)
{
	rwlock_read_unlock(&mmu->lock);
}

/*
 * A host-side use of guest memory outside a vCPU's guest mode: the slot found within stays until
 * the end. May block on the host in between; a memslot update waits for it. The begin's value is
 * the end's argument.
 */
unsigned mmu_user_begin(struct mmu *mmu);
void mmu_user_end(struct mmu *mmu, unsigned turn);
/* After a new slot array was published: wait for the users who may have seen the old one. */
void mmu_users_wait(struct mmu *mmu);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * mmu/internal.h: what the files of this room share. Nobody else includes it.
 *
 * Locks, outer first: stop_lock; slots_lock; a store's lock, and its bind_lock; a host-side cache's
 * lock; code_lock; flush_lock; vcpus_lock or caches_lock; wait_lock; mmu_lock; the primary MMU's.
 *
 * A vCPU is waited for under any of the first ones up to vcpus_lock or caches_lock, never under
 * mmu_lock. So in guest mode a vCPU takes none of those but stop_lock, which is tried, and the lock
 * of a cache, which is its thread's own; who waits for another of them is outside. The owner of
 * stop_lock does what a vCPU does in guest mode; nobody waits for that lock, but at the gate for the
 * stop's end (vcpu.c), holding nothing.
 */
#ifndef MMU_INTERNAL_H
#define MMU_INTERNAL_H

#include <assert.h>
#include "base/interval.h"
#include "mmu/mmu.h"
#include "mmu/spte.h"
#include "sync/atomic.h"
#include "sync/defect.h"
#include "sync/lock.h"
#include "sync/rcu.h"

/* ------------------------------------------------------------------ memslots.c */

/* Dirty bitmap of a slot; handed on when the slot's other flags change. */
struct slot_log {
	u64 nwords;
	u64 word[]; /* atomic; bit n of word w: page w * 64 + n */
};

/* Which 64-byte lines of which pages are cached as code (code.c). */
#define CODE_CHUNK_PAGES 128
struct code_page {
	u64 marked; /* atomic: stores to these lines are intercepted */
	u64 ready;  /* atomic, subset of marked: no vCPU still has a write entry from before */
};
struct slot_code {
	u32 any;  /* atomic: a mark was ever set */
	u64 nchunks;
	struct code_page *chunk[]; /* atomic; allocated at the first mark, freed with the slot */
};

/* A memslot's place in a gmem_file, of which it is part (gmem.c). */
struct gmem_binding {
	struct interval by_page; /* in the file; the store lock, held for read: and bind_lock */
	struct gmem_file *file;	 /* changes as that does; atomic for a look in an RCU read side */
};

/* Immutable once published, but for what its pointers lead to and `bound`. Freed after a grace
 * period. */
struct memslot {
	u32 id;
	u32 flags;
	gfn_t base_gfn;
	u64 npages; /* 4 KiB pages */
	hva_t hva;
	u64 serial; /* unlike that of any other slot this VM ever had */
	struct slot_log *log; /* NULL without logging */
	struct slot_code *code;
	struct gmem_binding bound; /* with MMU_SLOT_GMEM */
	u64 gmem_page; /* of the file, where the slot begins */
	bool gmem_only; /* the file serves shared faults too */
	struct interval by_hva; /* in mmu->hva_tree; mmu_lock */
	sync_rcu_head rcu;
	bool free_log, free_code; /* nobody took them over */
};

struct memslots; /* sorted by gfn; published by RCU (slot_array.c) */

static inline bool memslot_has(const struct memslot *s, gfn_t gfn)
{
	return gfn - s->base_gfn < s->npages;
}

/* The gfns of s, and the one after them, that host addresses [start, end) show. */
static inline gfn_t memslot_gfn_from(const struct memslot *s, hva_t start)
{
	return s->base_gfn + ((MAX(start, s->hva) - s->hva) >> PAGE_SHIFT);
}

static inline gfn_t memslot_gfn_to(const struct memslot *s, hva_t end)
{
	return s->base_gfn + MIN((end - s->hva + PAGE_SIZE - 1) >> PAGE_SHIFT, s->npages);
}

static inline hva_t memslot_gfn_to_hva(const struct memslot *s, gfn_t gfn)
{
	return s->hva + ((gfn - s->base_gfn) << PAGE_SHIFT);
}

/* By id; slots_lock held. */
struct memslot *memslot_by_id(struct mmu *mmu, u32 id);
int memslots_init(struct mmu *mmu);
void memslots_fini(struct mmu *mmu);

/*
 * v dirties a page: set its bit in the dirty log, if its slot has one, or list it in v's ring. Under
 * mmu_lock, after the store to the SPTE that lets writes through. v's thread.
 */
void memslot_mark_dirty(struct mmu_vcpu *v, struct memslot *s, gfn_t gfn);
/*
 * The same without mmu_lock, in an RCU read side. Between that store and this call the slot may have
 * become another: one that starts to log was published before dirty was cleared, so it is found,
 * whatever was found before; one that went, and may have taken its log along to another gfn, is
 * found until nobody writes through it. `written`: the write is done, so that one entry in the ring is
 * enough; v is NULL where no vCPU did it.
 */
void memslots_mark_dirty(struct mmu *mmu, struct mmu_vcpu *v, gfn_t gfn, bool written);

/* ------------------------------------------------------------------ slot_array.c */

/* Lookup by gfn, O(log n). In an RCU read side, or with slots_lock or mmu_lock held. */
struct memslot *memslot_find(struct mmu *mmu, gfn_t gfn);
/* Call fn for every slot that overlaps [start, end), by ascending gfn. As memslot_find(). */
void memslots_each(struct mmu *mmu, gfn_t start, gfn_t end,
		   void (*fn)(struct memslot *s, void *arg), void *arg);

/* What an update replaces, to be freed once nobody can see it. */
struct slot_array_retired {
	struct slot_chunk *chunks;
	struct memslots *array[2];
	u32 narrays;
};

/* An empty one, or NULL; and its end, with nobody else left. */
struct memslots *slot_array_create(void);
void slot_array_destroy(struct memslots *m);
/*
 * m without `old` and with `new_` (either may be NULL), to be published in its place; or NULL.
 * slots_lock held. When it is published, what went is freed after a grace period.
 */
struct memslots *slot_array_update(struct memslots *m, struct memslot *old, struct memslot *new_,
				   struct slot_array_retired *r);
void slot_array_free_retired(struct slot_array_retired *r);

/* ------------------------------------------------------------------ tree.c */

#define TREE_ROOT_LEVEL 5
#define TREE_ENTRIES	512
/* 52 bits of guest-physical address, the architecture's limit (SDM vol. 3, 4.1.4). */
#define TREE_MAX_GFN (1ULL << 40)

struct table {
	u64 spte[TREE_ENTRIES];
	sync_rcu_head rcu;
	struct table *next; /* in a tree_free list or a cache */
} __attribute__((aligned(64)));

/* Tables taken out of the tree: filled under mmu_lock, given back after it is dropped. */
struct tree_free {
	struct table *head;
};

int tree_init(struct mmu *mmu);
void tree_fini(struct mmu *mmu);
int tree_cache_fill(struct mmu *mmu, struct tree_cache *c, u32 n);
void tree_cache_drop(struct mmu *mmu, struct tree_cache *c);
void tree_free_flush(struct mmu *mmu, struct tree_free *f);

/*
 * A walk of the entries that cover [start, end), each before those below it. The caller holds
 * mmu_lock. `old` is the entry as it was read; after a change the caller stores the new value
 * there, so that the walk goes on from what the tree holds.
 */
struct tree_iter {
	gfn_t gfn, end; /* of this entry; of the walk */
	int level;
	struct table *table[TREE_ROOT_LEVEL + 1];
	u64 *sptep; /* NULL: the walk is over */
	u64 old;
};
void tree_iter_start(struct tree_iter *it, struct mmu *mmu, gfn_t start, gfn_t end);
void tree_iter_next(struct tree_iter *it);
#define tree_for_each(it, mmu, start, end)                                                         \
	for (tree_iter_start((it), (mmu), (start), (end)); (it)->sptep; tree_iter_next(it))

/* The leaf that maps gfn, without a lock, in an RCU read side; 0 when there is none. */
u64 tree_lookup(struct mmu *mmu, gfn_t gfn, u64 **sptep);

/*
 * The two places where an SPTE changes. Atomic: under mmu_lock held for read, or in an RCU read
 * side when only accessed and dirty are set; false when the entry no longer is *old, which then
 * holds what was found. Exclusive: under mmu_lock held for write; returns what was there.
 */
bool tree_set_atomic(struct mmu *mmu, u64 *sptep, int level, u64 *old, u64 new_);
u64 tree_set(struct mmu *mmu, u64 *sptep, int level, u64 new_);

/*
 * Remove every leaf that overlaps [start, end); tables wholly inside go too. mmu_lock held for
 * write. True when something was removed: a flush is due.
 */
bool tree_zap(struct mmu *mmu, gfn_t start, gfn_t end, struct tree_free *f);

/*
 * Put a leaf of `level` at gfn, or add its permissions to the one that stands there. mmu_lock held
 * for read; the cache holds TREE_ROOT_LEVEL - level tables. 0; -EEXIST: a table stands there, try
 * a lower level; -EBUSY: a leaf of another frame or level stands there and must be zapped first.
 */
int tree_install(struct mmu *mmu, gfn_t gfn, int level, u64 leaf, struct tree_cache *c);

/*
 * Logging starts in [start, end): large leaves go, and dirty is cleared in the others unless
 * `keep_dirty` (every page is in the log already). As tree_zap().
 */
bool tree_start_logging(struct mmu *mmu, gfn_t start, gfn_t end, bool keep_dirty);

/* ------------------------------------------------------------------ vcpu.c */

/*
 * Post `req` to every vCPU but `self` (or NULL) and return when each has answered or was outside.
 * The calling thread's own vCPU, if any, is outside guest mode.
 */
void mmu_flush_vcpus(struct mmu *mmu, struct mmu_vcpu *self, u32 req);

/*
 * Wait until done(v, arg), which v's thread makes so and then wakes for; kicks v meanwhile. `self`,
 * if not NULL, is the calling thread's vCPU: a reason for it to leave (interrupted()) ends the wait,
 * and the answer is false when nothing was done by then.
 */
bool mmu_wait_for_vcpu(struct mmu_vcpu *v, bool (*done)(struct mmu_vcpu *v, const void *arg),
		       const void *arg, const struct mmu_vcpu *self);

/* Under mmu_lock held for write, after a zap or a clearing of dirty: what must be flushed. */
u64 mmu_zap_mark(struct mmu *mmu, bool zapped);
/*
 * Flush unless someone did since that mark. Code needs no more: a vCPU runs none that it has not
 * compared, through an SPTE, since its last flush.
 */
void mmu_flush_zapped(struct mmu *mmu, u64 mark);

void tlb_drop_writes(struct mmu_vcpu *v);
void tlb_drop_writes_to(struct mmu_vcpu *v, gpa_t page);

/* ------------------------------------------------------------------ fault.c, invalidate.c */

/* Bring gfn into stage 2. Outside guest mode, no lock held. 0 or as mmu_translate(). */
int mmu_fault(struct mmu_vcpu *v, gfn_t gfn, unsigned access, int *level);

int tokens_init(struct mmu *mmu);
void tokens_fini(struct mmu *mmu);

/* Completed invalidations whose ranges are remembered, so that others make no fault retry. */
#define MMU_RECENT 256

/*
 * A token's range is one of host addresses (the primary MMU's changes) or one of gfns (conversions,
 * punches); the two kinds never meet. A fault is checked against both.
 */
struct mmu_span {
	hva_t hva, hva_end; /* 0, 0: reached by no host address */
	gfn_t gfn, gfn_end;
};

struct mmu_token *mmu_invalidate_begin(struct mmu *mmu, hva_t start, hva_t end);
struct mmu_token *mmu_invalidate_gfns_begin(struct mmu *mmu, gfn_t start, gfn_t end);
void mmu_invalidate_end(struct mmu_token *t);
/* What a begin by gfn does, for a caller who keeps faults of the range away by other means. */
void mmu_zap_gfns(struct mmu *mmu, gfn_t start, gfn_t end);
/* A list of tokens that one thread has begun: *list is NULL at first. */
void mmu_tokens_push(struct mmu_token **list, struct mmu_token *t);
struct mmu_token *mmu_tokens_pop(struct mmu_token **list);
struct mmu *mmu_token_mmu(const struct mmu_token *t);
/* Nobody but tokens refers to mmu any more: which of those in progress can have no end to come? */
void mmu_tokens_torn_down(struct mmu *mmu);
/* As primary_notifier.content. */
void mmu_content_changed(struct mmu *mmu, hva_t start, hva_t end);
/* mmu_lock held (either way): is an invalidation that touches the span in progress? */
bool mmu_invalidating(struct mmu *mmu, const struct mmu_span *s);
/* The same: may one have ended since `seq` was read of invalidate_seq? */
bool mmu_invalidated_since(struct mmu *mmu, u64 seq, const struct mmu_span *s);
/*
 * What to make of the primary MMU's answer to a fault whose seq was read before. One call of the VMM
 * may replace a mapping by another. That there is none in between is not for a guest to find; on
 * Linux, what the kernel says of its mappings does show it: -EAGAIN then.
 */
int mmu_fault_result(struct mmu *mmu, int r, u64 seq, const struct mmu_span *s);
/* Is one in progress? Then sleep until one ends, or a short while. */
bool mmu_invalidate_wait(struct mmu *mmu, const struct mmu_span *s);

/* ------------------------------------------------------------------ attributes.c */

/* mmu_lock held (either way), or slots_lock: is every gfn of [start, end) private, or not one? */
bool attr_uniform(struct mmu *mmu, gfn_t start, gfn_t end, bool private_);
void attr_fini(struct mmu *mmu);

/* ------------------------------------------------------------------ gmem.c */

/* The range of the file that s asks for becomes its. slots_lock held. 0 or -EINVAL. */
int gmem_bind(struct gmem_file *file, struct memslot *s);
/* If it still is. slots_lock held. */
void gmem_unbind(struct memslot *s);
/* The file s is bound to, with a reference, or NULL. In an RCU read side. */
struct gmem_file *gmem_of_slot(struct memslot *s);
void gmem_put(struct gmem_file *file);
/*
 * Fault page `index` of the store in. 0 or as primary_store_ops.fault(), -EFAULT when the file was
 * released; the store lock is held for read until gmem_fault_end(), which comes in either case.
 */
int gmem_fault_begin(struct gmem_file *file, u64 index, bool (*interrupted)(void *arg), void *arg,
		     struct frame *out);
void gmem_fault_end(struct gmem_file *file);

/* ------------------------------------------------------------------ cache.c */

/*
 * mmu_lock held for write: make host-side caches of [start, end) stale. What it returns is for
 * mmu_caches_wait(), which returns when no use of them is under way; with no lock of mmu/'s held
 * but slots_lock.
 */
u64 mmu_caches_stale(struct mmu *mmu, hva_t start, hva_t end);
void mmu_caches_wait(struct mmu *mmu, u64 seq);

/* ------------------------------------------------------------------ age.c */

/*
 * Was any page of [start, end) accessed since the last age? age: begin anew, and hand what there
 * was to the primary MMU; returns when every access to come will be seen. test: only look.
 * As primary_notifier.age and .young.
 */
bool mmu_age(struct mmu *mmu, hva_t start, hva_t end);
bool mmu_test_young(struct mmu *mmu, hva_t start, hva_t end);

/* ------------------------------------------------------------------ code.c, dirty.c */

/* Is any line of gfn marked as code? RCU read side or mmu_lock. */
bool code_marked(struct memslot *s, gfn_t gfn);
struct slot_code *slot_code_alloc(u64 npages);
void slot_code_free(struct slot_code *c);
struct slot_log *slot_log_alloc(u64 npages, bool set);
/* Clear dirty in the SPTEs of the pages gfn + n whose bits n are set: true when one had it. mmu_lock
 * held for write. */
bool dirty_protect_word(struct mmu *mmu, gfn_t gfn, u64 bits);

/* ring.c: list a page; the same after a host-side write, unless it is listed. v's thread. */
void ring_add(struct mmu_vcpu *v, u32 slot, u64 offset);
/* Is there room for what a host-side write lists, beyond what a full ring keeps free? */
bool ring_has_room(const struct mmu_vcpu *v);
void ring_add_written(struct mmu_vcpu *v, u32 slot, u64 offset);

/* ------------------------------------------------------------------ the VM's memory */

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
	u32 ring_entries;	 /* of each vCPU's dirty ring, 0: none; slots_lock; never changes back */

	struct rwlock lock;	 /* mmu_lock */
	bool exclusive;		 /* mmu_lock is held for write */
	struct interval_tree hva_tree; /* slots by hva; mmu_lock */
	/* Private gfns: pieces that neither overlap nor touch; slots_lock and mmu_lock. */
	struct interval_tree private_gfns;
	u64 nr_private; /* pieces; atomic for a look without the lock */
	struct table *root;

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
	struct rwlock vcpus_lock;
	struct mmu_vcpu *vcpus;
	struct mutex wait_lock;
	struct waitq waitq;	    /* answers, ends of invalidations, stops and host-side uses */
	u32 nr_waiters;		    /* atomic: threads that sleep on waitq or are about to */

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

	struct mutex code_lock;
	struct mmu_token *tokens_free; /* wait_lock; so that a begin need not allocate */
	struct statpage_vm stat;       /* a page of its own; mmu/'s part is atomic */
};

/*
 * A host-side write to gfn was done, by the thread of `v` or (NULL, and then in no ring) of no vCPU:
 * log it. True: vCPUs run code from there and are to be told.
 */
bool mmu_log_write(struct mmu *mmu, struct mmu_vcpu *v, gfn_t gfn);

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

/* Was any gfn ever made private and is it still? Without a lock. */
static inline bool attr_any(const struct mmu *mmu)
{
	return sync_load(&mmu->nr_private);
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

/* Wake whoever waits for an answer or an end. The change is stored, a full fence stands between. */
void mmu_wake_waiters(struct mmu *mmu);

#endif

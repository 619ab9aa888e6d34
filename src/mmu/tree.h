/* SPDX-License-Identifier: MIT */
/*
 * mmu/tree.h: stage 2, a radix tree of SPTEs: its walk, and the two places where an SPTE changes.
 */
#ifndef MMU_TREE_H
#define MMU_TREE_H

#include "mmu/mmu.h"
#include "mmu/spte.h"
#include "sync/rcu.h"

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

/* The leaf that maps gfn, without a lock, in an RCU read side; 0 when there is none, or it is hidden. */
u64 tree_lookup(struct mmu *mmu, gfn_t gfn, u64 **sptep);

/*
 * tree_lookup() finds nothing from here on, whatever there is; when a flush that is begun after it is over, no
 * vCPU uses anything. Until as many calls of tree_show(). mmu_lock held for write.
 */
void tree_hide(struct mmu *mmu);
void tree_show(struct mmu *mmu);

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
 * Put leaves of 4 KiB where nothing stands, at n gfns from `first` on (a multiple of n) of which one has a leaf
 * already: the first is `leaf`, and each of the others is a page further on. mmu_lock held for read.
 */
void tree_install_beside(struct mmu *mmu, gfn_t first, u64 n, u64 leaf);

/*
 * Logging starts in [start, end): large leaves go, and dirty is cleared in the others unless
 * `keep_dirty` (every page is in the log already). As tree_zap().
 */
bool tree_start_logging(struct mmu *mmu, gfn_t start, gfn_t end, bool keep_dirty);

#endif

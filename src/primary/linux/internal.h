/* SPDX-License-Identifier: MIT */
/*
 * primary/linux/internal.h: what the files of this room share.
 *
 * Locks, outer first: store.c's; registry_lock; a VM's windows_lock or regions_lock; those of
 * base/space.h. None is held over a guarded touch or a call of the notifier (but get(), which blocks on
 * nothing).
 *
 * Whatever a hook can reach allocates from the pool and makes raw system calls: the hook may be
 * running inside the VMM's own allocator.
 */
#ifndef PRIMARY_LINUX_INTERNAL_H
#define PRIMARY_LINUX_INTERNAL_H

#include <assert.h>
#include <sys/types.h>
#include "base/interval.h"
#include "base/pool.h"
#include "base/space.h"
#include "primary/linux/linux.h"
#include "sync/atomic.h"
#include "sync/lock.h"

/* ------------------------------------------------------------------ regions.c */

/* A mapping of this process, or a piece of one: one object, one permission. */
struct region {
	hva_t start, end;
	bool readable, writable, shared;
	bool special; /* a device's or the kernel's: may have side effects, cannot be duplicated */
	bool uffd;    /* registered with a userfaultfd */
	bool guarded; /* has guard pages, perhaps */
	bool fixed;   /* the kernel would not duplicate it, or not without its being seen */
	bool secret;  /* memfd_secret(): no page of it is the host's to hand out */
	bool fresh;    /* the kernel said so to this fault, and not to one before */
	bool doubtful; /* asked about while mappings changed: for changes of its file alone */
	u64 off;      /* of start in the file */
	u64 ino;      /* 0: no file */
	dev_t dev;    /* as the mapping has it, which is not always what stat() says */
};

/*
 * What is mapped at hva, from the cache or the kernel. 0, -EFAULT (nothing) or -errno. *epoch is
 * regions_epoch() from before.
 */
int regions_find(hva_t hva, struct region *out, u64 *epoch);
/* The same, from the kernel whatever the cache says: it may be wrong of changes nobody told of, and
 * another thread may be about to put into it what it asked before one. */
int regions_ask(hva_t hva, struct region *out, u64 *epoch);
/* Mappings in [start, end) may no longer be what the cache says. */
void regions_forget(hva_t start, hva_t end);
/* The mapping around hva cannot be duplicated: do not try again. */
void regions_set_fixed(hva_t hva);
/*
 * Marks of ranges in whose mappings no window is made: registered with a userfaultfd; guard pages
 * (MADV_GUARD_INSTALL) are in the VMM's page tables alone. Set, or taken off.
 */
enum region_mark { REGION_UFFD, REGION_GUARD, REGION_MARKS };
void regions_mark(enum region_mark mark, hva_t start, hva_t end, bool on);
bool regions_marked(enum region_mark mark, hva_t start, hva_t end);
/* Call fn for each part of [start, end) that is marked. */
void regions_each_marked(enum region_mark mark, hva_t start, hva_t end,
			 void (*fn)(hva_t start, hva_t end, void *arg), void *arg);
/* Was anything under a userfaultfd? Then a change of contents is one the guest must fault on anew. */
bool regions_uffd_seen(void);
/* In a forked child: start anew. */
void regions_reset(void);
/* Call fn for each known piece of the file `ino` that overlaps [start, end). */
void regions_each_of_file(u64 ino, hva_t start, hva_t end,
			  void (*fn)(const struct region *r, void *arg), void *arg);

/*
 * A change of the VMM's mappings starts, ends. What was read of them before is stale when
 * regions_unchanged(epoch) says false, also while a change is in progress.
 */
void regions_change_begin(void);
void regions_change_end(void);
u64 regions_epoch(void);
bool regions_unchanged(u64 epoch);

/* ------------------------------------------------------------------ registry.c */

/* A VM's view of the process. */
struct primary_linux {
	struct primary_notifier notifier;
	struct interval_tree ranges;	 /* memslots by hva; registry_lock */
	struct primary_linux *next;	 /* in the registry; registry_lock */
	struct rwlock windows_lock;
	struct interval_tree windows;	 /* windows_lock */
	hva_t look_from;		 /* where an entry's look goes on; atomic */
};

void registry_add(struct primary_linux *p);
void registry_remove(struct primary_linux *p);
/* Is there a VM? */
bool registry_any(void);
int registry_range_add(struct primary_linux *p, hva_t start, u64 len);
/* Of what lies in no other memslot of p the windows go, too. */
void registry_range_remove(struct primary_linux *p, hva_t start, u64 len);
/* The part of [*start, *end) around hva that is in one memslot of p; registry_lock is held for read
 * until registry_unlock(). False, and not held: none. */
bool registry_clip(struct primary_linux *p, hva_t hva, hva_t *start, hva_t *end);
void registry_unlock(void);
/* Is hva in a memslot of p? */
bool registry_has(struct primary_linux *p, hva_t hva);
/* Not a child that only has a copy of the books. Takes no lock. */
bool registry_ours(void);
/* No memslot here, or not ours. Takes no lock. */
bool registry_empty(void);
/* Call fn for each VM with a memslot in [start, last], with registry_lock held for read. */
void registry_each(hva_t start, hva_t last, void (*fn)(struct primary_linux *p, void *arg),
		   void *arg);
/* Call fn for each memslot of p, by ascending hva. From within registry_each(). */
void registry_each_range(struct primary_linux *p, void (*fn)(hva_t start, hva_t end, void *arg),
			 void *arg);

/* ------------------------------------------------------------------ changes.c */

/*
 * For notifier.c. No vCPU that could use a window, of any VM, uses one until the end; NULL: out of
 * memory. In between, [start, end) was unmapped.
 */
void *changes_begin_everything(void);
void changes_unmapped(void *all, hva_t start, hva_t end);
void changes_end_everything(void *all);
/* Drop every window there is. */
void changes_drop_everything(void);
/* Where the notifier gave way to a userfaultfd of the VMM's: for each VM's statistics. */
void changes_report_uffd(void);
/* Compare each window with the mapping it was made from, and drop what is not as it was. */
void changes_look_again(void);
/* From one look's beginning to the next's, in times what it used: a tenth of a processor at most. */
#define LOOK_SHARE 10

/* ------------------------------------------------------------------ store.c, linux.c */

extern const struct primary_store_ops primary_linux_store_ops;
/* As primary_linux_file_change_begin(), of a file by its inode number. */
void *linux_file_change_begin(u64 ino, u64 off, u64 len, int *err);
/* A fork waits for stores that are being made: the child gets neither descriptor nor mapping. */
void stores_fork_begin(void);
void stores_fork_end(bool child);
/*
 * Touch the page at `at` as an access would. May wait for the host (a userfaultfd, a disk); a kick
 * ends it. 0; -EINTR; -EAGAIN: a kick came; -EHWPOISON; -EFAULT.
 */
int linux_touch(hva_t at, bool write, bool (*interrupted)(void *arg), void *arg);
/* What this thread has used of a processor, in nanoseconds. */
u64 linux_used_ns(void);
/* The largest level whose aligned block around hva (or file offset) lies in [start, end). */
int linux_block_level(u64 start, u64 end, u64 hva);

/* ------------------------------------------------------------------ windows.c */

/* [start, end) is reached at hva + delta. */
struct window_piece {
	hva_t start, end;
	u64 delta;
};

/* Where p's vCPUs reach hva by a window; false: there is none. */
bool windows_find(struct primary_linux *p, hva_t hva, struct window_piece *out);
/* Make a window of the shared region around hva. 0, -EAGAIN (the mappings are changing) or -errno
 * (it cannot be duplicated). */
int windows_make(struct primary_linux *p, const struct region *r, hva_t hva, u64 epoch);
bool windows_overlap(struct primary_linux *p, hva_t start, hva_t end);
/* The same by where they lie: what [at, end) shows of the VMM's memory, of one of them. */
bool windows_at(struct primary_linux *p, u64 at, u64 end, struct window_piece *out);
/*
 * Look at n windows from *from on, which becomes where the next ones begin, 0 after the last there is. `stale` is
 * called, without a lock, for each part that no longer shows what the VMM's mapping does, and for one in whose place
 * something else is mapped: that is the VMM's from now on, as it took it.
 */
typedef void windows_stale_fn(hva_t start, hva_t end, void *arg);
void windows_look(struct primary_linux *p, hva_t *from, u32 n, windows_stale_fn *stale, void *arg);
/* Is there one, of any VM? */
bool windows_any(void);
/* Unmap the windows of [start, end). No translation leads there any more. */
void windows_drop(struct primary_linux *p, hva_t start, hva_t end);
/* The same for the notifier's helper: nobody is led there any more, and later.c unmaps them. */
void windows_drop_first(struct primary_linux *p, hva_t start, hva_t end);

/* ------------------------------------------------------------------ later.c */

/* Nobody is led to [start, end) of our space: it is unmapped, but not now. */
void later_unmap(u64 start, u64 end);
bool later_any(void);
/* If there are any: from when on pieces are to be unmapped. */
u64 later_due(void);
void later_unmap_piece(void);
void later_forked_child(void);

#endif

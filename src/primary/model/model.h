/* SPDX-License-Identifier: MIT */
/*
 * primary/model/model.h: a host memory manager in miniature, for the explorer: what the kernel
 * side has and user space cannot show. Pages with reference counts, anonymous and file mappings,
 * a page cache, truncation, writeback, munmap, migration, non-refcounted memory, DAX.
 *
 * One address space, a VM or two (the primary_ops at the end). Page contents are real memory, one
 * 4 KiB page each, so that mmu/ and a vCPU reach them by pointer as on Linux. Every operation
 * makes its steps visible to the scheduler; its locks are the explorer's.
 *
 * All operations may be called by any actor, with no lock of mmu/'s held.
 */
#ifndef PRIMARY_MODEL_MODEL_H
#define PRIMARY_MODEL_MODEL_H

#include <stdio.h>

#include "primary/primary.h"

#define MODEL_PAGES	 48 /* frames of the machine */
#define MODEL_FILE_PAGES 4
#define MODEL_VMAS	 16
#define MODEL_VA_PAGES	 16 /* the address space: from MODEL_VA on */
#define MODEL_VA	 0x10000000ULL
/* Private memory mapped from here on is in huge pages, and so are hugetlb files. Of each, MODEL_PARTS pages may be
 * mapped, changed and taken away by themselves, when it is split; the rest goes as one. */
#define MODEL_HUGE_VA	 0x20000000ULL
#define MODEL_HUGE_VAS	 2 /* huge pages of address space */
#define MODEL_PARTS	 4
#define MODEL_HUGE_PAGES 6 /* frames of 2 MiB */
#define MODEL_POOL	 3 /* of these for hugetlb */
/* Where windows lie: no memory, but what model_place() makes of it. */
#define MODEL_ARENA  0x30000000ULL
#define MODEL_PLACES 4 /* pages */

struct model;
struct model_store; /* of 4 KiB pages, or of huge ones when its size is a multiple of theirs */

enum model_file_kind {
	MODEL_FILE_CACHED, /* pages in a page cache, written back */
	MODEL_FILE_DAX,	   /* the pages are the medium: a truncate waits for references */
	MODEL_FILE_PFNMAP, /* a driver's, mapped VM_PFNMAP: no reference counts that are anybody
			    * else's, be it a device's memory or pages of a non-compound allocation */
	MODEL_FILE_HUGETLB, /* huge pages of a pool, reserved when they are mapped; sizes are multiples of theirs */
};

struct model_file; /* owned by the model */

struct model *model_create(void);
/* Checks that references and pins balance; then frees. */
void model_destroy(struct model *m);

struct model_file *model_file_create(struct model *m, enum model_file_kind kind, u64 npages);
/* The medium's word for a page: what a reader sees after a crash. */
u64 model_file_disk(const struct model_file *f, u64 index);
u64 model_file_pages(const struct model_file *f);

/* Map n pages at hva, private zero memory (f NULL) or a file's from index on, over what is there. -ENOMEM: a
 * hugetlb file's, and its pool has too few. */
int model_mmap(struct model *m, hva_t hva, u64 n, bool writable, struct model_file *f, u64 index);
/* The same as Linux's primary may see it: one call, within which there is no mapping for a while. */
int model_replace(struct model *m, hva_t hva, u64 n, struct model_file *f, u64 index);
void model_munmap(struct model *m, hva_t hva, u64 n);
/* Move n pages elsewhere, over what is there. -EFAULT: they are not one mapping. */
int model_mremap(struct model *m, hva_t from, u64 n, hva_t to);
/* Allow or forbid writing. -ENOMEM, with what lies before it done: something is not mapped. */
int model_mprotect(struct model *m, hva_t hva, u64 n, bool writable);
/* From now on every invalidation stays open, its change made, until cond(NULL): a userfaultfd's
 * monitor that holds up a munmap. */
void model_hold(struct model *m, bool (*cond)(void *arg));
/* Truncate to npages: later pages are gone from every mapping and from the cache. */
void model_truncate(struct model *m, struct model_file *f, u64 npages);
void model_extend(struct model *m, struct model_file *f, u64 npages);
/* Take one page out of the file and leave a hole. */
void model_punch(struct model *m, struct model_file *f, u64 index);
/* Clean one page: write-protect it everywhere, then copy it to the medium if it was dirty. */
void model_writeback(struct model *m, struct model_file *f, u64 index);
/* Move the page behind hva to another frame; false when a reference held it in place. */
bool model_migrate(struct model *m, hva_t hva);

/* Write the anonymous page behind hva to swap, if it changed since it came from there, and free its
 * frame; false when a reference held it in place. */
bool model_swap_out(struct model *m, hva_t hva);
/* Two anonymous pages that hold the same become one, until either is written (KSM); false when they
 * do not, or a reference is held. */
bool model_merge(struct model *m, hva_t a, hva_t b);
/* The frame behind hva is found broken: whoever reaches for it from now on is told. */
void model_poison(struct model *m, hva_t hva);
/* The driver moves a VM_PFNMAP file's memory to other frames, telling nobody but the notifier. */
void model_driver_move(struct model *m, struct model_file *f);
/* A DAX device goes away: its pages' struct pages too, as soon as nobody holds a reference. */
void model_unbind(struct model *m, struct model_file *f);

/* -- huge pages (huge.c) */

/* The huge page at hva is mapped in parts from now on, or as one again, in another frame that holds what they held
 * (khugepaged, MADV_COLLAPSE). False: it is so already, or not possible. */
bool model_split(struct model *m, hva_t hva);
bool model_collapse(struct model *m, hva_t hva);
bool model_is_split(const struct model *m, hva_t hva);
/* Huge frames of the pool that nothing has or has reserved. */
u32 model_pool_free(const struct model *m);

/* -- advice and tracking (advise.c) */

/* MADV_DONTNEED of one page; MADV_FREE, and reclaim that takes such a page if it was not written since: has it? */
void model_dontneed(struct model *m, hva_t hva);
void model_madv_free(struct model *m, hva_t hva);
bool model_reclaim_lazy(struct model *m, hva_t hva);
/* /proc/PID/clear_refs and pagemap: was the page written since? */
void model_clear_soft_dirty(struct model *m);
bool model_soft_dirty(struct model *m, hva_t hva);
/* userfaultfd's write protection of one page: who writes there waits until it is taken off. */
void model_guard(struct model *m, hva_t hva, bool on);
bool model_guarded(struct model *m, hva_t hva);
/* A write waits there: a condition for sched_wait(). */
bool model_guard_hit(void *m);

/* Another process has the file mapped as well: its store, its load. As model_read(). */
int model_other_write(struct model *m, struct model_file *f, u64 index, u64 value);
int model_other_read(struct model *m, struct model_file *f, u64 index, u64 *value);

/* fork(): private memory is shared with a child, which only looks, until either writes. */
struct model_child;
struct model_child *model_fork(struct model *m);
int model_child_read(struct model_child *c, hva_t hva, u64 *value); /* as model_read() */
void model_child_exit(struct model_child *c);

/* Reclaim asks: was the page behind hva accessed since it asked last? */
bool model_age(struct model *m, hva_t hva);

/* -- windows, and a VMM that owns its address space */

/* From now on a file's memory is reached by windows: pointers into MODEL_ARENA. */
void model_use_windows(struct model *m);
/* The memory that an address shows now: itself, unless it is of the arena; NULL: a hole. */
u64 *model_place(struct model *m, u64 *host);
bool model_in_window(struct model *m, const void *host);
/* As model_check_access(), of an address of the arena. */
void model_window_check_access(struct model *m, const void *host, hva_t hva);
/*
 * The VMM maps memory of its own where the window of hva lies, which steps aside first: its word, or
 * NULL, there is no such window.
 */
u64 *model_map_over_window(struct model *m, hva_t hva);
/* munmap() by a call that nobody announces: it returns when model_serve_event() has read its event. */
void model_munmap_unseen(struct model *m, hva_t hva, u64 n);
/* A helper's part of it, once. */
void model_serve_event(struct model *m);

/*
 * The VMM's own access to a word of the page at hva. -EFAULT: no mapping, or one that does not
 * allow it (SIGSEGV); -ENXIO: beyond the end of its file (SIGBUS); -EHWPOISON.
 */
int model_read(struct model *m, hva_t hva, u64 *value);
int model_write(struct model *m, hva_t hva, u64 value);

/*
 * A vCPU reached the page at `host` believing that it backs hva: invariants 1 and 7. Fails the
 * execution when the frame is free or somebody else's, or a write is not allowed to it.
 */
void model_check_access(struct model *m, const void *host, hva_t hva, bool write);

/* Is what the page table shows at hva a frame with a long-term pin? */
bool model_pinned(struct model *m, hva_t hva);
/* References that this actor got by fault_in() and still holds: none in guest mode. */
u32 model_held(const struct model *m);

/* -- stores: a page that is punched is free at once, and the next moment somebody else's */

/* Is what a vCPU reached at `host` a store's page? */
bool model_is_private(struct model *m, const void *host);
/* As model_check_access(), of a vCPU that believes to reach this page of a store. */
void model_store_check_access(struct model *m, const void *host, struct model_store *s, u64 index);
/* Memory failure: every fault of the page is -EHWPOISON until it is punched. */
void model_store_poison(struct model_store *s, u64 index);
bool model_store_poisoned(struct model_store *s, u64 index);
/* Other processes that got punched pages end: what they left there must be what they had. */
void model_strangers_exit(struct model *m);
/* The word of a page as nobody's mapping shows it; 0 when there is none. */
u64 model_store_word(struct model_store *s, u64 index);

extern const struct primary_ops primary_model_ops;
/*
 * The same model as primary_ops' argument. destroy() leaves the model alone: model_destroy(). While
 * there are two VMs no mapping changes: the model tells one.
 */

/* For a reader: the frame that holds an address of the machine's memory; page tables and frames, a line each. */
u64 model_frame(struct model *m, const void *host);
void model_show(FILE *f, struct model *m);

#endif

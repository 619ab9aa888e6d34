/* SPDX-License-Identifier: MIT */
/*
 * mmu/gmem.h: guest_memfd. Pages that no user mapping shows unless asked for, and the files they are
 * bound to VMs by.
 *
 * A store is the pages. A file is one VM's way to a store, and a store can have several, of several
 * VMs: gmem_link() makes the next one. A memslot with MMU_SLOT_GMEM is bound to a range of a file of
 * its own VM; ranges of one file do not overlap, those of two files of a store may. File and slot
 * keep each other valid and neither keeps the other: a slot's deletion unbinds it, a file's release
 * ends its bindings, and private faults of those slots are -EFAULT from then on.
 *
 * The store lock, a sleeping reader-writer lock, is held for write by a punch and a release, for
 * read by a bind, an unbind, an allocation, and a private fault from the lookup of the page until its
 * SPTE stands. So the bindings that a punch began on are those it ends on, and no page that it takes
 * away can still be on its way into stage 2. It waits for vCPUs' answers under its lock: a vCPU that
 * wants the lock is outside guest mode, and counts as having answered. It takes no slots_lock.
 *
 * Lock order: slots_lock, store lock, a host-side cache's lock, mmu_lock. A punch invalidates VMs
 * whose slots_lock it does not have.
 *
 * Who calls it: abi/, no lock held. Everything here may sleep.
 */
#ifndef MMU_GMEM_H
#define MMU_GMEM_H

#include "base/types.h"

struct mmu;
struct frame;
struct gmem_file;
struct memslot;

#define GMEM_MAPPABLE	 (1u << 0) /* = GUEST_MEMFD_FLAG_MMAP: every fault of its slots is its */
#define GMEM_INIT_SHARED (1u << 1) /* = GUEST_MEMFD_FLAG_INIT_SHARED; remembered, no more */

/*
 * A new store of `size` bytes and its first file. The file holds a reference on mmu. 0; -EINVAL: size
 * 0, not a multiple of 4 KiB or beyond what a file offset can say; -EOPNOTSUPP: the primary MMU has
 * no stores; -ENOMEM.
 */
int gmem_create(struct mmu *mmu, u64 size, u64 flags, struct gmem_file **out);
/* A second file on the store of `file`, for `mmu` (another VM, or the same). 0 or -ENOMEM. */
int gmem_link(struct gmem_file *file, struct mmu *mmu, struct gmem_file **out);
/*
 * The last descriptor is closed: what its slots mapped is zapped, its bindings end, its reference on
 * the VM goes, and with the store's last file the pages.
 */
void gmem_release(struct gmem_file *file);

/*
 * fallocate(): have pages, or take them away; [off, off + len), in multiples of 4 KiB. A punch is of
 * the store: every file's VM has let go of the pages when it returns, and nobody reads what was there.
 * What lies beyond the end is left out by a punch, -EINVAL for an allocation. 0; -EINVAL; -ENOMEM (of
 * a punch: nothing was done).
 */
int gmem_allocate(struct gmem_file *file, u64 off, u64 len);
int gmem_punch(struct gmem_file *file, u64 off, u64 len);

u64 gmem_size(const struct gmem_file *file); /* bytes */
u64 gmem_flags(const struct gmem_file *file);
struct mmu *gmem_mmu(const struct gmem_file *file);
void *gmem_primary_store(const struct gmem_file *file); /* primary_store_ops' */

/* ------------------------------------------------------------------ for mmu/ itself */

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

#endif

/* SPDX-License-Identifier: MIT */
/* mmu/dirty.h: a memslot's dirty log as its writers see it. VMMs' calls stand in mmu.h. */
#ifndef MMU_DIRTY_H
#define MMU_DIRTY_H

#include "mmu/memslots.h"

struct slot_log *slot_log_alloc(u64 npages, bool set);
/* Clear dirty in the SPTEs of the pages gfn + n whose bits n are set: true when one had it. mmu_lock
 * held for write. */
bool dirty_protect_word(struct mmu *mmu, gfn_t gfn, u64 bits);

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
/*
 * v is about to write where it found the SPTE dirty, and saw it by a load after which it sees what was
 * published before dirty was cleared last: mark the page, where there are logs. Without mmu_lock. v's thread.
 */
void memslots_mark_found_dirty(struct mmu *mmu, struct mmu_vcpu *v, gfn_t gfn);
/*
 * A host-side write to gfn was done, by the thread of `v` or (NULL, and then in no ring) of no vCPU:
 * log it.
 */
void mmu_log_write(struct mmu *mmu, struct mmu_vcpu *v, gfn_t gfn);

#endif

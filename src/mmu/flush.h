/* SPDX-License-Identifier: MIT */
/* mmu/flush.h: waiting for vCPUs: what vcpu.c does for those who take translations away. */
#ifndef MMU_FLUSH_H
#define MMU_FLUSH_H

#include "mmu/vcpu.h"

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

/* Wake whoever waits for an end of something. The change is stored, a full fence stands between. */
void mmu_wake_waiters(struct mmu *mmu);
/* The same for who waits in mmu_wait_for_vcpu(v); v's thread. */
void mmu_vcpu_wake_waiters(struct mmu_vcpu *v);

/* tlb.c: all write entries of v go. Its own thread. */
void tlb_drop_writes(struct mmu_vcpu *v);
/* Those that lead to this page of the host's. */
void tlb_drop_writes_to(struct mmu_vcpu *v, u64 host);

#endif

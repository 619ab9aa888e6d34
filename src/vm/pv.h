/* SPDX-License-Identifier: MIT */
/*
 * vm/pv.h: what KVM tells a guest, or is told by it, through pages of guest memory: the clock
 * (clock.h), steal time, the end of an interrupt. All go through host-side caches (mmu/cache.h), so
 * between two uses nothing is held. Private to vm/, but for pv_settle().
 *
 * MSRs, begin, end, pause, resume: the vCPU's thread, outside guest mode unless said otherwise, or
 * under the vCPU's mutex with no run in progress.
 */
#ifndef VM_PV_H
#define VM_PV_H

#include "mmu/cache.h"
#include "vm/vm.h"

void pv_init(struct vcpu *v);
void pv_fini(struct vcpu *v);

/* May the guest use KVM_FEATURE_*: always, unless its own CPUID is to be enforced. */
bool pv_offered(struct vcpu *v, u32 feature);

/* The MSRs of all of them. 0; -EINVAL: #GP; -ENOENT: not one of them. */
int pv_msr_read(struct vcpu *v, u32 msr, u64 *value);
int pv_msr_write(struct vcpu *v, u32 msr, u64 value);

/* INIT: the guest starts over and has asked for nothing. */
void pv_reset(struct vcpu *v);

/* A run begins, ends; a halted vCPU sleeps, goes on; requests are answered within a run. */
void pv_run_begin(struct vcpu *v);
void pv_run_end(struct vcpu *v);
void pv_sleep(struct vcpu *v);
void pv_wake(struct vcpu *v);
void pv_requests(struct vcpu *v, u32 req);
/* The VMM is about to read the vCPU's APIC: bring it up to date. */
void pv_settle(struct vcpu *v);

/*
 * A use of one of v's caches that waits for the host if it must; leaves guest mode for that, where
 * it is called in guest mode: translations got before are then stale.
 */
int pv_use(struct vcpu *v, struct mmu_cache *c, int (*fn)(struct mmu_cache *c, void *arg),
	   void *arg);

/* steal.c: MSR_KVM_STEAL_TIME */
int steal_msr_write(struct vcpu *v, u64 value);
/* The vCPU is about to execute: not preempted, and this much was stolen. */
void steal_update(struct vcpu *v);
/* It no longer executes. */
void steal_preempted(struct vcpu *v);
void steal_fini(struct vcpu *v);

/* pv_eoi.c: MSR_KVM_PV_EOI_EN. Both may be called in guest mode. */
int pv_eoi_msr_write(struct vcpu *v, u64 value);
/* An interrupt was taken: let the guest end it by clearing a bit in memory, if nobody else cares. */
void pv_eoi_offer(struct vcpu *v);
/* See whether it did, and take the offer back. */
void pv_eoi_settle(struct vcpu *v);

#endif

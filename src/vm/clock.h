/* SPDX-License-Identifier: MIT */
/*
 * vm/clock.h: the VM's clock (KVM_GET_CLOCK) and the guest's view of it, kvmclock: two pages in
 * guest memory that tell the time by the TSC (KVM's documentation, x86/msr.rst and the pvclock
 * structures it describes).
 *
 * MSRs: on the vCPU's thread. clock_update(): the same, outside guest mode; it writes guest
 * memory. The rest: any thread.
 */
#ifndef VM_CLOCK_H
#define VM_CLOCK_H

#include "vm/vm.h"

/* At zero now. host_khz: rate of the host's TSC. */
void vm_clock_init(struct vm *vm, u32 host_khz);
/* The VM's clock in ns, when the host's TSC is `tsc`. */
u64 vm_clock_at(struct vm *vm, u64 tsc);
/* Now it is `ns`; every vCPU's page is written anew. */
void vm_clock_set(struct vm *vm, u64 ns);

/* KVM's clock MSRs, both pairs of numbers. 0; -EINVAL: #GP; -ENOENT: not one of them. */
int clock_msr_read(struct vcpu *v, u32 msr, u64 *value);
int clock_msr_write(struct vcpu *v, u32 msr, u64 value);
/* INIT: no clock is asked for. */
void clock_reset(struct vcpu *v);
/* KVM_KVMCLOCK_CTRL: the guest was paused, its watchdogs should know. -EINVAL without a clock. */
int clock_guest_paused(struct vcpu *v);
/* Write what is due into guest memory (VCPU_REQ_CLOCK). What cannot be written stays due. */
void clock_update(struct vcpu *v);
/* Ask for that again, if something stayed due: the VMM may have put the memory back. */
void clock_retry(struct vcpu *v);

#endif

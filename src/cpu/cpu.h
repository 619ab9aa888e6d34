/* SPDX-License-Identifier: MIT */
/*
 * cpu/cpu.h: one x86 vCPU, for the room above (vm/).
 *
 * Who calls it: vm/, on the vCPU's thread (KVM serialises a vCPU's ioctls on its mutex, so do
 * we). What may sleep: cpu_run() only. What it holds: nothing.
 */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include <linux/kvm.h>
#include "cpu/state.h"

/* To be posted to mmu.requests: what the VMM or a device of its stored may have been code. */
#define CPU_REQ_DISTRUST (1u << 28)

/* A vCPU in its power-on state. Attach to mmu; env's callbacks get `owner`. 0 or -errno. */
int cpu_create(struct mmu *mmu, u32 index, const struct cpu_env *env, void *owner,
	       const struct mmu_vcpu_ops *mops, struct cpu **out);
void cpu_destroy(struct cpu *c);
/* Architectural reset (SDM vol. 3, table 9-1). `init`: INIT keeps what INIT keeps. */
void cpu_reset(struct cpu *c, bool init);

/*
 * Run until something needs the VMM or the owner; c->exit says what. Enters with events pending
 * delivered first. Always returns outside guest mode, at an instruction boundary or in the middle
 * of one that will be replayed.
 */
void cpu_run(struct cpu *c);
/* The VMM answered the io, mmio or msr exit: take its data. Before the next cpu_run(). */
void cpu_complete_exit(struct cpu *c);

/* ---- state, in KVM's own structures. 0 or KVM's errno; a refused set changes nothing. */
void cpu_get_regs(struct cpu *c, struct kvm_regs *r);
void cpu_set_regs(struct cpu *c, const struct kvm_regs *r);
void cpu_get_sregs(struct cpu *c, struct kvm_sregs *s);	  /* APIC base, CR8: the caller */
int cpu_set_sregs(struct cpu *c, const struct kvm_sregs *s);
void cpu_get_sregs2(struct cpu *c, struct kvm_sregs2 *s);
int cpu_set_sregs2(struct cpu *c, const struct kvm_sregs2 *s);
void cpu_get_fpu(struct cpu *c, struct kvm_fpu *f);
int cpu_set_fpu(struct cpu *c, const struct kvm_fpu *f);
/* XSAVE image in the standard format of the host's CPUID leaf 0xd; size from cpu_xsave_size(). */
u32 cpu_xsave_size(void);
void cpu_get_xsave(struct cpu *c, void *area, u32 size);
int cpu_set_xsave(struct cpu *c, const void *area, u32 size);
void cpu_get_xcrs(struct cpu *c, struct kvm_xcrs *x);
int cpu_set_xcrs(struct cpu *c, const struct kvm_xcrs *x);
void cpu_get_debugregs(struct cpu *c, struct kvm_debugregs *d);
int cpu_set_debugregs(struct cpu *c, const struct kvm_debugregs *d);
void cpu_get_events(struct cpu *c, struct kvm_vcpu_events *e);
int cpu_set_events(struct cpu *c, const struct kvm_vcpu_events *e);
int cpu_set_guest_debug(struct cpu *c, const struct kvm_guest_debug *d);
/* KVM_TRANSLATE. */
void cpu_translate(struct cpu *c, struct kvm_translation *t);

/* MSRs. host: the VMM's KVM_GET/SET_MSRS. 0, -EINVAL (#GP), -ENOENT (no such MSR). */
int cpu_msr_get(struct cpu *c, u32 msr, bool host, u64 *value);
int cpu_msr_set(struct cpu *c, u32 msr, bool host, u64 value);
/* Lists for KVM_GET_MSR_INDEX_LIST and ..._FEATURE_INDEX_LIST; count returned. */
u32 cpu_msr_list(const u32 **list);
u32 cpu_msr_feature_list(const u32 **list);
int cpu_msr_feature(u32 msr, u64 *value);

/* CPUID. Supported: what the host has less what the table lacks; `n` in: room, out: entries;
 * -E2BIG. Set: KVM's checks, -EINVAL. */
int cpuid_supported(struct cpuid_leaf *out, u32 *n);
/* Is the host's processor of AMD's kind, rather than Intel's? */
bool cpu_host_is_amd(void);
int cpu_set_cpuid(struct cpu *c, const struct cpuid_leaf *e, u32 n);
/* CPUID as the guest sees it now (OSXSAVE, APIC id bits kept by the owner's leaf). */
void cpu_cpuid(struct cpu *c, u32 function, u32 index, u32 out[4]);

/* ---- events, on the vCPU's thread */
void cpu_queue_exception(struct cpu *c, u8 vector, bool has_error, u32 error);
/* So many NMIs have come, beside those that wait. One can wait while another is handled; before that
 * two can, the first of which is taken at once, as in KVM. */
void cpu_queue_nmis(struct cpu *c, u32 n);
/* Could an external interrupt be delivered right now (IF, shadow, nothing pending)? */
bool cpu_interrupt_allowed(const struct cpu *c);

/* Guest TSC now. */
u64 cpu_tsc(const struct cpu *c);
/* What it is when the host's is `host`. */
u64 cpu_tsc_at(const struct cpu *c, u64 host);
/* Let it run at khz on a host that runs at host_khz; within 250 ppm of it, at the host's own rate.
 * -EINVAL: the ratio cannot be had. */
int cpu_set_tsc_khz(struct cpu *c, u32 khz, u32 host_khz);

#endif

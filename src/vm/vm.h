/* SPDX-License-Identifier: MIT */
/*
 * vm/vm.h: a virtual machine and its vCPUs.
 *
 * Who calls it: abi/, on the VMM's threads. What may sleep: vcpu_run(), and whatever takes a
 * vCPU's or the VM's mutex. Lock order: vm->lock, vcpu->mutex is outermost of its own (a vCPU
 * ioctl holds it throughout, as KVM's does), then the irqchip's and mmu's.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include <linux/kvm.h>
#include <signal.h>
#include "cpu/cpu.h"
#include "irqchip/irqchip.h"
#include "mmu/cache.h"
#include "mmu/mmu.h"
#include "sync/lock.h"

#define VM_MAX_VCPUS   1024 /* KVM_CAP_MAX_VCPUS */
#define VM_MAX_VCPU_ID 1024 /* KVM_CAP_MAX_VCPU_ID */

/* Owner requests of a vCPU, beside enum mmu_request in mmu.requests. */
enum vcpu_request {
	VCPU_REQ_EVENT = 1 << 8,  /* look for interrupts, NMIs, INIT, SIPI */
	VCPU_REQ_SIGNAL = 1 << 9, /* a signal or immediate_exit: leave with EINTR */
	VCPU_REQ_CLOCK = 1 << 10, /* paravirtual clock pages are to be written anew */
	VCPU_REQ_LOOK = 1 << 11,  /* show yourself: vcpu->look */
};

struct vm_irq;	    /* vm/irq.c: routing glue, irqfds */
struct vm_iobus;    /* vm/iobus.c: ioeventfds, coalesced zones */
struct signals_run; /* vm/signals.c */
struct vcpu_look;   /* vm/look.h */

struct vcpu {
	struct vm *vm;
	struct cpu *cpu;
	struct lapic *lapic;  /* NULL with the APIC in the VMM */
	u32 id;		      /* KVM's vCPU id = initial APIC id */
	u32 index;	      /* in vm->vcpu[] */
	struct mutex mutex;   /* held by every ioctl on this vCPU */
	int tid;	      /* thread in vcpu_run(), 0: none; atomic */
	u32 mp_state;	      /* KVM_MP_STATE_*; by the vCPU's thread or under mutex */
	u32 sipi_vector;
	u32 pending_events;   /* atomic: EVENT_* of vm/env.h */
	int irq_queued;	      /* KVM_INTERRUPT with the PIC in the VMM: vector or -1 */
	u64 cr8;	      /* with the APIC in the VMM */
	u64 apic_base;	      /* the same */
	sigset_t sigmask;     /* KVM_SET_SIGNAL_MASK */
	bool has_sigmask;
	bool enforce_pv_cpuid; /* KVM_CAP_ENFORCE_PV_FEATURE_CPUID */
	bool unhalted;	      /* the next halt, or this one, ends at once; the vCPU's thread */
	u32 wake_seq;	      /* futex a halted vCPU sleeps on; counts wake-ups */
	u32 asleep;	      /* atomic: in that futex */
	u32 kick;	      /* atomic, a futex: signals.c's enum kick_state */
	struct vcpu *quiet_next; /* quiet.c's list of runs */
	u32 quiet_look;	      /* atomic: the run is to look for signals that are kept for it */
	u64 pending_eoi[4];   /* atomic: vectors whose EOI the VMM's I/O APIC wants to hear of */
	struct {
		u64 time_msr, wall_msr; /* as the guest wrote them */
		bool wall_due, paused, retry;
		struct mmu_cache time, wall;
	} clock; /* clock.c; the vCPU's thread, or under mutex; so the next two */
	struct {
		u64 msr;
		struct mmu_cache cache;
		bool preempted;	 /* what the guest was told last */
		int tid, fd;	 /* the thread whose schedstat is open */
		u64 ino, dev;	 /* of that file */
		bool counted;	 /* the next two mean something */
		u64 looked_at;	 /* host TSC */
		u64 delay, owed; /* ns: the thread's run delay then; not yet told to the guest */
	} steal; /* steal.c */
	struct {
		u64 msr;
		struct mmu_cache cache;
		bool pending; /* the guest may have ended an interrupt unseen */
	} eoi; /* pv_eoi.c */
	struct cpu_exit *exit; /* = &cpu->exit */
	const u8 *immediate_exit; /* in struct kvm_run, which is abi/'s; may be NULL */
	u32 nmis;	      /* atomic: posted and not yet accepted */
	struct vcpu_look *look; /* atomic: posted and not yet taken */
	bool has_run;	      /* the guest was entered at least once: its CPUID is fixed */
	bool leave_soon;      /* immediate_exit was set when this run began */
	u8 *coalesced_ring;   /* abi/'s page, shared by the VM's vCPUs */
	void *abi;	      /* abi/'s own */
};

struct vm {
	u32 refs; /* atomic: descriptors of the VM and of its vCPUs and devices */
	u32 type; /* KVM_CREATE_VM's argument; what it may do is for abi/ to say */
	struct mutex lock;
	struct mmu *mmu;
	struct irqchip *irqchip; /* NULL until created */
	struct vm_irq *irq;
	struct vm_iobus *iobus;
	struct vcpu *vcpu[VM_MAX_VCPUS]; /* published with release; never removed before the end */
	u32 nvcpus;			 /* atomic */
	u32 bsp_id;
	int pid;	/* of the process that made it: others get EIO */
	bool ran;	/* atomic: a guest was run, and the helper threads are there */
	u32 host_tsc_khz;
	u32 tsc_khz;	/* default of new vCPUs */
	u64 tsc_offset; /* of the vCPU whose TSC the VMM set last; by lock */
	struct {
		struct mutex lock;
		u64 tsc, ns; /* at this host TSC the clock said so; lock */
		u32 khz;     /* of the host's TSC */
	} clock; /* clock.c */
	/* enabled capabilities */
	bool exception_payload, triple_fault_event;
	bool x2apic_format_32bit, x2apic_no_broadcast_quirk;
	u32 user_space_msr; /* KVM_CAP_X86_USER_SPACE_MSR's mask */
	u64 disabled_quirks, exits_on_hypercall;
	u32 max_vcpu_id;
	u32 dirty_ring_size; /* bytes, 0: dirty logs */
	bool halts_itself;   /* KVM_X86_DISABLE_EXITS_HLT: a halted vCPU is nobody's to wake */
	bool hide_platform_info; /* KVM_CAP_MSR_PLATFORM_INFO switched off */
	struct msr_filter *msr_filter; /* vm/msr_filter.c; RCU */
	struct {
		int fd;	    /* -1: nobody sees the counters */
		u64 ino;    /* of fd */
		u8 *map;    /* all of it */
	} stat; /* vm/statpage.c; guarded by lock */
};

/* 0 or KVM's errno. */
int vm_create(u32 type, struct vm **out);
void vm_get(struct vm *vm);
void vm_put(struct vm *vm);
/* A guest is about to run: start the helper threads, which there are none of before. 0 or -errno. */
int vm_start(struct vm *vm);

/* KVM_CREATE_VCPU's rules: EINVAL beyond the limit, EEXIST for an id in use. One VM reference is
 * taken for the vCPU's descriptor. */
int vm_create_vcpu(struct vm *vm, u32 id, struct vcpu **out);
struct vcpu *vm_find_vcpu(struct vm *vm, u32 id); /* by id; NULL */

/* In-kernel controllers: KVM_CREATE_IRQCHIP, KVM_CAP_SPLIT_IRQCHIP. EEXIST; with vCPUs EINVAL, and
 * EEXIST for the latter. */
int vm_create_irqchip(struct vm *vm, enum irqchip_mode mode, u32 pins);

/*
 * KVM_RUN: 0 with vcpu->exit filled in, or -EINTR, -EFAULT, -EHWPOISON, -EAGAIN (uninitialised
 * AP), -ENOMEM. The answer to the exit before was already taken by cpu_complete_exit(). The
 * caller holds vcpu->mutex.
 */
int vcpu_run(struct vcpu *v);
/* Make [gpa, gpa + size) present; *done bytes were. -EINTR: a signal has come; or as mmu_fault(). */
int vcpu_prefault(struct vcpu *v, gpa_t gpa, u64 size, u64 *done);
/*
 * A device of the VMM's is about to raise an interrupt, and may have stored into code before:
 * every vCPU compares what it has cached before it runs on. Any thread, any lock.
 */
void vm_distrust_code(struct vm *vm);
/* Make it look at its requests. Any thread, any lock, any state. */
void vcpu_kick(struct vcpu *v);
void vcpu_post(struct vcpu *v, u32 request_bits); /* request and kick */

/* Events from outside; any thread. */
void vcpu_nmi(struct vcpu *v);
void vcpu_unhalt(struct vcpu *v); /* a halt ends: the one it is in, or the next */
void vcpu_accept_nmis(struct vcpu *v); /* those that came; the vCPU's thread, or under its mutex */
void vcpu_init(struct vcpu *v);
void vcpu_sipi(struct vcpu *v, u8 vector);
int vcpu_interrupt(struct vcpu *v, u32 vector); /* KVM_INTERRUPT: EINVAL, ENXIO, EEXIST */
bool vcpu_irq_ready(struct vcpu *v);		/* kvm_run.ready_for_interrupt_injection */

/* MP state as KVM_GET/SET_MP_STATE. */
int vcpu_get_mp_state(struct vcpu *v, struct kvm_mp_state *s);
int vcpu_set_mp_state(struct vcpu *v, const struct kvm_mp_state *s);

/* IA32_APIC_BASE and CR8, whoever has the APIC. Set: 0, or -EINVAL: #GP. */
u64 vcpu_get_apic_base(struct vcpu *v);
int vcpu_set_apic_base(struct vcpu *v, u64 base, bool host_initiated);
u64 vcpu_get_cr8(struct vcpu *v);
void vcpu_set_cr8(struct vcpu *v, u64 cr8);

/* CPUID changed: tell the APIC. */
void vcpu_cpuid_changed(struct vcpu *v);

/* KVM_X86_SET_MSR_FILTER. */
int vm_set_msr_filter(struct vm *vm, const struct kvm_msr_filter *f);
bool vm_msr_allowed(struct vm *vm, u32 msr, bool write);

#endif

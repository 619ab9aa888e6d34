/* SPDX-License-Identifier: MIT */
/*
 * irqchip/irqchip.h: the in-kernel interrupt controllers and timer of a PC: local APICs, I/O
 * APIC, two 8259, 8254; and GSI routing between them.
 *
 * Who calls it: vm/ creates and routes; cpu/ reaches it only through vm/'s callbacks.
 * What may sleep: nothing but the locks below. Any thread may call anything.
 * What it holds: one mutex per irqchip (`lock`), taken inside and never held across a callback
 * that may sleep; apic timers fire on a helper thread of the VM's with all signals blocked.
 * It knows nothing of memslots and nothing of instructions.
 */
#ifndef IRQCHIP_IRQCHIP_H
#define IRQCHIP_IRQCHIP_H

#include <linux/kvm.h>
#include "base/types.h"

struct irqchip; /* one per VM */
struct lapic;	/* one per vCPU when the APIC is in-kernel */

#define IRQCHIP_FLAG_X2APIC_32BIT	  1 /* KVM_X2APIC_API_USE_32BIT_IDS */
#define IRQCHIP_FLAG_NO_BROADCAST_QUIRK 2 /* KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK */
#define IRQCHIP_FLAG_NO_LINT0_QUIRK	  4 /* KVM_X86_QUIRK_LINT0_REENABLED is disabled */

/* What the controllers ask of the VM. */
struct irqchip_ops {
	/* This vCPU should look again at what its APIC (or the 8259) has for it. Any thread; may
	 * be called with the irqchip's lock held, so it must only post a request and kick. */
	void (*kick)(void *vcpu);
	void (*nmi)(void *vcpu);
	void (*smi)(void *vcpu);
	void (*init)(void *vcpu);
	void (*sipi)(void *vcpu, u8 vector);
	/* Its halt ends, or if it does not halt now, its next one does. As kick. */
	void (*unhalt)(void *vcpu);
	/* Split irqchip: EOI of a vector the VMM asked to hear of. The vCPU's thread; lock held. */
	void (*ioapic_eoi)(void *vcpu, u8 vector);
	/* Guest TSC now, and its rate in kHz, for the TSC-deadline timer. */
	u64 (*guest_tsc)(void *vcpu);
	u32 (*tsc_khz)(void *vcpu);
	/* The guest acknowledged this GSI (EOI); an irqfd with resampling may wait for it. No lock
	 * held: the VM may lower the line from here. */
	void (*gsi_acked)(void *vm, u32 gsi);
	/* Is this vCPU the boot processor? NULL: the one with id 0 is. May be called with the lock
	 * held, as the next. */
	bool (*is_bsp)(void *vcpu);
	/* IRQCHIP_FLAG_*, as the VMM has enabled and disabled things. NULL: none. */
	u32 (*flags)(void *vm);
};

enum irqchip_mode {
	IRQCHIP_SPLIT,	/* local APICs here, the rest in the VMM */
	IRQCHIP_KERNEL, /* everything here */
};

/* ioapic_pins: of a split one, the pins of the VMM's I/O APIC. */
int irqchip_create(void *vm, enum irqchip_mode mode, u32 ioapic_pins, const struct irqchip_ops *ops,
		   struct irqchip **out);
void irqchip_destroy(struct irqchip *ic);
/* A guest begins to run: from here on timers fire by themselves. Idempotent. */
void irqchip_start(struct irqchip *ic);
enum irqchip_mode irqchip_mode(const struct irqchip *ic);

/* ---- 8259 and I/O APIC, 8254 */
int irqchip_get(struct irqchip *ic, struct kvm_irqchip *chip);
int irqchip_set(struct irqchip *ic, const struct kvm_irqchip *chip);
int irqchip_create_pit(struct irqchip *ic, const struct kvm_pit_config *config); /* -EEXIST */
bool irqchip_has_pit(const struct irqchip *ic);
int irqchip_get_pit2(struct irqchip *ic, struct kvm_pit_state2 *ps);
int irqchip_set_pit2(struct irqchip *ic, const struct kvm_pit_state2 *ps);
int irqchip_reinject_control(struct irqchip *ic, const struct kvm_reinject_control *c);

/* ---- lines and messages. `source` tells level sources of one line apart (0: KVM_IRQ_LINE). */
#define IRQ_SOURCE_USER	 0
#define IRQ_SOURCE_PIT	 1
#define IRQ_SOURCE_IRQFD 2 /* irqfds that resample share one source, as in KVM */
/* Raise or lower a GSI by the routing table. >0 delivered to so many, 0 coalesced, <0 ignored. */
int irqchip_set_gsi(struct irqchip *ic, int source, u32 gsi, bool level);
int irqchip_send_msi(struct irqchip *ic, const struct kvm_msi *msi); /* as irqchip_set_gsi */
/* An interrupt by ICR's low half, without destination and shorthand, to each APIC of the bitmap, whose
 * first bit is the id `min`. How many took it, or -EINVAL (KVM's hypercalls.rst, KVM_HC_SEND_IPI). */
int irqchip_send_ipis(struct irqchip *ic, unsigned __int128 bitmap, u32 min, u32 icr);
/* To the vCPU whose APIC has this id, if there is one (KVM's hypercalls.rst, KVM_HC_KICK_CPU). */
void irqchip_unhalt(struct irqchip *ic, u32 id);
/* Replace the routing table. -EINVAL as KVM_SET_GSI_ROUTING. */
int irqchip_set_routing(struct irqchip *ic, const struct kvm_irq_routing_entry *e, u32 n, u32 flags);

/* ---- device access. True when this controller owns the address; data is little-endian. */
bool irqchip_pio(struct irqchip *ic, u16 port, u32 size, bool write, void *data);
/* `l`: the accessing vCPU's APIC (NULL without one). */
bool irqchip_mmio(struct irqchip *ic, struct lapic *l, gpa_t gpa, u32 size, bool write, void *data);

/* ---- local APIC */
int lapic_create(struct irqchip *ic, void *vcpu, u32 id, struct lapic **out);
void lapic_destroy(struct lapic *l);
/* INIT or power-up reset. `init`: INIT keeps the APIC base and, as KVM does, the x2APIC id. */
void lapic_reset(struct lapic *l, bool init);
void lapic_get_state(struct lapic *l, struct kvm_lapic_state *s);
int lapic_set_state(struct lapic *l, const struct kvm_lapic_state *s);
u64 lapic_get_base(const struct lapic *l);	  /* IA32_APIC_BASE */
int lapic_set_base(struct lapic *l, u64 value, bool host_initiated);	/* 0 or -EINVAL (#GP) */
/*
 * Its rules, for an APIC that is elsewhere too. SDM vol. 3, 11.12.5: the guest leaves x2APIC mode
 * by way of disabled only, and enters it by way of xAPIC mode only. The VMM may set any valid mode.
 */
bool lapic_base_valid(u64 old, u64 value, bool x2apic, bool host_initiated);
u64 lapic_get_cr8(const struct lapic *l);
void lapic_set_cr8(struct lapic *l, u64 cr8);
/* x2APIC MSRs 0x800..0x8ff and IA32_TSC_DEADLINE. 0, or -EINVAL for #GP. */
int lapic_msr_read(struct lapic *l, u32 msr, u64 *value);
int lapic_msr_write(struct lapic *l, u32 msr, u64 value);
/* CPUID bits that change what the APIC does. */
void lapic_set_features(struct lapic *l, bool x2apic, bool tsc_deadline);
/* Is there a register for corrected machine checks (MCG_CAP's CMCI_P)? And one has happened. */
void lapic_set_cmci(struct lapic *l, bool there);
void lapic_cmci(struct lapic *l);
/* Does the 8259's output reach this vCPU, through LINT0? */
bool lapic_accepts_pic(const struct lapic *l);

/*
 * An EOI the guest makes by a bit in memory (KVM's MSR_KVM_PV_EOI_EN). silent: one vector is in
 * service, none waits, and nothing but this APIC is to hear of its end. now: the guest made it.
 */
bool lapic_eoi_is_silent(struct lapic *l);
void lapic_eoi_now(struct lapic *l);

/*
 * Highest interrupt deliverable now by priority (the caller has checked IF and shadows): vector,
 * or -1. has: look only. get: acknowledge it (IRR to ISR, or the 8259's INTA).
 */
int irqchip_has_interrupt(struct irqchip *ic, struct lapic *l);
int irqchip_get_interrupt(struct irqchip *ic, struct lapic *l);

#endif

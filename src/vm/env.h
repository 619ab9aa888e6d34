/* SPDX-License-Identifier: MIT */
/* vm/env.h: what a vCPU offers the rooms below it: cpu/, mmu/ and irqchip/ call back through
 * these; `owner` and `vcpu` are always the struct vcpu. Private to vm/. */
#ifndef VM_ENV_H
#define VM_ENV_H

#include "vm/vm.h"

extern const struct cpu_env vcpu_cpu_env;
extern const struct mmu_vcpu_ops vcpu_mmu_ops;
extern const struct irqchip_ops vcpu_irqchip_ops;

/* A signal, or immediate_exit as it was when the run began. The vCPU's thread. */
bool vcpu_must_leave(const struct vcpu *v);

/* pending_events, beside the requests in mmu.requests */
enum {
	EVENT_NMI = 1 << 0,
	EVENT_INIT = 1 << 1,
	EVENT_SIPI = 1 << 2,
	EVENT_EOI = 1 << 3,    /* pending_eoi is not empty */
	EVENT_UNHALT = 1 << 4, /* KVM_HC_KICK_CPU */
};

#endif

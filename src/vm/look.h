/* SPDX-License-Identifier: MIT */
/*
 * vm/look.h: have a vCPU that runs show itself. While generated code runs, the guest's registers are in
 * the host's, and RIP is nowhere; so the vCPU's own thread tells them, between two instructions.
 */
#ifndef VM_LOOK_H
#define VM_LOOK_H

#include "vm/vm.h"

/* One question to one vCPU. Whoever asks and the vCPU that was asked hold a reference each. */
struct vcpu_look {
	/* The vCPU's thread, outside guest mode, with no lock held but the vCPU's mutex. */
	void (*show)(struct vcpu *v, struct vcpu_look *l);
	u32 refs; /* atomic */
	u32 done; /* atomic: show() has returned */
};

/* Ask; l is from malloc() with refs 1, the caller's. Any thread. False: another question waits there. */
bool vcpu_look_post(struct vcpu *v, struct vcpu_look *l);
/* Withdraw it. False: the vCPU is at it, or done. */
bool vcpu_look_cancel(struct vcpu *v, struct vcpu_look *l);
bool vcpu_look_done(const struct vcpu_look *l);
void vcpu_look_put(struct vcpu_look *l);
/* VCPU_REQ_LOOK: answer what was asked. The vCPU's thread. */
void vcpu_look_answer(struct vcpu *v);

#endif

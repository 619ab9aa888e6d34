/* SPDX-License-Identifier: MIT */
/*
 * cpu/fault.h: leaving an instruction. Unless said otherwise none of these returns; each unwinds to
 * the run loop with the guest's state as it was before the current op (c->op).
 */
#ifndef CPU_FAULT_H
#define CPU_FAULT_H

#include "cpu/state.h"

/* Raise an exception of the current instruction. */
void cpu_raise(struct cpu *c, u8 vector) NORETURN;	    /* without error code */
void cpu_raise_error(struct cpu *c, u8 vector, u32 error) NORETURN;
void cpu_raise_pf(struct cpu *c, u64 la, u32 error) NORETURN; /* #PF: sets CR2 on delivery */
/* This returns: a #DB trap with these bits of DR6 is due. It also ends a HLT (SDM vol. 2, HLT). */
void cpu_queue_debug(struct cpu *c, u64 dr6_bits);
/* Leave with c->exit filled in; the instruction is run again (replayed) afterwards. */
void cpu_leave(struct cpu *c, enum cpu_exit_reason reason) NORETURN;
/* Start the instruction again after looking at requests (a kick broke off an access). */
void cpu_restart(struct cpu *c) NORETURN;
/* Go on unwinding what was caught at an unwind point in between; none of the others. */
void cpu_unwind(struct cpu *c) NORETURN;
/* What is not carried out: KVM's internal error, emulation failure, with the bytes. */
void cpu_cannot(struct cpu *c) NORETURN;

#define PF_P	1u  /* protection, not absence */
#define PF_W	2u
#define PF_U	4u
#define PF_RSVD 8u
#define PF_I	16u

#endif

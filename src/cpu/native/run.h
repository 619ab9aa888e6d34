/* SPDX-License-Identifier: MIT */
/*
 * native/run.h: the handlers that run a stub. op->imm is the stub; with a memory operand, r0 is
 * its bytes and r1 its alignment less one.
 */
#ifndef CPU_NATIVE_RUN_H
#define CPU_NATIVE_RUN_H

#include "cpu/native/stub.h"

#define MXCSR_MM BIT(17)

op_fn native_run_reg, native_run_reg_fp;
op_fn native_run_load, native_run_load_fp;
op_fn native_run_load_copied; /* the host may want the operand aligned, the guest does not */
op_fn native_run_load_mm, native_run_load_mm_fp; /* the guest does not where MXCSR.MM is set */
op_fn native_run_store, native_run_store_fp;
op_fn native_run_masked; /* by op->aux: */
#define MASKED_WRITES 0x0400
#define MASKED_FP     0x0800 /* it computes with MXCSR */
op_fn native_run_uncached; /* needs no stub: makes one each time */

/* #GP where the operand is not aligned, whatever its segment says. */
void native_check_alignment(struct cpu *c, const struct op *o);

/* The operand's address; #GP where it is not aligned, before #SS for its segment. */
static inline u64 native_ea(struct cpu *c, const struct op *o, bool write)
{
	u64 la;

	if (unlikely(o->flags & OP_EA_SLOW))
		native_check_alignment(c, o);
	la = op_ea(c, o, o->r0, write);
	if (unlikely(la & o->r1))
		native_check_alignment(c, o);
	return la;
}

#endif

/* SPDX-License-Identifier: MIT */
/* native/run.c: running a stub, with the operand in place where the TLB knows it. */
#include <signal.h>
#include "base/guard.h"
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/interpreter/ea.h"
#include "cpu/native/native.h"
#include "cpu/native/run.h"
#include "cpu/table/vendor.h"

void native_enter(struct cpu *c)
{
	asm volatile("stmxcsr %0" : "=m"(c->host_mxcsr));
	asm volatile("fnstcw %0" : "=m"(c->host_fcw));
	c->live_mxcsr = c->host_mxcsr;
}

void native_leave(struct cpu *c)
{
	if (c->live_mxcsr != c->host_mxcsr)
		asm volatile("ldmxcsr %0" : : "m"(c->host_mxcsr));
}

void native_died(struct cpu *c, const struct op *o, u64 la, bool write)
{
	c->op = o;
	switch (guard_fault.sig) {
	case SIGILL: /* a host that lacks the instruction */
		cpu_raise(c, VEC_UD);
	case SIGFPE: /* SDM vol. 3, 6.15, interrupt 19 */
		cpu_raise(c, c->cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
	case GUARD_BROKEN_OFF:
		cpu_restart(c);
	default:
		access_died(c, la, write);
	}
}

static inline __attribute__((always_inline)) u64 call(struct cpu *c, const struct op *o, void *mem,
						      bool fp)
{
	native_stub_fn *f = native_stub(o->imm);

	return fp ? native_call_fp(c, f, mem) : f(c, mem);
}

static inline __attribute__((always_inline)) const struct op *run_reg(struct cpu *c,
								      const struct op *o, bool fp)
{
	if (unlikely(call(c, o, NULL, fp)))
		native_died(c, o, 0, false);
	return o + 1;
}

void native_check_alignment(struct cpu *c, const struct op *o)
{
	u64 la = ea_cut(o, op_offset(c, o) & c->ea_mask);

	if (o->flags & OP_EA_SLOW)
		la += c->seg[o->seg].base;
	c->op = o;
	if (la & o->r1)
		cpu_raise_error(c, VEC_GP, 0);
}

/* A conversion's exceptions may come before those of the store; its flags are then set. */
static COLD void try_store(struct cpu *c, const struct op *o)
{
	u8 value[64];

	if (cpu_vendor_does(c, FACT_STORE_FIRST))
		return;
	if (call(c, o, value, true))
		native_died(c, o, 0, true);
}

/* An operand that no TLB entry reaches: other page, device, or not there. */
static COLD const struct op *run_slow(struct cpu *c, const struct op *o, u64 la, bool fp, bool write)
{
	bool direct;
	void *p;

	if (fp && write)
		try_store(c, o);
	p = access_ptr(c, la, o->r0, write, &direct);
	if (call(c, o, p, fp))
		native_died(c, o, la, write);
	access_ptr_done(c, direct);
	return direct ? o + 1 : op_after_slow_store(c, o);
}

static inline __attribute__((always_inline)) const struct op *
run_mem(struct cpu *c, const struct op *o, bool fp, bool write)
{
	void *p;
	u64 la;

	if (fp && write && unlikely(o->flags & OP_EA_SLOW))
		try_store(c, o);
	la = native_ea(c, o, write);
	p = write ? tlb_write(c->tlb, la, o->r0) : tlb_read(c->tlb, la, o->r0);
	if (unlikely(!p))
		return run_slow(c, o, la, fp, write);
	if (unlikely(call(c, o, p, fp)))
		native_died(c, o, la, write);
	return o + 1;
}

const struct op *native_run_reg(struct cpu *c, const struct op *o)
{
	return run_reg(c, o, false);
}

const struct op *native_run_reg_fp(struct cpu *c, const struct op *o)
{
	return run_reg(c, o, true);
}

const struct op *native_run_load(struct cpu *c, const struct op *o)
{
	return run_mem(c, o, false, false);
}

/* From an operand that may be anywhere. */
static const struct op *run_copied(struct cpu *c, const struct op *o, bool fp)
{
	u8 operand[16] __attribute__((aligned(16)));
	u64 la = op_ea(c, o, o->r0, false);

	access_read(c, la, operand, o->r0);
	if (unlikely(call(c, o, operand, fp)))
		native_died(c, o, la, false);
	return o + 1;
}

const struct op *native_run_load_copied(struct cpu *c, const struct op *o)
{
	return run_copied(c, o, false);
}

/* AMD's misaligned SSE mode: APM vol. 1, 4.2.2. Only where the host has it can a guest set the bit. */
const struct op *native_run_load_mm(struct cpu *c, const struct op *o)
{
	return unlikely(c->mxcsr & MXCSR_MM) ? run_copied(c, o, false) : run_mem(c, o, false, false);
}

const struct op *native_run_load_mm_fp(struct cpu *c, const struct op *o)
{
	return unlikely(c->mxcsr & MXCSR_MM) ? run_copied(c, o, true) : run_mem(c, o, true, false);
}

const struct op *native_run_load_fp(struct cpu *c, const struct op *o)
{
	return run_mem(c, o, true, false);
}

const struct op *native_run_store(struct cpu *c, const struct op *o)
{
	return run_mem(c, o, false, true);
}

const struct op *native_run_store_fp(struct cpu *c, const struct op *o)
{
	return run_mem(c, o, true, true);
}

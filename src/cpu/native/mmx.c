/* SPDX-License-Identifier: MIT */
/*
 * native/mmx.c: MMX registers are the x87 ones by physical number. An MMX instruction sets TOP
 * to 0 and every tag to valid, and a register it writes gets an exponent of ones (SDM vol. 3,
 * 12.2); EMMS empties the tags. The stub does the instruction, this file the rest.
 */
#include <signal.h>
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/native/forms.h"
#include "cpu/native/run.h"
#include "cpu/table/vendor.h"

/* The image lists registers from TOP on: list them from physical register 0. */
static void rotate(struct cpu *c, u32 top)
{
	u8 old[128];

	memcpy(old, c->fx + FX_ST, sizeof(old));
	for (u32 i = 0; i < 8; i++)
		memcpy(c->fx + FX_ST + 16 * ((top + i) & 7), old + 16 * i, 16);
}

static void clear_top(struct cpu *c)
{
	u16 *fsw = native_fx16(c, FX_FSW);
	u32 top = (*fsw & FSW_TOP) >> 11;

	if (top)
		rotate(c, top);
	*fsw &= (u16)~FSW_TOP;
}

void native_mmx_enter(struct cpu *c)
{
	clear_top(c);
	c->fx[FX_FTW] = 0xff;
}

void native_check_mf(struct cpu *c, const struct op *o)
{
	if (likely(!(*native_fx16(c, FX_FSW) & FSW_ES)))
		return;
	/* Whatever CR0.NE says: under VMX it is always set, and KVM shows the same. */
	c->op = o;
	cpu_raise(c, VEC_MF);
}

/*
 * aux: registers written, bit 8: uses MXCSR. The change to MMX state comes before a floating-point
 * exception; the manual does not say, processors do it so.
 */
static void run_stub(struct cpu *c, const struct op *o, void *p, u64 la, bool write)
{
	u32 top = (*native_fx16(c, FX_FSW) & FSW_TOP) >> 11;
	native_stub_fn *f = native_stub(o->imm);
	u64 died;

	if (top)
		rotate(c, top);
	died = o->aux & 0x100 ? native_call_fp(c, f, p) : f(c, p);
	asm volatile("emms");
	if (unlikely(died)) {
		if (top)
			rotate(c, 8 - top);
		if (guard_fault.sig == SIGFPE)
			native_mmx_enter(c);
		native_died(c, o, la, write);
	}
	*native_fx16(c, FX_FSW) &= (u16)~FSW_TOP;
	c->fx[FX_FTW] = 0xff;
	for (u32 set = o->aux & 0xff; set; set &= set - 1)
		*native_fx16(c, FX_ST + 16 * (u32)__builtin_ctz(set) + 8) = 0xffff;
}

const struct op *native_mmx_reg(struct cpu *c, const struct op *o)
{
	native_check_mf(c, o);
	run_stub(c, o, NULL, 0, false);
	return o + 1;
}

static const struct op *run_mem(struct cpu *c, const struct op *o, bool write)
{
	bool direct;
	u64 la;
	void *p;

	native_check_mf(c, o);
	/* Before a fault of the store; the tags after it. */
	if (write && !cpu_vendor_does(c, FACT_MMX_TOP))
		clear_top(c);
	la = native_ea(c, o, write);
	p = access_ptr(c, la, o->r0, write, &direct);
	run_stub(c, o, p, la, write);
	access_ptr_done(c, direct);
	return direct ? o + 1 : op_after_slow_store(c, o);
}

const struct op *native_mmx_load(struct cpu *c, const struct op *o)
{
	return run_mem(c, o, false);
}

const struct op *native_mmx_store(struct cpu *c, const struct op *o)
{
	return run_mem(c, o, true);
}

static const struct op *emms(struct cpu *c, const struct op *o)
{
	native_check_mf(c, o);
	native_mmx_enter(c);
	c->fx[FX_FTW] = 0;
	return o + 1;
}

bool native_decode_emms(struct decoder *d, struct op *op)
{
	op->fn = native_trap(d, UNIT_MMX, false);
	if (!op->fn)
		op->fn = emms;
	return true;
}

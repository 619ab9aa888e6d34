/* SPDX-License-Identifier: MIT */
/* native/mxcsr.c: MXCSR, and vector registers cleared without a stub. */
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/native/forms.h"

static const struct op *ldmxcsr(struct cpu *c, const struct op *o)
{
	u32 v = ld32(c, op_ea(c, o, 4, false));

	if (v & ~native_host.mxcsr_mask)
		cpu_raise_error(c, VEC_GP, 0);
	c->mxcsr = v;
	return o + 1;
}

static const struct op *stmxcsr(struct cpu *c, const struct op *o)
{
	st32(c, op_ea(c, o, 4, true), c->mxcsr);
	return op_after_slow_store(c, o);
}

bool native_decode_mxcsr(struct decoder *d, struct op *op)
{
	bool vex = d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	bool load = d->i.mnemonic == ZYDIS_MNEMONIC_LDMXCSR ||
		    d->i.mnemonic == ZYDIS_MNEMONIC_VLDMXCSR;

	native_memory(d, op);
	op->fn = native_trap(d, vex ? UNIT_VEX : UNIT_SSE, false);
	if (!op->fn)
		op->fn = load ? ldmxcsr : stmxcsr;
	return true;
}

/* Registers 0 to 15 in 64-bit mode, 0 to 7 elsewhere; all above `from` bytes. */
static void clear(struct cpu *c, u32 from)
{
	u32 n = cpu_long(c) ? 16 : 8;

	for (u32 i = 0; i < n; i++)
		memset(c->v[i].b + from, 0, sizeof(c->v[i].b) - from);
}

const struct op *native_vzeroupper(struct cpu *c, const struct op *o)
{
	clear(c, 16);
	return o + 1;
}

static const struct op *vzeroall(struct cpu *c, const struct op *o)
{
	clear(c, 0);
	return o + 1;
}

bool native_decode_vzero(struct decoder *d, struct op *op)
{
	op->fn = native_trap(d, UNIT_VEX, false);
	if (!op->fn)
		op->fn = d->i.mnemonic == ZYDIS_MNEMONIC_VZEROALL ? vzeroall : native_vzeroupper;
	return true;
}

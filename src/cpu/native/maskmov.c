/* SPDX-License-Identifier: MIT */
/*
 * native/maskmov.c: MASKMOVQ and (V)MASKMOVDQU store the bytes a mask register selects at
 * DS:[rDI]. In C, byte by byte: bytes masked off must not be accessed. But all of the operand is
 * looked at, the upper quadword first, even under a mask of nothing: the manual leaves that to
 * the processor (SDM vol. 2, MASKMOVDQU), and this is what processors do.
 */
#include "cpu/access.h"
#include "cpu/interpreter/ea.h"
#include "cpu/native/forms.h"

/* r0: source, r1: mask, as register numbers; aux: bytes. */
static void store_bytes(struct cpu *c, const struct op *o, const u8 *src, const u8 *mask)
{
	for (u32 at = o->aux; at; at -= 8)
		access_probe(c, op_ea_at(c, o, at - 8, 8, true), 8, true);
	for (u32 i = 0; i < o->aux; i++) {
		if (mask[i] & 0x80)
			st8(c, op_ea_at(c, o, i, 1, true), src[i]);
	}
}

static const struct op *maskmovdqu(struct cpu *c, const struct op *o)
{
	store_bytes(c, o, c->v[o->r0].b, c->v[o->r1].b);
	return op_after_slow_store(c, o);
}

/* TOP is 0. */
static const u8 *mm_reg(const struct cpu *c, u32 phys)
{
	return c->fx + FX_ST + 16 * phys;
}

static const struct op *maskmovq(struct cpu *c, const struct op *o)
{
	native_check_mf(c, o);
	native_mmx_enter(c); /* and stays so when the store faults */
	store_bytes(c, o, mm_reg(c, o->r0), mm_reg(c, o->r1));
	return op_after_slow_store(c, o);
}

bool native_decode_maskmov(struct decoder *d, struct op *op)
{
	bool mmx = d->i.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ;
	bool vex = d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;

	native_memory(d, op);
	op->fn = native_trap(d, mmx ? UNIT_MMX : vex ? UNIT_VEX : UNIT_SSE, false);
	if (op->fn)
		return true;
	op->r0 = (u8)ZydisRegisterGetId(d->o[0].reg.value);
	op->r1 = (u8)ZydisRegisterGetId(d->o[1].reg.value);
	op->aux = mmx ? 8 : 16;
	op->fn = mmx ? maskmovq : maskmovdqu;
	return true;
}

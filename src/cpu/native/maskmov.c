/* SPDX-License-Identifier: MIT */
/*
 * native/maskmov.c: MASKMOVQ and (V)MASKMOVDQU store the bytes a mask register selects at
 * DS:[rDI]. In C, byte by byte: bytes masked off must not be accessed.
 */
#include "cpu/access.h"
#include "cpu/native/forms.h"

/* r0: source, r1: mask, as register numbers; aux: bytes. */
static void store_bytes(struct cpu *c, const struct op *o, const u8 *src, const u8 *mask)
{
	u64 la = op_ea(c, o, o->aux, true);

	for (u32 i = 0; i < o->aux; i++) {
		if (mask[i] & 0x80)
			access_probe(c, la + i, 1, true);
	}
	for (u32 i = 0; i < o->aux; i++) {
		if (mask[i] & 0x80)
			st8(c, la + i, src[i]);
	}
}

static const struct op *maskmovdqu(struct cpu *c, const struct op *o)
{
	store_bytes(c, o, c->v[o->r0].b, c->v[o->r1].b);
	return o + 1;
}

static const u8 *mm_reg(const struct cpu *c, u32 phys)
{
	u32 top = (c->fx[FX_FSW + 1] >> 3) & 7;

	return c->fx + FX_ST + 16 * ((phys - top) & 7);
}

static const struct op *maskmovq(struct cpu *c, const struct op *o)
{
	native_check_mf(c, o);
	store_bytes(c, o, mm_reg(c, o->r0), mm_reg(c, o->r1));
	native_mmx_enter(c);
	return o + 1;
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

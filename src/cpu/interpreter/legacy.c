/* SPDX-License-Identifier: MIT */
/*
 * What 64-bit mode has dropped and no host instruction can do any more: decimal adjustment
 * (SDM vol. 2, AAA to DAS), SALC, BOUND.
 */
#include "cpu/interpreter/value.h"

#include "cpu/fault.h"
#include "cpu/interpreter/families.h"

#define AL R8(c, REG_OFF(RAX))
#define AH R8(c, REG_OFF(RAX) + 1)

/* SF, ZF and PF of a byte, the other status flags as given. */
static u16 flags_of(u8 v, u16 others)
{
	u16 f;

	asm("testb %b1, %b1" FLAGS_OUT : "=&a"(f) : "r"((u32)v) : "cc");
	return (u16)((f & (AF_SF | AF_ZF | AF_PF)) | others);
}

static const struct op *ascii_adjust(struct cpu *c, const struct op *o, s16 by)
{
	bool adjust = (AL & 15) > 9 || (c->af & AF_AF);

	if (adjust)
		R16(c, REG_OFF(RAX)) = (u16)(R16(c, REG_OFF(RAX)) + by);
	AL &= 15;
	c->af = flags_of(AL, adjust ? AF_AF | AF_CF : 0);
	OP_NEXT(c, o);
}

static HANDLER(aaa)
{
	return ascii_adjust(c, o, 0x106);
}

static HANDLER(aas)
{
	return ascii_adjust(c, o, -0x106);
}

static HANDLER(aam)
{
	u8 base = (u8)o->imm, al = AL;

	c->op = o;
	if (!base)
		cpu_raise(c, VEC_DE);
	AH = al / base;
	AL = al % base;
	c->af = flags_of(AL, 0);
	OP_NEXT(c, o);
}

static HANDLER(aad)
{
	u8 al = AL;
	u16 f;

	/* Of the flags it leaves undefined processors show the addition's. */
	asm("addb %b2, %b1" FLAGS_OUT : "=&a"(f), "+&q"(al) : "q"((u8)(AH * (u8)o->imm)) : "cc");
	AL = al;
	AH = 0;
	c->af = f;
	OP_NEXT(c, o);
}

static const struct op *decimal_adjust(struct cpu *c, const struct op *o, bool subtract)
{
	u8 old = AL, al = old;
	bool cf = c->af & AF_CF, carry = false;
	u16 others = 0;

	if ((old & 15) > 9 || (c->af & AF_AF)) {
		carry = cf || (subtract ? al < 6 : al > 0xf9);
		al = (u8)(subtract ? al - 6 : al + 6);
		others |= AF_AF;
	}
	if (old > 0x99 || cf) {
		al = (u8)(subtract ? al - 0x60 : al + 0x60);
		carry = true;
	} else if (!subtract) {
		carry = false;
	}
	AL = al;
	c->af = flags_of(al, (u16)(others | (carry ? AF_CF : 0)));
	OP_NEXT(c, o);
}

static HANDLER(daa)
{
	return decimal_adjust(c, o, false);
}

static HANDLER(das)
{
	return decimal_adjust(c, o, true);
}

static HANDLER(salc)
{
	AL = c->af & AF_CF ? 0xff : 0;
	OP_NEXT(c, o);
}

bool decode_legacy(struct decoder *d, struct op *op)
{
	static const struct {
		ZydisMnemonic m;
		op_fn *fn;
	} t[] = {{ZYDIS_MNEMONIC_AAA, aaa}, {ZYDIS_MNEMONIC_AAS, aas}, {ZYDIS_MNEMONIC_AAM, aam},
		 {ZYDIS_MNEMONIC_AAD, aad}, {ZYDIS_MNEMONIC_DAA, daa}, {ZYDIS_MNEMONIC_DAS, das},
		 {ZYDIS_MNEMONIC_SALC, salc}};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		if (t[i].m == d->i.mnemonic)
			op->fn = t[i].fn;
	}
	if (d->o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		op->imm = (u8)d->o[0].imm.value.u;
	return op->fn;
}

static s32 bound_value(u64 v, u32 size)
{
	return size == 2 ? (s16)v : (s32)v;
}

/* The upper bound is looked at only when the lower one holds. */
static HANDLER(bound)
{
	u32 size = o->aux;
	s32 v = bound_value(R32(c, o->r0), size);
	s32 low = bound_value(ea_load(c, op_ea(c, o, size, false), size), size);
	u64 la;

	if (v < low && !cpu_vendor_does(c, FACT_BOUND_BOTH))
		cpu_raise(c, VEC_BR);
	la = (op_offset(c, o) + size) & c->ea_mask;
	if (o->flags & OP_EA_SLOW)
		la = op_ea_slow(c, o, la, size, false);
	if (v > bound_value(ea_load(c, la, size), size) || v < low)
		cpu_raise(c, VEC_BR);
	OP_NEXT(c, o);
}

bool decode_bound(struct decoder *d, struct op *op)
{
	op->aux = d->o[0].size / 8;
	op->fn = bound;
	return decode_form(d, op) == FORM_RM;
}

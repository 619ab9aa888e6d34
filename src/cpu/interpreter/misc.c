/* SPDX-License-Identifier: MIT */
/*
 * NOP and its kin, flag instructions, fences, cache control, UD.
 */
#include "cpu/interpreter/value.h"

#include "cpu/interpreter/families.h"
#include "cpu/spin.h"

#define OPCODE_PREFETCH 0x0d /* of the map 0F: PREFETCH and PREFETCHW */

static HANDLER(nop)
{
	OP_NEXT(c, o);
}

/* Prefetches, hints and NOPs with an operand: none of them accesses it. */
bool decode_nop(struct decoder *d, struct op *op)
{
	if (d->i.opcode_map == ZYDIS_OPCODE_MAP_0F && d->i.opcode == OPCODE_PREFETCH &&
	    d->i.raw.modrm.mod == 3 && decode_vendor(d, FACT_PREFETCH_REG))
		return false;
	op->fn = nop;
	return true;
}

static HANDLER(pause_)
{
	asm volatile("pause");
	spin_pause(c);
	OP_NEXT(c, o);
}

bool decode_pause(struct decoder *d, struct op *op)
{
	if (d->i.raw.rex.B && decode_vendor(d, FACT_F3_XCHG))
		return decode_xchg_r8(d, op);
	op->fn = pause_;
	return true;
}

/* The host orders the guest's accesses; LFENCE also holds back what follows RDTSC. */
static HANDLER(lfence)
{
	asm volatile("lfence" : : : "memory");
	OP_NEXT(c, o);
}

static HANDLER(sfence)
{
	asm volatile("sfence" : : : "memory");
	OP_NEXT(c, o);
}

static HANDLER(mfence)
{
	asm volatile("mfence" : : : "memory");
	OP_NEXT(c, o);
}

bool decode_fence(struct decoder *d, struct op *op)
{
	op->fn = d->i.mnemonic == ZYDIS_MNEMONIC_LFENCE	  ? lfence
		 : d->i.mnemonic == ZYDIS_MNEMONIC_SFENCE ? sfence
							  : mfence;
	return true;
}

/* Cache control is checked as a load of a byte (SDM vol. 2, CLFLUSH) and does nothing: guest
 * memory is coherent. */
static HANDLER(cache)
{
	ld8(c, op_ea(c, o, 1, false));
	OP_NEXT(c, o);
}

bool decode_cache(struct decoder *d, struct op *op)
{
	decode_mem(d, &d->o[0], op);
	op->fn = cache;
	return true;
}

bool decode_ud(struct decoder *d, struct op *op)
{
	return decode_raise(d, op, VEC_UD);
}

static HANDLER(clc)
{
	c->af &= (u16)~AF_CF;
	OP_NEXT(c, o);
}

static HANDLER(stc)
{
	c->af |= AF_CF;
	OP_NEXT(c, o);
}

static HANDLER(cmc)
{
	c->af ^= AF_CF;
	OP_NEXT(c, o);
}

static HANDLER(cld)
{
	c->flags &= ~FL_DF;
	OP_NEXT(c, o);
}

static HANDLER(std_)
{
	c->flags |= FL_DF;
	OP_NEXT(c, o);
}

static HANDLER(lahf)
{
	/* Bits 5, 3 and 1 read 0, 0 and 1. */
	R8(c, REG_OFF(RAX) + 1) = (u8)((c->af >> 8 & 0xd5) | 2);
	OP_NEXT(c, o);
}

static HANDLER(sahf)
{
	c->af = (u16)((c->af & AF_OF) | (R8(c, REG_OFF(RAX) + 1) & 0xd5) << 8);
	OP_NEXT(c, o);
}

bool decode_flag(struct decoder *d, struct op *op)
{
	static const struct {
		ZydisMnemonic m;
		op_fn *fn;
	} t[] = {{ZYDIS_MNEMONIC_CLC, clc},   {ZYDIS_MNEMONIC_STC, stc}, {ZYDIS_MNEMONIC_CMC, cmc},
		 {ZYDIS_MNEMONIC_CLD, cld},   {ZYDIS_MNEMONIC_STD, std_}, {ZYDIS_MNEMONIC_LAHF, lahf},
		 {ZYDIS_MNEMONIC_SAHF, sahf}};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		if (t[i].m == d->i.mnemonic)
			op->fn = t[i].fn;
	}
	return op->fn;
}

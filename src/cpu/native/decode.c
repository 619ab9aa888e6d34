/* SPDX-License-Identifier: MIT */
/* native/decode.c: which handler carries out a form, and may it be executed now. */
#include "cpu/fault.h"
#include "cpu/native/forms.h"
#include "cpu/native/native.h"
#include "cpu/native/run.h"

const struct op *native_raise_ud(struct cpu *c, const struct op *o)
{
	c->op = o;
	cpu_raise(c, VEC_UD);
}

const struct op *native_raise_nm(struct cpu *c, const struct op *o)
{
	c->op = o;
	cpu_raise(c, VEC_NM);
}

op_fn *native_trap(const struct decoder *d, enum native_unit unit, bool avx512)
{
	u32 mode = d->key & BLOCK_KEY_MODE;

	switch (unit) {
	case UNIT_X87:
		if (d->key & BLOCK_KEY_EM)
			return native_raise_nm;
		break;
	case UNIT_MMX:
		if (d->key & BLOCK_KEY_EM)
			return native_raise_ud;
		break;
	case UNIT_SSE:
		if ((d->key & BLOCK_KEY_EM) || !(d->key & BLOCK_KEY_SSE))
			return native_raise_ud;
		break;
	case UNIT_VEX:
	case UNIT_EVEX:
		if (mode == MODE_REAL || mode == MODE_V86 || !(d->key & BLOCK_KEY_AVX) ||
		    (avx512 && !(d->key & BLOCK_KEY_AVX512)))
			return native_raise_ud;
		break;
	}
	return d->key & BLOCK_KEY_TS ? native_raise_nm : NULL;
}

const ZydisDecodedOperand *native_memory(struct decoder *d, struct op *op)
{
	for (unsigned i = 0; i < d->i.operand_count; i++) {
		if (d->o[i].type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		decode_mem(d, &d->o[i], op);
		op->r0 = (u8)(d->o[i].size / 8);
		return &d->o[i];
	}
	return NULL;
}

/*
 * Legacy SSE wants 16-byte operands aligned but for the moves that say otherwise and the string
 * compares; VEX and EVEX only the moves named for it (SDM vol. 2, 2.4 and 2.8).
 */
u8 native_alignment(const struct decoder *d, const ZydisDecodedOperand *o)
{
	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_VMOVAPS:
	case ZYDIS_MNEMONIC_VMOVAPD:
	case ZYDIS_MNEMONIC_VMOVDQA:
	case ZYDIS_MNEMONIC_VMOVDQA32:
	case ZYDIS_MNEMONIC_VMOVDQA64:
	case ZYDIS_MNEMONIC_VMOVNTDQ:
	case ZYDIS_MNEMONIC_VMOVNTDQA:
	case ZYDIS_MNEMONIC_VMOVNTPS:
	case ZYDIS_MNEMONIC_VMOVNTPD:
		return (u8)(o->size / 8 - 1);
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_PCMPESTRI:
	case ZYDIS_MNEMONIC_PCMPESTRM:
	case ZYDIS_MNEMONIC_PCMPISTRI:
	case ZYDIS_MNEMONIC_PCMPISTRM:
		return 0;
	default:
		return d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && o->size == 128 ? 15 : 0;
	}
}

/* Of those that have to be aligned: may MXCSR.MM lift that? Not of a move, which is named for it. */
static bool mm_lifts_alignment(const struct decoder *d)
{
	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_MOVAPS:
	case ZYDIS_MNEMONIC_MOVAPD:
	case ZYDIS_MNEMONIC_MOVDQA:
	case ZYDIS_MNEMONIC_MOVNTDQA:
		return false;
	default:
		return d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
	}
}

static bool is_sha(const struct decoder *d)
{
	return d->i.meta.isa_set == ZYDIS_ISA_SET_SHA;
}

/* They name general registers of 32 bits, or with W of 64, which other modes do not have. */
static bool is_lane_w(const struct decoder *d)
{
	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_VPINSRD:
	case ZYDIS_MNEMONIC_VPEXTRD:
		return d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && d->i.raw.vex.W &&
		       d->i.machine_mode != ZYDIS_MACHINE_MODE_LONG_64;
	default:
		return false;
	}
}

static op_fn *pick_handler(const struct decoder *d, const struct native_insn *n, bool fp, bool mem, bool write,
			   bool aligned)
{
	if (n->unit == UNIT_MMX)
		return !mem ? native_mmx_reg : write ? native_mmx_store : native_mmx_load;
	if (!mem)
		return fp ? native_run_reg_fp : native_run_reg;
	if (write)
		return fp ? native_run_store_fp : native_run_store;
	if (aligned && mm_lifts_alignment(d))
		return fp ? native_run_load_mm_fp : native_run_load_mm;
	return fp ? native_run_load_fp : native_run_load;
}

static bool decode_stub(struct decoder *d, struct op *op, bool fp)
{
	const ZydisDecodedOperand *mem;
	struct native_insn n;
	enum native_unit unit;

	if (is_lane_w(d) && decode_vendor(d, FACT_LANE_W))
		return false;
	if (!native_recode(d, &n))
		return false;
	unit = n.unit;
	if (unit == UNIT_MMX && (n.vec_in | n.vec_out))
		unit = UNIT_SSE;
	op->fn = native_trap(d, unit, n.unit == UNIT_EVEX || n.k_in || n.k_out);
	if (op->fn)
		return true;
	if (!native_stub_assign(d->c, op, &n))
		return true;
	op->aux = n.unit == UNIT_MMX ? (u16)(n.mm_out | fp << 8) : 0;
	mem = native_memory(d, op);
	if (mem)
		op->r1 = native_alignment(d, mem);
	/* Their 8 bytes are the only ones of a vector instruction that #AC does not meet, if it meets
	 * not all. */
	if ((d->i.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH ||
	     d->i.mnemonic == ZYDIS_MNEMONIC_VCVTPH2PS) &&
	    !decode_vendor(d, FACT_AC_VECTORS))
		op->flags |= OP_NO_AC;
	if (mem && native_masked(d, mem, fp, op))
		return true;
	op->fn = pick_handler(d, &n, fp, mem, mem && (mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE), mem && op->r1);
	if (mem && is_sha(d) && decode_vendor(d, FACT_SHA_UNALIGNED)) {
		op->r1 = 0;
		op->fn = native_run_load_copied;
	}
	return true;
}

bool native_decode(struct decoder *d, struct op *op)
{
	/* A name it shares with a string instruction, whose table line sends it here. */
	return decode_stub(d, op, d->i.mnemonic == ZYDIS_MNEMONIC_CMPSD);
}

bool native_decode_fp(struct decoder *d, struct op *op)
{
	return decode_stub(d, op, true);
}

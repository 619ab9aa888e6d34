/* SPDX-License-Identifier: MIT */
/* soak/facts.c: which pairs a fact of table/vendor.h decides, whichever vendor's processor this is. */
#include "soak.h"

static bool named(const struct soak_case *t, const char *part)
{
	return strstr(ZydisMnemonicGetString(t->i.mnemonic), part);
}

static bool is(const struct soak_case *t, ZydisMnemonic m)
{
	return t->i.mnemonic == m;
}

static bool is_near(const struct soak_case *t)
{
	return t->i.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR ||
	       t->i.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT;
}

static bool has_66(const struct soak_case *t)
{
	return t->i.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE;
}

static const ZydisDecodedOperand *memory(const struct soak_case *t)
{
	for (unsigned n = 0; n < t->i.operand_count; n++) {
		if (t->o[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return &t->o[n];
	}
	return NULL;
}

static bool stores(const struct soak_case *t)
{
	const ZydisDecodedOperand *m = memory(t);

	return m && (m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
}

static bool is_far_pointer(const struct soak_case *t)
{
	return memory(t) && (t->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ||
			     is(t, ZYDIS_MNEMONIC_LSS) || is(t, ZYDIS_MNEMONIC_LFS) ||
			     is(t, ZYDIS_MNEMONIC_LGS));
}

static bool is_vector(const struct soak_case *t)
{
	return t->i.meta.exception_class != ZYDIS_EXCEPTION_CLASS_NONE;
}

static bool is_area(const struct soak_case *t)
{
	return named(t, "xsave") || named(t, "xrstor");
}

static bool faulted(const struct soak_result *r)
{
	return r->host_end.vector != VEC_BP;
}

bool fact_decides(enum vendor_fact f, const struct soak_case *t, const struct soak_result *r)
{
	const ZydisDecodedOperand *m = memory(t);

	switch (f) {
	case FACT_FP_POINTERS:
		return named(t, "fxsave") || named(t, "xsave");
	case FACT_NEAR_16:
		return t->mode == SOAK_64 && is_near(t) && has_66(t) && !t->i.raw.rex.W;
	case FACT_FAR_NO_W:
		return t->i.raw.rex.W && is_far_pointer(t);
	case FACT_F3_XCHG:
		return is(t, ZYDIS_MNEMONIC_PAUSE) && t->i.raw.rex.B;
	case FACT_PREFETCH_REG:
		return is(t, ZYDIS_MNEMONIC_NOP) && t->i.opcode == 0x0d;
	case FACT_PUSH_SEG:
		return is(t, ZYDIS_MNEMONIC_PUSH) && t->i.operand_width == 32 &&
		       ZydisRegisterGetClass(t->o[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;
	case FACT_REP_TRAP:
		return t->i.meta.category == ZYDIS_CATEGORY_STRINGOP && (t->s.rflags & FL_TF);
	case FACT_AC_VECTORS:
		return is_vector(t) && m && m->size >= 128 && (t->s.rflags & FL_AC);
	case FACT_SHA_UNALIGNED:
		return m && t->i.meta.isa_set == ZYDIS_ISA_SET_SHA;
	case FACT_LANE_W:
		return t->mode != SOAK_64 && t->i.raw.vex.W &&
		       (is(t, ZYDIS_MNEMONIC_VPINSRD) || is(t, ZYDIS_MNEMONIC_VPEXTRD));
	case FACT_MMX_TOP:
		return faulted(r) && stores(t) && t->i.meta.isa_ext == ZYDIS_ISA_EXT_MMX;
	case FACT_HI16_IN_USE:
		return t->mode != SOAK_64 && named(t, "xsave");
	case FACT_IMAGE_GP:
		return is_area(t) && (t->s.rflags & FL_AC);
	case FACT_IMAGE_WHOLE:
		return is_area(t) && !(t->s.reg[RAX] & 1);
	case FACT_MXCSR_FIRST:
		return named(t, "xrstor") && r->host_end.vector == VEC_GP;
	case FACT_GATHER_IN_TURN:
		return faulted(r) && named(t, "gather");
	case FACT_BOUND_BOTH:
		return is(t, ZYDIS_MNEMONIC_BOUND);
	case FACT_CALL_TARGET:
		return is(t, ZYDIS_MNEMONIC_CALL) && faulted(r);
	case FACT_MOVSXD_32:
		return is(t, ZYDIS_MNEMONIC_MOVSXD) && t->i.operand_width == 16;
	case FACT_STORE_FIRST:
		return faulted(r) && stores(t) &&
		       (t->i.meta.category == ZYDIS_CATEGORY_X87_ALU ||
			is(t, ZYDIS_MNEMONIC_VCVTPS2PH));
	default:
		return false;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * ADD, OR, ADC, SBB, AND, SUB, XOR, CMP and TEST.
 */
#include "cpu/interpreter/value.h"

#include "cpu/fault.h"
#include "cpu/interpreter/families.h"

/* Destination a register. */
#define TO_REG(name, wr, bits)                                                                     \
	static HANDLER(name##_rr##bits)                                                            \
	{                                                                                          \
		u##bits v = name##bits(R##bits(c, o->r0), R##bits(c, o->r1), &c->af);              \
		if (wr)                                                                            \
			set_r##bits(c, o->r0, v);                                                  \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(name##_ri##bits)                                                            \
	{                                                                                          \
		u##bits v = name##bits(R##bits(c, o->r0), (u##bits)o->imm, &c->af);                \
		if (wr)                                                                            \
			set_r##bits(c, o->r0, v);                                                  \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	LOAD_HANDLER(name##_rm##bits, bits,                                                        \
		     u##bits v = name##bits(R##bits(c, o->r0), in, &c->af);                        \
		     if (wr) set_r##bits(c, o->r0, v))

/* Destination memory, written. */
#define TO_MEM(name, form, operand, bits)                                                          \
	RMW_HANDLER(name##_##form##bits, bits, name##bits(in, operand, &af))

/* Memory compared only. */
#define CMP_MEM(name, form, operand, bits)                                                         \
	LOAD_HANDLER(name##_##form##bits, bits, name##bits(in, operand, &c->af))

#define LOCKED(name, form, operand, insn, carry, fc, bits, s, m)                                   \
	LOCK_HANDLER(name##_lock_##form##bits, name##_##form##bits, bits,                          \
		     op_ea(c, o, bits / 8, true), carry, fc, insn s " %" m "1, (%2)",              \
		     "r"(operand), "r"(p))

#define ARITH(name, insn, carry, fc, bits, s, m)                                                   \
	VALUE(name, insn, carry, fc, u##bits, bits, s, m)                                          \
	TO_REG(name, true, bits)                                                                   \
	TO_MEM(name, mr, R##bits(c, o->r1), bits)                                                  \
	TO_MEM(name, mi, (u##bits)o->imm, bits)                                                    \
	LOCKED(name, mr, R##bits(c, o->r1), insn, carry, fc, bits, s, m)                           \
	LOCKED(name, mi, (u##bits)o->imm, insn, carry, fc, bits, s, m)

#define COMPARE(name, insn, bits, s, m)                                                            \
	VALUE(name, insn, "", "=&a", u##bits, bits, s, m)                                          \
	TO_REG(name, false, bits)                                                                  \
	CMP_MEM(name, mr, R##bits(c, o->r1), bits)                                                 \
	CMP_MEM(name, mi, (u##bits)o->imm, bits)

#define ADD(bits, s, m) ARITH(add, "add", "", "=&a", bits, s, m)
#define OR(bits, s, m)	ARITH(or, "or", "", "=&a", bits, s, m)
#define ADC(bits, s, m) ARITH(adc, "adc", CARRY_IN, "+&a", bits, s, m)
#define SBB(bits, s, m) ARITH(sbb, "sbb", CARRY_IN, "+&a", bits, s, m)
#define AND(bits, s, m) ARITH(and, "and", "", "=&a", bits, s, m)
#define SUB(bits, s, m) ARITH(sub, "sub", "", "=&a", bits, s, m)
#define XOR(bits, s, m) ARITH(xor, "xor", "", "=&a", bits, s, m)
#define CMP(bits, s, m) COMPARE(cmp, "cmp", bits, s, m)
#define TEST(bits, s, m) COMPARE(test, "test", bits, s, m)
EACH_SIZE(ADD)
EACH_SIZE(OR)
EACH_SIZE(ADC)
EACH_SIZE(SBB)
EACH_SIZE(AND)
EACH_SIZE(SUB)
EACH_SIZE(XOR)
EACH_SIZE(CMP)
EACH_SIZE(TEST)

/* xor r, r: the idiom that clears. */
static HANDLER(alu_clear)
{
	R64(c, o->r0) = 0;
	c->af = AF_ZF | AF_PF;
	OP_NEXT(c, o);
}

#define FORMS(n) {SIZES(n##_rr), SIZES(n##_ri), SIZES(n##_rm), SIZES(n##_mr), SIZES(n##_mi)}
#define LOCKS(n) {SIZES(n##_lock_mr), SIZES(n##_lock_mi)}

static op_fn *const plain[][NR_FORMS][4] = {FORMS(add), FORMS(or),  FORMS(adc), FORMS(sbb), FORMS(and),
					    FORMS(sub), FORMS(xor), FORMS(cmp), FORMS(test)};
static op_fn *const locked[][2][4] = {LOCKS(add), LOCKS(or),  LOCKS(adc), LOCKS(sbb),
				      LOCKS(and), LOCKS(sub), LOCKS(xor)};

static unsigned which(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_ADD:
		return 0;
	case ZYDIS_MNEMONIC_OR:
		return 1;
	case ZYDIS_MNEMONIC_ADC:
		return 2;
	case ZYDIS_MNEMONIC_SBB:
		return 3;
	case ZYDIS_MNEMONIC_AND:
		return 4;
	case ZYDIS_MNEMONIC_SUB:
		return 5;
	case ZYDIS_MNEMONIC_XOR:
		return 6;
	case ZYDIS_MNEMONIC_CMP:
		return 7;
	default:
		return 8;
	}
}

bool decode_alu(struct decoder *d, struct op *op)
{
	enum form f = decode_form(d, op);
	unsigned size = decode_size(&d->o[0]);
	unsigned n = which(d->i.mnemonic);

	if (f == FORM_NONE)
		return false;
	if (op->flags & OP_LOCK) {
		if (n >= ARRAY_SIZE(locked) || (f != FORM_MR && f != FORM_MI))
			return false;
		op->fn = locked[n][f - FORM_MR][size];
	} else {
		op->fn = plain[n][f][size];
		if (op->fn == xor_rr32 && op->r0 == op->r1)
			op->fn = alu_clear;
	}
	return true;
}

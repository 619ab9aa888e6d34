/* SPDX-License-Identifier: MIT */
/*
 * INC, DEC, NEG and NOT.
 */
#include "cpu/interpreter/value.h"

#include "cpu/interpreter/families.h"

/* INC and DEC leave CF, NOT leaves every flag: they are given what was and capture what is. */
#define UNARY(name, insn, before, bits, s, m)                                                      \
	static inline u##bits name##bits(u##bits a, u16 *af)                                       \
	{                                                                                          \
		u16 f = *af;                                                                       \
		asm(before insn s " %" m "0" FLAGS_OUT : "+r"(a), "+&a"(f) : : "cc");              \
		*af = f;                                                                           \
		return a;                                                                          \
	}                                                                                          \
	static HANDLER(name##_r##bits)                                                             \
	{                                                                                          \
		set_r##bits(c, o->r0, name##bits(R##bits(c, o->r0), &c->af));                      \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	RMW_HANDLER(name##_m##bits, bits, name##bits(in, &af))                                     \
	LOCK_HANDLER(name##_lock_m##bits, name##_m##bits, bits, op_ea(c, o, bits / 8, true),       \
		     before, "+&a", insn s " (%1)", "r"(p))

#define INC(bits, s, m) UNARY(inc, "inc", CARRY_IN, bits, s, m)
#define DEC(bits, s, m) UNARY(dec, "dec", CARRY_IN, bits, s, m)
#define NEG(bits, s, m) UNARY(neg, "neg", "", bits, s, m)
#define NOT(bits, s, m) UNARY(not, "not", FLAGS_IN, bits, s, m)
EACH_SIZE(INC)
EACH_SIZE(DEC)
EACH_SIZE(NEG)
EACH_SIZE(NOT)

#define FORMS(n) {SIZES(n##_r), SIZES(n##_m), SIZES(n##_lock_m)}

bool decode_unary(struct decoder *d, struct op *op)
{
	static op_fn *const fn[][3][4] = {FORMS(inc), FORMS(dec), FORMS(neg), FORMS(not )};
	ZydisMnemonic m = d->i.mnemonic;
	unsigned n = m == ZYDIS_MNEMONIC_INC   ? 0
		     : m == ZYDIS_MNEMONIC_DEC ? 1
		     : m == ZYDIS_MNEMONIC_NEG ? 2
					       : 3;
	bool mem = decode_rm(d, &d->o[0], op);

	if ((op->flags & OP_LOCK) && !mem)
		return false;
	op->fn = fn[n][op->flags & OP_LOCK ? 2 : mem][decode_size(&d->o[0])];
	return true;
}

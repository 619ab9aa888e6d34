/* SPDX-License-Identifier: MIT */
/*
 * Shifts and rotates, by an immediate, by one and by CL; SHLD and SHRD.
 *
 * A count of zero leaves the flags, rotates leave all but CF and OF: the host is given all the
 * guest's flags before and asked after. Shifts by a constant that is not zero need not. Here every
 * count is in CL; OF after a rotate by more than one is undefined, and a processor may treat the
 * immediate form's another way (rotate_keeps_of()).
 */
#include "cpu/interpreter/value.h"

#include "cpu/interpreter/families.h"

#define SHIFT_VALUE(name, insn, before, fc, bits, s, m)                                            \
	static inline u##bits name##bits(u##bits a, u8 count, u16 *af)                             \
	{                                                                                          \
		u16 f = *af;                                                                       \
		asm(before insn s " %%cl, %" m "0" FLAGS_OUT                                       \
		    : "+r"(a), fc(f)                                                               \
		    : "c"(count)                                                                   \
		    : "cc");                                                                       \
		*af = f;                                                                           \
		return a;                                                                          \
	}

#define FORM_REG(name, value, form, count, bits)                                                   \
	static HANDLER(name##_r##form##bits)                                                       \
	{                                                                                          \
		set_r##bits(c, o->r0, value##bits(R##bits(c, o->r0), count, &c->af));              \
		OP_NEXT(c, o);                                                                     \
	}
#define FORM_MEM(name, value, form, count, bits)                                                   \
	RMW_HANDLER(name##_m##form##bits, bits, value##bits(in, count, &af))
#define CL R8(c, REG_OFF(RCX))
#define IMM ((u8)o->imm)

#define ROTATE(name, insn, bits, s, m)                                                             \
	SHIFT_VALUE(name, insn, FLAGS_IN, "+&a", bits, s, m)                                       \
	FORM_REG(name, name, i, IMM, bits)                                                         \
	FORM_REG(name, name, c, CL, bits)                                                          \
	FORM_MEM(name, name, i, IMM, bits)                                                         \
	FORM_MEM(name, name, c, CL, bits)
/* n: by a constant that is not zero */
#define SHIFT(name, insn, bits, s, m)                                                              \
	ROTATE(name, insn, bits, s, m)                                                             \
	SHIFT_VALUE(name##_quick, insn, "", "=&a", bits, s, m)                                     \
	FORM_REG(name, name##_quick, n, IMM, bits)                                                 \
	FORM_MEM(name, name##_quick, n, IMM, bits)

/* k: by a constant above one, where that leaves OF alone */
#define ROTATE_KEEPS(name, insn, bits, s, m)                                                       \
	ROTATE(name, insn, bits, s, m)                                                             \
	static inline u##bits name##_keep##bits(u##bits a, u8 count, u16 *af)                      \
	{                                                                                          \
		u16 before = *af & AF_OF;                                                          \
		a = name##bits(a, count, af);                                                      \
		*af = (u16)((*af & ~AF_OF) | before);                                              \
		return a;                                                                          \
	}                                                                                          \
	FORM_REG(name, name##_keep, k, IMM, bits)

#define ROL(bits, s, m) ROTATE_KEEPS(rol, "rol", bits, s, m)
#define ROR(bits, s, m) ROTATE_KEEPS(ror, "ror", bits, s, m)
#define RCL(bits, s, m) ROTATE(rcl, "rcl", bits, s, m)
#define RCR(bits, s, m) ROTATE(rcr, "rcr", bits, s, m)
#define SHL(bits, s, m) SHIFT(shl, "shl", bits, s, m)
#define SHR(bits, s, m) SHIFT(shr, "shr", bits, s, m)
#define SAR(bits, s, m) SHIFT(sar, "sar", bits, s, m)
EACH_SIZE(ROL)
EACH_SIZE(ROR)
EACH_SIZE(RCL)
EACH_SIZE(RCR)
EACH_SIZE(SHL)
EACH_SIZE(SHR)
EACH_SIZE(SAR)

enum { BY_IMM, BY_CL, BY_QUICK, BY_KEEP, NR_BY };
/* q: of the form for BY_QUICK; k: for BY_KEEP */
#define FORMS(n, q, k)                                                                             \
	{                                                                                          \
		{SIZES(n##_ri), SIZES(n##_rc), SIZES(n##_r##q), SIZES(n##_r##k)},                  \
		{                                                                                  \
			SIZES(n##_mi), SIZES(n##_mc), SIZES(n##_m##q), SIZES(n##_mi)               \
		}                                                                                  \
	}

/* Intel's processors leave OF as it was after ROL and ROR of a register by an immediate above one, and
 * set it where the count is in CL or the operand in memory. */
static bool rotate_keeps_of(void)
{
	u8 of, most = 127, zero = 0;

	/* Set by the addition; of zero nothing that is computed is. */
	asm("addb $1, %1\n\trolb $2, %2\n\tseto %0" : "=q"(of), "+q"(most), "+q"(zero) : : "cc");
	return of;
}

static unsigned choose(ZydisMnemonic m, bool mem, s32 count)
{
	if (!count)
		return BY_IMM;
	if (mem || (m != ZYDIS_MNEMONIC_ROL && m != ZYDIS_MNEMONIC_ROR))
		return BY_QUICK;
	return count > 1 && rotate_keeps_of() ? BY_KEEP : BY_QUICK;
}

bool decode_shift(struct decoder *d, struct op *op)
{
	static op_fn *const fn[][2][NR_BY][4] = {
		FORMS(rol, i, k), FORMS(ror, i, k), FORMS(rcl, i, i), FORMS(rcr, i, i),
		FORMS(shl, n, n), FORMS(shr, n, n), FORMS(sar, n, n)};
	static const ZydisMnemonic order[] = {
		ZYDIS_MNEMONIC_ROL, ZYDIS_MNEMONIC_ROR, ZYDIS_MNEMONIC_RCL, ZYDIS_MNEMONIC_RCR,
		ZYDIS_MNEMONIC_SHL, ZYDIS_MNEMONIC_SHR, ZYDIS_MNEMONIC_SAR};
	unsigned size = decode_size(&d->o[0]), n = 0, by = BY_CL;
	bool mem = decode_rm(d, &d->o[0], op);

	while (n < ARRAY_SIZE(order) && order[n] != d->i.mnemonic)
		n++;
	if (n == ARRAY_SIZE(order))
		return false;
	if (d->o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		op->imm = (s32)(d->o[1].imm.value.u & (size == 3 ? 63 : 31));
		by = choose(d->i.mnemonic, mem, op->imm);
	}
	op->fn = fn[n][mem][by][size];
	return true;
}

#define DOUBLE(name, insn, bits, s, m)                                                             \
	static inline u##bits name##bits(u##bits a, u##bits b, u8 count, u16 *af)                  \
	{                                                                                          \
		u16 f = *af;                                                                       \
		asm(FLAGS_IN insn s " %%cl, %" m "2, %" m "0" FLAGS_OUT                            \
		    : "+r"(a), "+&a"(f)                                                            \
		    : "r"(b), "c"(count)                                                           \
		    : "cc");                                                                       \
		*af = f;                                                                           \
		return a;                                                                          \
	}                                                                                          \
	DOUBLE_FORM(name, i, IMM, bits)                                                            \
	DOUBLE_FORM(name, c, CL, bits)
#define DOUBLE_FORM(name, form, count, bits)                                                       \
	static HANDLER(name##_r##form##bits)                                                       \
	{                                                                                          \
		set_r##bits(c, o->r0,                                                              \
			    name##bits(R##bits(c, o->r0), R##bits(c, o->r1), count, &c->af));      \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(name##_m##form##bits)                                                       \
	{                                                                                          \
		struct rmw w = rmw_at(c, op_ea(c, o, bits / 8, true), bits / 8);                   \
		u16 af = c->af;                                                                    \
		u##bits v = name##bits(rmw_load##bits(c, &w), R##bits(c, o->r1), count, &af);      \
		rmw_store##bits(c, &w, v);                                                         \
		c->af = af;                                                                        \
		OP_NEXT_STORED(c, o, !w.slow);                                                     \
	}
#define SHLD(bits, s, m) DOUBLE(shld, "shld", bits, s, m)
#define SHRD(bits, s, m) DOUBLE(shrd, "shrd", bits, s, m)
EACH_WORD(SHLD)
EACH_WORD(SHRD)
bool decode_double_shift(struct decoder *d, struct op *op)
{
	static op_fn *const fn[2][2][2][4] = {
		{{WORDS(shld_ri), WORDS(shld_rc)}, {WORDS(shld_mi), WORDS(shld_mc)}},
		{{WORDS(shrd_ri), WORDS(shrd_rc)}, {WORDS(shrd_mi), WORDS(shrd_mc)}}};
	bool right = d->i.mnemonic == ZYDIS_MNEMONIC_SHRD;
	bool by_cl = d->o[2].type != ZYDIS_OPERAND_TYPE_IMMEDIATE;
	enum form f = decode_form(d, op);

	if (!by_cl)
		op->imm = (s32)d->o[2].imm.value.u;
	op->fn = fn[right][f == FORM_MR][by_cl][decode_size(&d->o[0])];
	return op->fn;
}

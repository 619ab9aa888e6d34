/* SPDX-License-Identifier: MIT */
/*
 * BMI1 and BMI2 on general registers, ADX, RDRAND and RDSEED: three operands at most, each the
 * host's own instruction on values.
 */
#include "cpu/interpreter/value.h"

#include "cpu/interpreter/families.h"

#define TARGET_SIZES(X) X(32, "l", "k") X(64, "q", "q")

/*
 * d = insn(x, y): `args` is the AT&T operand order, %0 the result, %2 operand x, %3 operand y.
 * Which of the two is the register-or-memory one differs by instruction: o->r1 holds the other.
 */
#define THREE(name, args, fin, fc, bits, s, m)                                                     \
	static inline u##bits name##bits(u##bits rm, u##bits r, u16 *af)                           \
	{                                                                                          \
		u##bits v = 0;                                                                     \
		u16 f = *af;                                                                       \
		asm(fin #name s " " args FLAGS_OUT                                                 \
		    : "+&r"(v), fc(f)                                                              \
		    : "r"(rm), "r"(r)                                                              \
		    : "cc");                                                                       \
		*af = f;                                                                           \
		return v;                                                                          \
	}                                                                                          \
	static HANDLER(name##_r##bits)                                                             \
	{                                                                                          \
		u##bits v = name##bits(R##bits(c, o->aux), R##bits(c, o->r1), &c->af);             \
		set_r##bits(c, o->r0, v);                                                          \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(name##_m##bits)                                                             \
	{                                                                                          \
		u##bits rm = ld##bits(c, op_ea(c, o, bits / 8, false));                            \
		u##bits v = name##bits(rm, R##bits(c, o->r1), &c->af);                             \
		set_r##bits(c, o->r0, v);                                                          \
		OP_NEXT(c, o);                                                                     \
	}

#define IN "+&a"
#define RM_R(m) "%" m "3, %" m "2, %" m "0" /* first operand rm, second r */
#define R_RM(m) "%" m "2, %" m "3, %" m "0" /* first operand r, second rm */
#define ONLY_RM(m) "%" m "2, %" m "0"

#define ALL(bits, s, m)                                                                            \
	THREE(andn, R_RM(m), FLAGS_IN, IN, bits, s, m)                                             \
	THREE(bextr, RM_R(m), FLAGS_IN, IN, bits, s, m)                                            \
	THREE(bzhi, RM_R(m), FLAGS_IN, IN, bits, s, m)                                             \
	THREE(pdep, R_RM(m), FLAGS_IN, IN, bits, s, m)                                             \
	THREE(pext, R_RM(m), FLAGS_IN, IN, bits, s, m)                                             \
	THREE(sarx, RM_R(m), FLAGS_IN, IN, bits, s, m)                                             \
	THREE(shlx, RM_R(m), FLAGS_IN, IN, bits, s, m)                                             \
	THREE(shrx, RM_R(m), FLAGS_IN, IN, bits, s, m)                                             \
	THREE(blsi, ONLY_RM(m), FLAGS_IN, IN, bits, s, m)                                          \
	THREE(blsr, ONLY_RM(m), FLAGS_IN, IN, bits, s, m)                                          \
	THREE(blsmsk, ONLY_RM(m), FLAGS_IN, IN, bits, s, m)
TARGET_SIZES(ALL)

#define PAIR(n) {{n##_r32, n##_r64}, {n##_m32, n##_m64}}

static const struct bmi {
	ZydisMnemonic m;
	u8 rm, r; /* operand numbers; r 0: none */
	op_fn *fn[2][2];
} bmi[] = {
	{ZYDIS_MNEMONIC_ANDN, 2, 1, PAIR(andn)},     {ZYDIS_MNEMONIC_BEXTR, 1, 2, PAIR(bextr)},
	{ZYDIS_MNEMONIC_BZHI, 1, 2, PAIR(bzhi)},     {ZYDIS_MNEMONIC_PDEP, 2, 1, PAIR(pdep)},
	{ZYDIS_MNEMONIC_PEXT, 2, 1, PAIR(pext)},     {ZYDIS_MNEMONIC_SARX, 1, 2, PAIR(sarx)},
	{ZYDIS_MNEMONIC_SHLX, 1, 2, PAIR(shlx)},     {ZYDIS_MNEMONIC_SHRX, 1, 2, PAIR(shrx)},
	{ZYDIS_MNEMONIC_BLSI, 1, 0, PAIR(blsi)},     {ZYDIS_MNEMONIC_BLSR, 1, 0, PAIR(blsr)},
	{ZYDIS_MNEMONIC_BLSMSK, 1, 0, PAIR(blsmsk)},
};

/* These are VEX-encoded but need no vector state enabled (SDM vol. 2, exception type 13). */
bool decode_bmi(struct decoder *d, struct op *op)
{
	for (unsigned i = 0; i < ARRAY_SIZE(bmi); i++) {
		const struct bmi *b = &bmi[i];
		bool mem = d->o[b->rm].type == ZYDIS_OPERAND_TYPE_MEMORY;

		if (b->m != d->i.mnemonic)
			continue;
		op->r0 = decode_gpr(d->o[0].reg.value);
		op->r1 = b->r ? decode_gpr(d->o[b->r].reg.value) : REG_OFF(REG_ZERO);
		if (mem)
			decode_mem(d, &d->o[b->rm], op);
		else
			op->aux = decode_gpr(d->o[b->rm].reg.value);
		op->fn = b->fn[mem][decode_size(&d->o[0]) == 3];
		return true;
	}
	return false;
}

#define RORX(bits)                                                                                 \
	static inline u##bits rorx##bits(u##bits v, unsigned n)                                    \
	{                                                                                          \
		n &= bits - 1;                                                                     \
		return n ? v >> n | v << (bits - n) : v;                                           \
	}                                                                                          \
	static HANDLER(rorx_r##bits)                                                               \
	{                                                                                          \
		set_r##bits(c, o->r0, rorx##bits(R##bits(c, o->r1), (u32)o->imm));                 \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(rorx_m##bits)                                                               \
	{                                                                                          \
		u##bits v = ld##bits(c, op_ea(c, o, bits / 8, false));                             \
		set_r##bits(c, o->r0, rorx##bits(v, (u32)o->imm));                                 \
		OP_NEXT(c, o);                                                                     \
	}
RORX(32)
RORX(64)

bool decode_rorx(struct decoder *d, struct op *op)
{
	static op_fn *const fn[2][2] = PAIR(rorx);
	bool mem = decode_form(d, op) == FORM_RM;

	op->imm = (s32)d->o[2].imm.value.u;
	op->fn = fn[mem][decode_size(&d->o[0]) == 3];
	return true;
}

/* r0 gets the high half, r1 the low one; written in that order when they are one register. */
static inline void mulx32(struct cpu *c, const struct op *o, u32 b)
{
	u64 v = (u64)R32(c, REG_OFF(RDX)) * b;

	set_r32(c, o->r1, (u32)v);
	set_r32(c, o->r0, (u32)(v >> 32));
}

static inline void mulx64(struct cpu *c, const struct op *o, u64 b)
{
	unsigned __int128 v = (unsigned __int128)c->reg[RDX] * b;

	set_r64(c, o->r1, (u64)v);
	set_r64(c, o->r0, (u64)(v >> 64));
}

#define MULX(bits)                                                                                 \
	static HANDLER(mulx_r##bits)                                                               \
	{                                                                                          \
		mulx##bits(c, o, R##bits(c, o->aux));                                              \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(mulx_m##bits)                                                               \
	{                                                                                          \
		mulx##bits(c, o, ld##bits(c, op_ea(c, o, bits / 8, false)));                       \
		OP_NEXT(c, o);                                                                     \
	}
MULX(32)
MULX(64)

bool decode_mulx(struct decoder *d, struct op *op)
{
	static op_fn *const fn[2][2] = PAIR(mulx);
	bool mem = d->o[2].type == ZYDIS_OPERAND_TYPE_MEMORY;

	op->r0 = decode_gpr(d->o[0].reg.value);
	op->r1 = decode_gpr(d->o[1].reg.value);
	if (mem)
		decode_mem(d, &d->o[2], op);
	else
		op->aux = decode_gpr(d->o[2].reg.value);
	op->fn = fn[mem][decode_size(&d->o[0]) == 3];
	return true;
}

#define ADX_OP(name, bits, s, m)                                                                   \
	VALUE(name, #name, FLAGS_IN, "+&a", u##bits, bits, s, m)                                   \
	static HANDLER(name##_r##bits)                                                             \
	{                                                                                          \
		u##bits v = name##bits(R##bits(c, o->r0), R##bits(c, o->r1), &c->af);              \
		set_r##bits(c, o->r0, v);                                                          \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(name##_m##bits)                                                             \
	{                                                                                          \
		u##bits b = ld##bits(c, op_ea(c, o, bits / 8, false));                             \
		set_r##bits(c, o->r0, name##bits(R##bits(c, o->r0), b, &c->af));                   \
		OP_NEXT(c, o);                                                                     \
	}
#define ADX(bits, s, m) ADX_OP(adcx, bits, s, m) ADX_OP(adox, bits, s, m)
TARGET_SIZES(ADX)

bool decode_adx(struct decoder *d, struct op *op)
{
	static op_fn *const fn[2][2][2] = {PAIR(adcx), PAIR(adox)};
	bool mem = decode_form(d, op) == FORM_RM;

	op->fn = fn[d->i.mnemonic == ZYDIS_MNEMONIC_ADOX][mem][decode_size(&d->o[0]) == 3];
	return true;
}

/* CF says whether there was a number; the other flags are cleared. */
#define RANDOM(name, bits, s, m)                                                                   \
	static HANDLER(name##_r##bits)                                                             \
	{                                                                                          \
		u##bits v;                                                                         \
		u16 f;                                                                             \
		asm volatile(#name " %" m "0" FLAGS_OUT : "=&r"(v), "=&a"(f) : : "cc");            \
		set_r##bits(c, o->r0, v);                                                          \
		c->af = f;                                                                         \
		OP_NEXT(c, o);                                                                     \
	}
#define RDRAND(bits, s, m) RANDOM(rdrand, bits, s, m)
#define RDSEED(bits, s, m) RANDOM(rdseed, bits, s, m)
EACH_WORD(RDRAND)
EACH_WORD(RDSEED)

bool decode_random(struct decoder *d, struct op *op)
{
	static op_fn *const fn[2][4] = {{NULL, rdrand_r16, rdrand_r32, rdrand_r64},
					{NULL, rdseed_r16, rdseed_r32, rdseed_r64}};

	op->r0 = decode_gpr(d->o[0].reg.value);
	op->fn = fn[d->i.mnemonic == ZYDIS_MNEMONIC_RDSEED][decode_size(&d->o[0])];
	return op->fn;
}

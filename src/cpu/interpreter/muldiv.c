/* SPDX-License-Identifier: MIT */
/*
 * MUL, IMUL, DIV, IDIV. Whether a division overflows is found in C: the host must not raise #DE.
 */
#include "cpu/interpreter/value.h"

#include "cpu/fault.h"
#include "cpu/interpreter/families.h"

typedef unsigned __int128 u128;

/*
 * The one-operand forms on (rDX:)rAX; 8 bits: AX. The status flags that the manuals leave undefined
 * are the host's: some processors compute them, others leave what was there before, so the
 * instruction gets the guest's flags.
 */
#define MUL_WIDE(name, insn, bits, s)                                                         \
	static inline void name##bits(struct cpu *c, u##bits b)                                    \
	{                                                                                          \
		u64 lo;                                                                            \
		u16 f = c->af;                                                                     \
		u##bits hi;                                                                        \
		asm(FLAGS_IN "movq %4, %%rax\n\t" insn s " %3\n\tmovq %%rax, %1" FLAGS_OUT        \
		    : "+&a"(f), "=&r"(lo), "=&d"(hi)                                               \
		    : "r"(b), "r"(c->reg[RAX])                                                     \
		    : "cc");                                                                       \
		c->af = f;                                                                         \
		set_r##bits(c, REG_OFF(RAX), (u##bits)lo);                                         \
		set_r##bits(c, REG_OFF(RDX), hi);                                                  \
	}
#define MUL_BYTE(name, insn)                                                                       \
	static inline void name##8(struct cpu *c, u8 b)                                            \
	{                                                                                          \
		u64 lo;                                                                            \
		u16 f = c->af;                                                                     \
		asm(FLAGS_IN "movq %3, %%rax\n\t" insn "b %2\n\tmovq %%rax, %1" FLAGS_OUT         \
		    : "+&a"(f), "=&r"(lo)                                                          \
		    : "r"(b), "r"(c->reg[RAX])                                                     \
		    : "cc");                                                                       \
		c->af = f;                                                                         \
		set_r16(c, REG_OFF(RAX), (u16)lo);                                                 \
	}
MUL_BYTE(mul, "mul")
MUL_WIDE(mul, "mul", 16, "w")
MUL_WIDE(mul, "mul", 32, "l")
MUL_WIDE(mul, "mul", 64, "q")
MUL_BYTE(imul, "imul")
MUL_WIDE(imul, "imul", 16, "w")
MUL_WIDE(imul, "imul", 32, "l")
MUL_WIDE(imul, "imul", 64, "q")

/*
 * Division: dividend of twice the width, quotient checked here, then computed by the host's own
 * instruction, so that the status flags, which are undefined after it, are a processor's.
 */
#define DIV_WIDE(name, bits, s)                                                                    \
	static inline void host_##name##bits(struct cpu *c, u##bits b)                             \
	{                                                                                          \
		u64 lo, hi = c->reg[RDX];                                                          \
		u16 f = c->af;                                                                     \
		asm(FLAGS_IN "movq %4, %%rax\n\t" #name s " %3\n\tmovq %%rax, %1" FLAGS_OUT       \
		    : "+&a"(f), "=&r"(lo), "+&d"(hi)                                               \
		    : "r"(b), "r"(c->reg[RAX])                                                     \
		    : "cc");                                                                       \
		c->af = f;                                                                         \
		set_r##bits(c, REG_OFF(RAX), (u##bits)lo);                                         \
		set_r##bits(c, REG_OFF(RDX), (u##bits)hi);                                         \
	}
#define DIV_BYTE(name)                                                                             \
	static inline void host_##name##8(struct cpu *c, u8 b)                                     \
	{                                                                                          \
		u64 lo;                                                                            \
		u16 f = c->af;                                                                     \
		asm(FLAGS_IN "movq %3, %%rax\n\t" #name "b %2\n\tmovq %%rax, %1" FLAGS_OUT        \
		    : "+&a"(f), "=&r"(lo)                                                          \
		    : "r"(b), "r"(c->reg[RAX])                                                     \
		    : "cc");                                                                       \
		c->af = f;                                                                         \
		set_r16(c, REG_OFF(RAX), (u16)lo);                                                 \
	}
DIV_BYTE(div)
DIV_WIDE(div, 16, "w")
DIV_WIDE(div, 32, "l")
DIV_WIDE(div, 64, "q")
DIV_BYTE(idiv)
DIV_WIDE(idiv, 16, "w")
DIV_WIDE(idiv, 32, "l")
DIV_WIDE(idiv, 64, "q")

#define DIV(bits, wide)                                                                            \
	static inline bool div##bits(struct cpu *c, u##bits b, wide n)                             \
	{                                                                                          \
		if (!b || (u##bits)(n >> bits) >= b)                                               \
			return false;                                                              \
		host_div##bits(c, b);                                                              \
		return true;                                                                       \
	}                                                                                          \
	static inline bool idiv##bits(struct cpu *c, u##bits b, wide n)                            \
	{                                                                                          \
		wide sign = (wide)1 << (2 * bits - 1);                                             \
		wide limit = (wide)1 << (bits - 1);                                                \
		bool nneg = n & sign, bneg = b >> (bits - 1);                                      \
		wide an = nneg ? (wide)(0 - n) : n;                                                \
		u##bits ab = bneg ? (u##bits)(0 - b) : b;                                          \
		if (!ab || (u##bits)(an >> bits) >= ab || an / ab > limit - (nneg == bneg))         \
			return false;                                                              \
		host_idiv##bits(c, b);                                                             \
		return true;                                                                       \
	}
DIV(8, u16)
DIV(16, u32)
DIV(32, u64)
DIV(64, u128)

#define DIVIDEND8(c)  R16(c, REG_OFF(RAX))
#define DIVIDEND16(c) ((u32)R16(c, REG_OFF(RDX)) << 16 | R16(c, REG_OFF(RAX)))
#define DIVIDEND32(c) ((u64)R32(c, REG_OFF(RDX)) << 32 | R32(c, REG_OFF(RAX)))
#define DIVIDEND64(c) ((u128)(c)->reg[RDX] << 64 | (c)->reg[RAX])

static const struct op *divide_error(struct cpu *c, const struct op *o)
{
	c->op = o;
	cpu_raise(c, VEC_DE);
}

#define HANDLERS(bits, s, m)                                                                       \
	MUL_FORMS(mul, bits)                                                                       \
	MUL_FORMS(imul, bits)                                                                      \
	DIV_FORMS(div, bits)                                                                       \
	DIV_FORMS(idiv, bits)
#define MUL_FORMS(name, bits)                                                                      \
	static HANDLER(name##_r##bits)                                                             \
	{                                                                                          \
		name##bits(c, R##bits(c, o->r0));                                                  \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(name##_m##bits)                                                             \
	{                                                                                          \
		name##bits(c, ld##bits(c, op_ea(c, o, bits / 8, false)));                          \
		OP_NEXT(c, o);                                                                     \
	}
#define DIV_FORMS(name, bits)                                                                      \
	static HANDLER(name##_r##bits)                                                             \
	{                                                                                          \
		if (unlikely(!name##bits(c, R##bits(c, o->r0), DIVIDEND##bits(c))))                \
			return divide_error(c, o);                                                 \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(name##_m##bits)                                                             \
	{                                                                                          \
		u##bits b = ld##bits(c, op_ea(c, o, bits / 8, false));                             \
		if (unlikely(!name##bits(c, b, DIVIDEND##bits(c))))                                \
			return divide_error(c, o);                                                 \
		OP_NEXT(c, o);                                                                     \
	}
EACH_SIZE(HANDLERS)

/* IMUL with two and three operands: r0 = source * (r0 or imm). */
#define IMUL2(bits, s, m)                                                                          \
	VALUE(imul_two, "imul", FLAGS_IN, "+&a", u##bits, bits, s, m)                                    \
	static HANDLER(imul_rr##bits)                                                              \
	{                                                                                          \
		set_r##bits(c, o->r0,                                                              \
			    imul_two##bits(R##bits(c, o->r0), R##bits(c, o->r1), &c->af));         \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(imul_rm##bits)                                                              \
	{                                                                                          \
		u##bits b = ld##bits(c, op_ea(c, o, bits / 8, false));                             \
		set_r##bits(c, o->r0, imul_two##bits(R##bits(c, o->r0), b, &c->af));               \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(imul_rri##bits)                                                             \
	{                                                                                          \
		set_r##bits(c, o->r0,                                                              \
			    imul_two##bits((u##bits)o->imm, R##bits(c, o->r1), &c->af));           \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(imul_rmi##bits)                                                             \
	{                                                                                          \
		u##bits b = ld##bits(c, op_ea(c, o, bits / 8, false));                             \
		set_r##bits(c, o->r0, imul_two##bits((u##bits)o->imm, b, &c->af));                 \
		OP_NEXT(c, o);                                                                     \
	}
EACH_WORD(IMUL2)
static bool decode_imul_more(struct decoder *d, struct op *op)
{
	static op_fn *const two[2][4] = {WORDS(imul_rr), WORDS(imul_rm)};
	static op_fn *const three[2][4] = {WORDS(imul_rri), WORDS(imul_rmi)};
	enum form f = decode_form(d, op);
	unsigned size = decode_size(&d->o[0]);

	if (d->i.operand_count_visible == 3) {
		op->imm = (s32)d->o[2].imm.value.s;
		op->fn = three[f == FORM_RM][size];
	} else {
		op->fn = two[f == FORM_RM][size];
	}
	return op->fn;
}

bool decode_muldiv(struct decoder *d, struct op *op)
{
	static op_fn *const fn[4][2][4] = {{SIZES(mul_r), SIZES(mul_m)},
					   {SIZES(imul_r), SIZES(imul_m)},
					   {SIZES(div_r), SIZES(div_m)},
					   {SIZES(idiv_r), SIZES(idiv_m)}};
	ZydisMnemonic m = d->i.mnemonic;
	unsigned n = m == ZYDIS_MNEMONIC_MUL	? 0
		     : m == ZYDIS_MNEMONIC_IMUL ? 1
		     : m == ZYDIS_MNEMONIC_DIV	? 2
						: 3;

	if (n == 1 && d->i.operand_count_visible > 1)
		return decode_imul_more(d, op);
	op->fn = fn[n][decode_rm(d, &d->o[0], op)][decode_size(&d->o[0])];
	return true;
}

/* CBW and its wider sisters, CWD and its. */
static HANDLER(cbw)
{
	set_r16(c, REG_OFF(RAX), (u16)(s8)c->reg[RAX]);
	OP_NEXT(c, o);
}

static HANDLER(cwde)
{
	set_r32(c, REG_OFF(RAX), (u32)(s16)c->reg[RAX]);
	OP_NEXT(c, o);
}

static HANDLER(cdqe)
{
	c->reg[RAX] = (u64)(s32)c->reg[RAX];
	OP_NEXT(c, o);
}

static HANDLER(cwd)
{
	set_r16(c, REG_OFF(RDX), (u16)((s16)c->reg[RAX] >> 15));
	OP_NEXT(c, o);
}

static HANDLER(cdq)
{
	set_r32(c, REG_OFF(RDX), (u32)((s32)c->reg[RAX] >> 31));
	OP_NEXT(c, o);
}

static HANDLER(cqo)
{
	c->reg[RDX] = (u64)((s64)c->reg[RAX] >> 63);
	OP_NEXT(c, o);
}

bool decode_sign_extend(struct decoder *d, struct op *op)
{
	static const struct {
		ZydisMnemonic m;
		op_fn *fn;
	} t[] = {{ZYDIS_MNEMONIC_CBW, cbw}, {ZYDIS_MNEMONIC_CWDE, cwde}, {ZYDIS_MNEMONIC_CDQE, cdqe},
		 {ZYDIS_MNEMONIC_CWD, cwd}, {ZYDIS_MNEMONIC_CDQ, cdq},	 {ZYDIS_MNEMONIC_CQO, cqo}};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		if (t[i].m == d->i.mnemonic)
			op->fn = t[i].fn;
	}
	return op->fn;
}

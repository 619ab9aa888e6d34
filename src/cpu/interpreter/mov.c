/* SPDX-License-Identifier: MIT */
/*
 * Moves: MOV, MOVNTI, MOVZX, MOVSX, MOVSXD, MOVBE, CMOVcc, SETcc, LEA, BSWAP, XLAT.
 */
#include "cpu/interpreter/value.h"

#include "cpu/interpreter/cond.h"
#include "cpu/interpreter/families.h"
#include "cpu/interpreter/interpreter.h"
#include "cpu/system/decode.h"

#define MOV(bits, s, m)                                                                            \
	static HANDLER(mov_rr##bits)                                                               \
	{                                                                                          \
		set_r##bits(c, o->r0, R##bits(c, o->r1));                                          \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(mov_ri##bits)                                                               \
	{                                                                                          \
		set_r##bits(c, o->r0, (u##bits)o->disp);                                           \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	LOAD_HANDLER(mov_rm##bits, bits, set_r##bits(c, o->r0, in))                                \
	STORE_HANDLER(mov_mr##bits, bits, R##bits(c, o->r1))                                       \
	STORE_HANDLER(mov_mi##bits, bits, (u##bits)o->imm)
EACH_SIZE(MOV)

bool interpreter_is_mov(const struct op *o, u32 size, bool store)
{
	static op_fn *const load[] = SIZES(mov_rm), *const from_reg[] = SIZES(mov_mr),
			   *const from_imm[] = SIZES(mov_mi);
	unsigned i = (unsigned)__builtin_ctz(size);

	if (!store)
		return o->fn == load[i];
	return o->fn == from_reg[i] || o->fn == from_imm[i];
}

static bool is_gpr(const ZydisDecodedOperand *o)
{
	ZydisRegisterClass k;

	if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return true;
	k = ZydisRegisterGetClass(o->reg.value);
	return k == ZYDIS_REGCLASS_GPR8 || k == ZYDIS_REGCLASS_GPR16 || k == ZYDIS_REGCLASS_GPR32 ||
	       k == ZYDIS_REGCLASS_GPR64;
}

bool decode_mov(struct decoder *d, struct op *op)
{
	static op_fn *const fn[NR_FORMS][4] = {SIZES(mov_rr), SIZES(mov_ri), SIZES(mov_rm),
					       SIZES(mov_mr), SIZES(mov_mi)};
	enum form f;

	if (!is_gpr(&d->o[0]) || !is_gpr(&d->o[1]))
		return system_decode_mov(d, op);
	f = decode_form(d, op);
	if (f == FORM_NONE)
		return false;
	if (f == FORM_RI) /* may be 64 bits wide */
		op->disp = d->o[1].imm.value.s;
	op->fn = fn[f][decode_size(&d->o[0])];
	return true;
}

/* Widening moves: destination bits, source bits, the source's C type. */
#define WIDEN(name, dst, src, type)                                                                \
	static HANDLER(name##_rr##dst##_##src)                                                     \
	{                                                                                          \
		set_r##dst(c, o->r0, (u##dst)(type)R##src(c, o->r1));                              \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	LOAD_HANDLER(name##_rm##dst##_##src, src, set_r##dst(c, o->r0, (u##dst)(type)in))
#define WIDEN_ALL(name, t8, t16, t32)                                                              \
	WIDEN(name, 16, 8, t8)                                                                     \
	WIDEN(name, 32, 8, t8)                                                                     \
	WIDEN(name, 64, 8, t8)                                                                     \
	WIDEN(name, 16, 16, t16)                                                                   \
	WIDEN(name, 32, 16, t16)                                                                   \
	WIDEN(name, 64, 16, t16)                                                                   \
	WIDEN(name, 16, 32, t32)                                                                   \
	WIDEN(name, 32, 32, t32)                                                                   \
	WIDEN(name, 64, 32, t32)
WIDEN_ALL(zx, u8, u16, u32)
WIDEN_ALL(sx, s8, s16, s32)

#define WIDEN_ROW(p, dst) {p##dst##_8, p##dst##_16, p##dst##_32}
#define WIDEN_TABLE(p)                                                                             \
	{                                                                                          \
		{NULL}, WIDEN_ROW(p, 16), WIDEN_ROW(p, 32), WIDEN_ROW(p, 64)                       \
	}

bool decode_widen(struct decoder *d, struct op *op)
{
	static op_fn *const fn[2][2][4][3] = {{WIDEN_TABLE(zx_rr), WIDEN_TABLE(zx_rm)},
					      {WIDEN_TABLE(sx_rr), WIDEN_TABLE(sx_rm)}};
	bool sign = d->i.mnemonic != ZYDIS_MNEMONIC_MOVZX;
	unsigned dst = decode_size(&d->o[0]), src = decode_size(&d->o[1]);
	enum form f = decode_form(d, op);

	/* Zydis says 32 for either vendor. */
	if (d->i.mnemonic == ZYDIS_MNEMONIC_MOVSXD && dst == 1 &&
	    !decode_vendor(d, FACT_MOVSXD_32))
		src = 1;
	if ((f != FORM_RR && f != FORM_RM) || !dst || src > 2)
		return false;
	op->fn = fn[sign][f == FORM_RM][dst][src];
	return true;
}

#define SWAP16(v) __builtin_bswap16(v)
#define SWAP32(v) __builtin_bswap32(v)
#define SWAP64(v) __builtin_bswap64(v)
#define MOVBE(bits, s, m)                                                                          \
	static HANDLER(movbe_rm##bits)                                                             \
	{                                                                                          \
		set_r##bits(c, o->r0, SWAP##bits(ld##bits(c, op_ea(c, o, bits / 8, false))));      \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(movbe_mr##bits)                                                             \
	{                                                                                          \
		u64 la = op_ea(c, o, bits / 8, true);                                              \
		OP_NEXT_STORED(c, o, store##bits(c, la, SWAP##bits(R##bits(c, o->r1))));           \
	}
EACH_WORD(MOVBE)

bool decode_movbe(struct decoder *d, struct op *op)
{
	static op_fn *const load[] = {NULL, movbe_rm16, movbe_rm32, movbe_rm64};
	static op_fn *const store[] = {NULL, movbe_mr16, movbe_mr32, movbe_mr64};
	enum form f = decode_form(d, op);

	op->fn = (f == FORM_RM ? load : store)[decode_size(&d->o[0])];
	return f == FORM_RM || f == FORM_MR;
}

/* With a 16-bit operand BSWAP is undefined; processors clear it. */
static HANDLER(bswap16)
{
	R16(c, o->r0) = 0;
	OP_NEXT(c, o);
}

static HANDLER(bswap32)
{
	set_r32(c, o->r0, SWAP32(R32(c, o->r0)));
	OP_NEXT(c, o);
}

static HANDLER(bswap64)
{
	set_r64(c, o->r0, SWAP64(R64(c, o->r0)));
	OP_NEXT(c, o);
}

bool decode_bswap(struct decoder *d, struct op *op)
{
	static op_fn *const fn[] = {NULL, bswap16, bswap32, bswap64};

	op->r0 = decode_gpr(d->o[0].reg.value);
	op->fn = fn[decode_size(&d->o[0])];
	return op->fn;
}

/* A 32-bit CMOV clears the upper half even when the condition is false. */
#define CMOV(cc)                                                                                   \
	CMOV_SIZE(cc, 16)                                                                          \
	CMOV_SIZE(cc, 32)                                                                          \
	CMOV_SIZE(cc, 64)
#define CMOV_SIZE(cc, bits)                                                                        \
	static HANDLER(cmov_rr##bits##_##cc)                                                       \
	{                                                                                          \
		u##bits v = R##bits(c, o->r1), old = R##bits(c, o->r0);                            \
		set_r##bits(c, o->r0, cond(c->af, cc) ? v : old);                                  \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(cmov_rm##bits##_##cc)                                                       \
	{                                                                                          \
		u##bits v = ld##bits(c, op_ea(c, o, bits / 8, false));                             \
		set_r##bits(c, o->r0, cond(c->af, cc) ? v : R##bits(c, o->r0));                    \
		OP_NEXT(c, o);                                                                     \
	}
EACH_CC(CMOV)
#define CMOV_LINE(cc)                                                                              \
	{{NULL, cmov_rr16_##cc, cmov_rr32_##cc, cmov_rr64_##cc},                                   \
	 {NULL, cmov_rm16_##cc, cmov_rm32_##cc, cmov_rm64_##cc}},

bool decode_cmov(struct decoder *d, struct op *op)
{
	static op_fn *const fn[16][2][4] = {EACH_CC(CMOV_LINE)};
	enum form f = decode_form(d, op);

	op->fn = fn[d->i.opcode & 15][f == FORM_RM][decode_size(&d->o[0])];
	return f == FORM_RM || f == FORM_RR;
}

#define SETCC(cc)                                                                                  \
	static HANDLER(set_r_##cc)                                                                 \
	{                                                                                          \
		R8(c, o->r0) = cond(c->af, cc);                                                    \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(set_m_##cc)                                                                 \
	{                                                                                          \
		u64 la = op_ea(c, o, 1, true);                                                     \
		OP_NEXT_STORED(c, o, store8(c, la, cond(c->af, cc)));                              \
	}
EACH_CC(SETCC)
#define SETCC_LINE(cc) {set_r_##cc, set_m_##cc},

bool decode_setcc(struct decoder *d, struct op *op)
{
	static op_fn *const fn[16][2] = {EACH_CC(SETCC_LINE)};

	op->fn = fn[d->i.opcode & 15][decode_rm(d, &d->o[0], op)];
	return true;
}

static HANDLER(lea16)
{
	R16(c, o->r0) = (u16)op_offset(c, o);
	OP_NEXT(c, o);
}

static HANDLER(lea32)
{
	set_r32(c, o->r0, (u32)ea_cut(o, op_offset(c, o)));
	OP_NEXT(c, o);
}

static HANDLER(lea64)
{
	set_r64(c, o->r0, op_offset(c, o));
	OP_NEXT(c, o);
}

static HANDLER(lea64_cut)
{
	set_r64(c, o->r0, ea_cut(o, op_offset(c, o)));
	OP_NEXT(c, o);
}

bool decode_lea(struct decoder *d, struct op *op)
{
	static op_fn *const fn[] = {NULL, lea16, lea32, lea64};

	if (d->o[1].type != ZYDIS_OPERAND_TYPE_MEMORY)
		return false;
	op->r0 = decode_gpr(d->o[0].reg.value);
	decode_mem(d, &d->o[1], op);
	op->fn = fn[decode_size(&d->o[0])];
	if (op->fn == lea64 && (op->flags & OP_ADDR32))
		op->fn = lea64_cut;
	return op->fn;
}

/* AL = [rBX + AL] */
static HANDLER(xlat)
{
	R8(c, REG_OFF(RAX)) = ld8(c, op_ea_at(c, o, R8(c, REG_OFF(RAX)), 1, false));
	OP_NEXT(c, o);
}

bool decode_xlat(struct decoder *d, struct op *op)
{
	for (unsigned i = 0; i < d->i.operand_count; i++) {
		if (d->o[i].type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		decode_mem(d, &d->o[i], op);
		op->base = REG_OFF(RBX);
		op->index = REG_OFF(REG_ZERO); /* AL is added by the handler */
		op->fn = xlat;
		return true;
	}
	return false;
}

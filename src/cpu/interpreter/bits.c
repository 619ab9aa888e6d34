/* SPDX-License-Identifier: MIT */
/*
 * BT, BTS, BTR, BTC; BSF, BSR, TZCNT, LZCNT, POPCNT, CRC32.
 */
#include "cpu/interpreter/value.h"

#include "cpu/fault.h"
#include "cpu/interpreter/families.h"

#define BT_REG(name, form, operand, wr, bits)                                                      \
	static HANDLER(name##_r##form##bits)                                                       \
	{                                                                                          \
		u##bits v = name##bits(R##bits(c, o->r0), operand, &c->af);                        \
		if (wr)                                                                            \
			set_r##bits(c, o->r0, v);                                                  \
		OP_NEXT(c, o);                                                                     \
	}

/* A register bit offset is signed and reaches beyond the operand (SDM vol. 2, BT). */
#define BT_WORD(bits)                                                                              \
	static inline u64 bt_ea##bits(struct cpu *c, const struct op *o, bool reg, bool write)     \
	{                                                                                          \
		s64 off = reg ? (s64)(s##bits)R##bits(c, o->r1) >> __builtin_ctz(bits) : 0;        \
		return op_ea_at(c, o, off * (bits / 8), bits / 8, write);                          \
	}
BT_WORD(16)
BT_WORD(32)
BT_WORD(64)

#define BT_READ(name, form, operand, reg, bits)                                                    \
	static HANDLER(name##_m##form##bits)                                                       \
	{                                                                                          \
		name##bits(ld##bits(c, bt_ea##bits(c, o, reg, false)), operand, &c->af);           \
		OP_NEXT(c, o);                                                                     \
	}

#define BT_WRITE(name, form, operand, reg, bits, s, m)                                             \
	static HANDLER(name##_m##form##bits)                                                       \
	{                                                                                          \
		struct rmw w = rmw_at(c, bt_ea##bits(c, o, reg, true), bits / 8);                  \
		u16 af = c->af;                                                                    \
		u##bits v = name##bits(rmw_load##bits(c, &w), operand, &af);                       \
		rmw_store##bits(c, &w, v);                                                         \
		c->af = af;                                                                        \
		OP_NEXT_STORED(c, o, !w.slow);                                                     \
	}                                                                                          \
	LOCK_HANDLER(name##_lock_m##form##bits, name##_m##form##bits, bits,                        \
		     bt_ea##bits(c, o, reg, true), FLAGS_IN, "+&a", #name s " %" m "1, (%2)",      \
		     "r"((u##bits)((operand) & (bits - 1))), "r"(p))

/* Only CF changes; a bit offset is cut to the operand's width here. */
#define BT(bits, s, m)                                                                             \
	VALUE(bt, "bt", FLAGS_IN, "+&a", u##bits, bits, s, m)                                      \
	BT_REG(bt, r, R##bits(c, o->r1), false, bits)                                              \
	BT_REG(bt, i, (u##bits)o->imm, false, bits)                                                \
	BT_READ(bt, r, R##bits(c, o->r1), true, bits)                                              \
	BT_READ(bt, i, (u##bits)o->imm, false, bits)
#define BTX(name, bits, s, m)                                                                      \
	VALUE(name, #name, FLAGS_IN, "+&a", u##bits, bits, s, m)                                   \
	BT_REG(name, r, R##bits(c, o->r1), true, bits)                                             \
	BT_REG(name, i, (u##bits)o->imm, true, bits)                                               \
	BT_WRITE(name, r, R##bits(c, o->r1), true, bits, s, m)                                     \
	BT_WRITE(name, i, (u##bits)o->imm, false, bits, s, m)
#define BTS(bits, s, m) BTX(bts, bits, s, m)
#define BTR(bits, s, m) BTX(btr, bits, s, m)
#define BTC(bits, s, m) BTX(btc, bits, s, m)
EACH_WORD(BT)
EACH_WORD(BTS)
EACH_WORD(BTR)
EACH_WORD(BTC)

#define ROW(n)                                                                                     \
	{                                                                                          \
		[FORM_RR] = WORDS(n##_rr), [FORM_RI] = WORDS(n##_ri), [FORM_MR] = WORDS(n##_mr),   \
		[FORM_MI] = WORDS(n##_mi)                                                          \
	}
#define LOCK_ROW(n)                                                                                \
	{                                                                                          \
		[FORM_MR] = WORDS(n##_lock_mr), [FORM_MI] = WORDS(n##_lock_mi)                     \
	}

bool decode_bt(struct decoder *d, struct op *op)
{
	static op_fn *const fn[2][4][NR_FORMS][4] = {{ROW(bt), ROW(bts), ROW(btr), ROW(btc)},
						     {{{NULL}}, LOCK_ROW(bts), LOCK_ROW(btr),
						      LOCK_ROW(btc)}};
	ZydisMnemonic m = d->i.mnemonic;
	unsigned n = m == ZYDIS_MNEMONIC_BT    ? 0
		     : m == ZYDIS_MNEMONIC_BTS ? 1
		     : m == ZYDIS_MNEMONIC_BTR ? 2
					       : 3;
	enum form f = decode_form(d, op);

	if (f == FORM_NONE)
		return false;
	op->fn = fn[(op->flags & OP_LOCK) != 0][n][f][decode_size(&d->o[0])];
	return op->fn;
}

/*
 * The destination goes in and comes out in 64 bits: BSF and BSR of zero leave it, upper half
 * included, as the host does.
 */
#define SCAN(name, bits, s, m)                                                                     \
	VALUE(name, #name, FLAGS_IN, "+&a", u64, bits, s, m)                                       \
	static HANDLER(name##_rr##bits)                                                            \
	{                                                                                          \
		R64(c, o->r0) = name##bits(R64(c, o->r0), R##bits(c, o->r1), &c->af);              \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(name##_rm##bits)                                                            \
	{                                                                                          \
		u##bits b = ld##bits(c, op_ea(c, o, bits / 8, false));                             \
		R64(c, o->r0) = name##bits(R64(c, o->r0), b, &c->af);                              \
		OP_NEXT(c, o);                                                                     \
	}
#define BSF(bits, s, m)	   SCAN(bsf, bits, s, m)
#define BSR(bits, s, m)	   SCAN(bsr, bits, s, m)
#define TZCNT(bits, s, m)  SCAN(tzcnt, bits, s, m)
#define LZCNT(bits, s, m)  SCAN(lzcnt, bits, s, m)
#define POPCNT(bits, s, m) SCAN(popcnt, bits, s, m)
EACH_WORD(BSF)
EACH_WORD(BSR)
EACH_WORD(TZCNT)
EACH_WORD(LZCNT)
EACH_WORD(POPCNT)

bool decode_scan(struct decoder *d, struct op *op)
{
	static const struct {
		ZydisMnemonic m;
		op_fn *fn[2][4];
	} t[] = {
		{ZYDIS_MNEMONIC_BSF, {WORDS(bsf_rr), WORDS(bsf_rm)}},
		{ZYDIS_MNEMONIC_BSR, {WORDS(bsr_rr), WORDS(bsr_rm)}},
		{ZYDIS_MNEMONIC_TZCNT, {WORDS(tzcnt_rr), WORDS(tzcnt_rm)}},
		{ZYDIS_MNEMONIC_LZCNT, {WORDS(lzcnt_rr), WORDS(lzcnt_rm)}},
		{ZYDIS_MNEMONIC_POPCNT, {WORDS(popcnt_rr), WORDS(popcnt_rm)}},
	};
	enum form f = decode_form(d, op);

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		if (t[i].m == d->i.mnemonic)
			op->fn = t[i].fn[f == FORM_RM][decode_size(&d->o[0])];
	}
	return op->fn;
}

#define CRC(bits, s, m)                                                                            \
	static inline u64 crc##bits(u64 a, u##bits b)                                              \
	{                                                                                          \
		asm("crc32" s " %" m "1, %k0" : "+r"(a) : "r"(b));                                 \
		return a;                                                                          \
	}                                                                                          \
	CRC_FORMS(bits)
#define CRC_FORMS(bits)                                                                            \
	static HANDLER(crc_rr##bits)                                                               \
	{                                                                                          \
		R64(c, o->r0) = crc##bits(R64(c, o->r0), R##bits(c, o->r1));                       \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(crc_rm##bits)                                                               \
	{                                                                                          \
		u##bits b = ld##bits(c, op_ea(c, o, bits / 8, false));                             \
		R64(c, o->r0) = crc##bits(R64(c, o->r0), b);                                       \
		OP_NEXT(c, o);                                                                     \
	}
CRC(8, "b", "b")
CRC(16, "w", "w")
CRC(32, "l", "k")

static inline u64 crc64(u64 a, u64 b)
{
	asm("crc32q %1, %0" : "+r"(a) : "r"(b));
	return a;
}
CRC_FORMS(64)

bool decode_crc32(struct decoder *d, struct op *op)
{
	static op_fn *const fn[2][4] = {{crc_rr8, crc_rr16, crc_rr32, crc_rr64},
					{crc_rm8, crc_rm16, crc_rm32, crc_rm64}};

	op->fn = fn[decode_form(d, op) == FORM_RM][decode_size(&d->o[1])];
	return true;
}

/* SPDX-License-Identifier: MIT */
/*
 * native/gather.c: gathers and scatters, element by element in C: each element has an address of
 * its own. Of one that faults the elements before are done and their mask bits clear, so that it
 * goes on with the one that faulted when it is run again (SDM vol. 2, VGATHERDPS).
 */
#include "cpu/access.h"
#include "cpu/native/forms.h"
#include "cpu/replay.h"
#include "cpu/table/vendor.h"

/* op->aux */
#define G_SCALE(a)  ((a) & 3)
#define G_COUNT(a)  (((a) >> 2) & 0x1f) /* elements */
#define G_QINDEX    0x0080	       /* 64-bit indices */
#define G_QDATA	    0x0100	       /* 64-bit elements */
#define G_VECTOR    0x0200	       /* AVX2: the mask is the sign bits of a vector */
#define G_MASK(a)   (((a) >> 10) & 15) /* register of the mask */

static u32 elem_size(const struct op *o)
{
	return o->aux & G_QDATA ? 8 : 4;
}

static u64 mask_bits(const struct cpu *c, const struct op *o)
{
	u32 n = G_COUNT(o->aux), size = elem_size(o);
	const u8 *v = c->v[G_MASK(o->aux)].b;
	u64 m = 0;

	if (!(o->aux & G_VECTOR))
		return c->k[G_MASK(o->aux)] & (BIT(n) - 1);
	for (u32 i = 0; i < n; i++)
		m |= (u64)(v[i * size + size - 1] >> 7) << i;
	return m;
}

static u64 elem_la(struct cpu *c, const struct op *o, u32 i, bool write)
{
	const u8 *index = c->v[o->r1].b;
	s64 v;
	u64 ea;

	if (o->aux & G_QINDEX) {
		memcpy(&v, index + 8 * i, 8);
	} else {
		s32 d;

		memcpy(&d, index + 4 * i, 4);
		v = d;
	}
	ea = (op_offset(c, o) + ((u64)v << G_SCALE(o->aux))) & c->ea_mask;
	c->op = o;
	return o->flags & OP_EA_SLOW ? op_ea_slow(c, o, ea, elem_size(o), write) : ea;
}

/* Bytes of the vector length. */
static u32 vector_bytes(const struct op *o)
{
	return G_COUNT(o->aux) * (o->aux & G_QINDEX ? 8 : elem_size(o));
}

/*
 * AVX2: before the first access every mask element becomes all ones or zero, those of the
 * vector length that go with no element too, and the rest of the register zero. AMD's processors do
 * one element after the other.
 */
static void spread_mask(struct cpu *c, const struct op *o)
{
	u32 size = elem_size(o), vl = vector_bytes(o);
	u8 *v = c->v[G_MASK(o->aux)].b;

	for (u32 at = 0; at < vl; at += size)
		memset(v + at, v[at + size - 1] & 0x80 ? 0xff : 0, size);
	memset(v + vl, 0, sizeof(struct vreg) - vl);
}

static void clear_mask(struct cpu *c, const struct op *o, u32 i)
{
	if (o->aux & G_VECTOR)
		memset(c->v[G_MASK(o->aux)].b + i * elem_size(o), 0, elem_size(o));
	else
		c->k[G_MASK(o->aux)] &= ~BIT(i);
}

/* Element i is done for good, and so are its device accesses. */
static void element_done(struct cpu *c, const struct op *o, u32 i)
{
	clear_mask(c, o, i);
	c->repeating = true;
	replay_forget(c);
}

static const struct op *gather(struct cpu *c, const struct op *o)
{
	u32 size = elem_size(o), n = G_COUNT(o->aux), vl = vector_bytes(o);
	u8 *out = c->v[o->r0].b;
	u64 mask = mask_bits(c, o);
	bool in_turn = cpu_vendor_does(c, FACT_GATHER_IN_TURN);

	if ((o->aux & G_VECTOR) && !in_turn)
		spread_mask(c, o);
	for (u32 i = 0; i < n; i++) {
		u64 la, v;

		if (!(mask & BIT(i))) {
			if (in_turn)
				clear_mask(c, o, i);
			continue;
		}
		la = elem_la(c, o, i, false);
		v = size == 8 ? ld64(c, la) : ld32(c, la);
		memcpy(out + i * size, &v, size);
		if (!in_turn || !(o->aux & G_VECTOR))
			memset(out + vl, 0, sizeof(struct vreg) - vl);
		element_done(c, o, i);
	}
	memset(out + n * size, 0, sizeof(struct vreg) - n * size);
	if (o->aux & G_VECTOR)
		memset(c->v[G_MASK(o->aux)].b, 0, sizeof(struct vreg));
	else
		c->k[G_MASK(o->aux)] = 0;
	c->repeating = false;
	return o + 1;
}

/* In the order of the elements: a later one overwrites an earlier one at the same place. */
static const struct op *scatter(struct cpu *c, const struct op *o)
{
	u32 size = elem_size(o);

	for (u64 m = mask_bits(c, o); m; m &= m - 1) {
		u32 i = (u32)__builtin_ctzll(m);
		u64 la = elem_la(c, o, i, true), v = 0;

		memcpy(&v, c->v[o->r0].b + i * size, size);
		if (size == 8)
			st64(c, la, v);
		else
			st32(c, la, (u32)v);
		element_done(c, o, i);
	}
	c->k[G_MASK(o->aux)] = 0;
	c->repeating = false;
	return op_after_slow_store(c, o);
}

static u8 reg_number(const ZydisDecodedOperand *o)
{
	return (u8)ZydisRegisterGetId(o->reg.value);
}

/* Suffix of the mnemonic: index, then data. */
static bool sizes(ZydisMnemonic m, bool *qindex, bool *qdata)
{
	switch (m) {
	case ZYDIS_MNEMONIC_VPGATHERDD:
	case ZYDIS_MNEMONIC_VGATHERDPS:
	case ZYDIS_MNEMONIC_VPSCATTERDD:
	case ZYDIS_MNEMONIC_VSCATTERDPS:
		*qindex = *qdata = false;
		return true;
	case ZYDIS_MNEMONIC_VPGATHERDQ:
	case ZYDIS_MNEMONIC_VGATHERDPD:
	case ZYDIS_MNEMONIC_VPSCATTERDQ:
	case ZYDIS_MNEMONIC_VSCATTERDPD:
		*qindex = false;
		*qdata = true;
		return true;
	case ZYDIS_MNEMONIC_VPGATHERQD:
	case ZYDIS_MNEMONIC_VGATHERQPS:
	case ZYDIS_MNEMONIC_VPSCATTERQD:
	case ZYDIS_MNEMONIC_VSCATTERQPS:
		*qindex = true;
		*qdata = false;
		return true;
	case ZYDIS_MNEMONIC_VPGATHERQQ:
	case ZYDIS_MNEMONIC_VGATHERQPD:
	case ZYDIS_MNEMONIC_VPSCATTERQQ:
	case ZYDIS_MNEMONIC_VSCATTERQPD:
		*qindex = *qdata = true;
		return true;
	default:
		return false;
	}
}

/* Operands: gather EVEX dst, k, mem; VEX dst, mem, mask; scatter mem, k, src. */
static bool decode(struct decoder *d, struct op *op, op_fn *fn, u32 data, u32 mem, u32 mask)
{
	bool vex = d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX, qindex, qdata;
	ZydisDecodedOperand m = d->o[mem];
	u32 vl = d->i.avx.vector_length, count;

	if (!sizes(d->i.mnemonic, &qindex, &qdata) || m.type != ZYDIS_OPERAND_TYPE_MEMORY ||
	    m.mem.type != ZYDIS_MEMOP_TYPE_VSIB)
		return false;
	op->fn = native_trap(d, vex ? UNIT_VEX : UNIT_EVEX, !vex);
	if (op->fn)
		return true;
	/* As many as the wider of index and data fit the vector length. */
	count = vl / (qindex || qdata ? 64 : 32);
	m.mem.index = ZYDIS_REGISTER_NONE;
	decode_mem(d, &m, op);
	op->flags |= OP_NO_AC;
	op->r0 = reg_number(&d->o[data]);
	op->r1 = (u8)ZydisRegisterGetId(d->o[mem].mem.index);
	op->aux = (u16)(__builtin_ctz(d->o[mem].mem.scale) | count << 2 | (qindex ? G_QINDEX : 0) |
			(qdata ? G_QDATA : 0) | (vex ? G_VECTOR : 0) |
			reg_number(&d->o[mask]) << 10);
	op->fn = fn;
	return true;
}

bool native_decode_gather(struct decoder *d, struct op *op)
{
	if (d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
		return decode(d, op, gather, 0, 1, 2);
	return decode(d, op, gather, 0, 2, 1);
}

bool native_decode_scatter(struct decoder *d, struct op *op)
{
	return decode(d, op, scatter, 2, 0, 1);
}

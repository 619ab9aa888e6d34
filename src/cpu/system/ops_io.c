/* SPDX-License-Identifier: MIT */
/*
 * system/ops_io.c: IN and OUT, and who may use which port (SDM vol. 1, 19.5).
 */
#include "cpu/system/ops.h"

#define TSS_IOMAP     102
#define TSS_MIN_LIMIT 103

static bool bitmap_allows(struct cpu *c, u16 port, u32 size)
{
	const struct seg *tr = &c->seg[SEG_TR];
	u32 at, bits, mask = ((1u << size) - 1) << (port & 7);

	if (tr->unusable || (attr_type(tr->attr) & ~2u) != TYPE_TSS || tr->limit < TSS_MIN_LIMIT)
		return false;
	at = (u32)access_load_sys(c, tr->base + TSS_IOMAP, 2) + port / 8;
	/* Two bytes are always read. */
	if (at + 1 > tr->limit)
		return false;
	bits = (u32)access_load_sys(c, tr->base + at, 2);
	return !(bits & mask);
}

void io_check(struct cpu *c, u16 port, u32 size)
{
	if (c->mode == MODE_REAL)
		return;
	if (c->mode != MODE_V86 && c->cpl <= (c->flags & FL_IOPL) >> 12)
		return;
	if (!bitmap_allows(c, port, size))
		raise_gp0(c);
}

/* The port is DX; else the immediate. */
#define AUX_DX (1 << AUX_N)

static u16 port_of(const struct cpu *c, const struct op *o)
{
	return o->aux & AUX_DX ? (u16)c->reg[RDX] : (u16)(u8)o->imm;
}

static const struct op *run_in(struct cpu *c, const struct op *o)
{
	u16 port = port_of(c, o);
	unsigned size = op_size(o);
	u32 v;

	op_begin(c, o);
	io_check(c, port, size);
	v = access_port_in(c, port, size, o->len);
	if (size == 1)
		R8(c, 0) = (u8)v;
	else
		put_reg(c, 0, size, v);
	return op_done(c, o);
}

static const struct op *run_out(struct cpu *c, const struct op *o)
{
	u16 port = port_of(c, o);
	unsigned size = op_size(o);

	op_begin(c, o);
	io_check(c, port, size);
	access_port_out(c, port, size, R32(c, 0) & (u32)((1ULL << (8 * size)) - 1), o->len);
	return op_done(c, o);
}

/* A device may have raised an interrupt by the end of the access: the block ends here. */
static bool decode_io(struct decoder *d, struct op *op, op_fn *fn, unsigned data, unsigned port)
{
	op->aux = d->o[data].size / 8;
	if (d->o[port].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		op->imm = (s32)d->o[port].imm.value.u;
	else
		op->aux |= AUX_DX;
	d->ends_block = true;
	return op_plain(op, fn);
}

bool decode_in(struct decoder *d, struct op *op)
{
	return decode_io(d, op, run_in, 0, 1);
}

bool decode_out(struct decoder *d, struct op *op)
{
	return decode_io(d, op, run_out, 1, 0);
}

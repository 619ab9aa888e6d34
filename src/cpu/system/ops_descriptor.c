/* SPDX-License-Identifier: MIT */
/*
 * system/ops_descriptor.c: LAR, LSL, VERR, VERW, ARPL: looking at a descriptor without loading it.
 */
#include "cpu/system/ops.h"

#define LAR_MASK 0x00ffff00u

static void set_zf(struct cpu *c, bool on)
{
	c->af = on ? c->af | AF_ZF : c->af & ~AF_ZF;
}

/* Visible at CPL and RPL? Conforming code always is. */
static bool visible(const struct cpu *c, u16 sel, const struct desc *d)
{
	u8 dpl = SEG_DPL(d->attr);

	return attr_conforming(d->attr) || (dpl >= c->cpl && dpl >= SEL_RPL(sel));
}

static bool peek(struct cpu *c, u16 sel, struct desc *d)
{
	return !SEL_NULL(sel) && desc_read(c, sel, d) && visible(c, sel, d);
}

/* System types LAR and LSL take, as a bit map by type (SDM vol. 2, tables under LAR and LSL). */
#define LAR_LEGACY (BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(9) | BIT(11) | BIT(12))
#define LAR_LONG   (BIT(2) | BIT(9) | BIT(11) | BIT(12))
#define LSL_LEGACY (BIT(1) | BIT(2) | BIT(3) | BIT(9) | BIT(11))
#define LSL_LONG   (BIT(2) | BIT(9) | BIT(11))

static bool type_taken(const struct cpu *c, const struct desc *d, u64 legacy, u64 lng)
{
	if (d->attr & SEG_ATTR_S)
		return true;
	return ((c->efer & EFER_LMA ? lng : legacy) >> attr_type(d->attr)) & 1;
}

/* r1: destination; r0 or memory: the selector. */
static const struct op *run_lar(struct cpu *c, const struct op *o)
{
	u16 sel = op_read16(c, o);
	struct desc d;
	bool ok = peek(c, sel, &d) && type_taken(c, &d, LAR_LEGACY, LAR_LONG);

	if (ok)
		put_reg(c, o->r1, op_size(o), (d.raw >> 32) & LAR_MASK);
	set_zf(c, ok);
	return op_continue(o);
}

static const struct op *run_lsl(struct cpu *c, const struct op *o)
{
	u16 sel = op_read16(c, o);
	struct desc d;
	bool ok = peek(c, sel, &d) && type_taken(c, &d, LSL_LEGACY, LSL_LONG);

	if (ok)
		put_reg(c, o->r1, op_size(o), d.limit);
	set_zf(c, ok);
	return op_continue(o);
}

static const struct op *run_verr(struct cpu *c, const struct op *o)
{
	u16 sel = op_read16(c, o);
	struct desc d;

	set_zf(c, peek(c, sel, &d) && (attr_data(d.attr) ||
				       (attr_code(d.attr) && (d.attr & TYPE_RW))));
	return op_continue(o);
}

static const struct op *run_verw(struct cpu *c, const struct op *o)
{
	u16 sel = op_read16(c, o);
	struct desc d;

	set_zf(c, peek(c, sel, &d) && attr_data(d.attr) && (d.attr & TYPE_RW));
	return op_continue(o);
}

static const struct op *run_arpl(struct cpu *c, const struct op *o)
{
	u16 dst = op_read16(c, o), rpl = R16(c, o->r1) & 3;
	bool less = SEL_RPL(dst) < rpl;

	/* Only what changes is written, or asked whether it may be. */
	if (less && !(o->aux & AUX_REG))
		op_write16(c, o, (dst & ~3u) | rpl);
	else if (less)
		R16(c, o->r0) = (dst & ~3u) | rpl;
	set_zf(c, less);
	return op_continue(o);
}

static bool decode_look(struct decoder *d, struct op *op, op_fn *fn, unsigned rm, bool dest)
{
	if (real_or_v86(d->c))
		return false;
	op_rm(d, op, rm);
	if (dest)
		op->r1 = decode_gpr(d->o[1 - rm].reg.value);
	return op_plain(op, fn);
}

bool decode_lar(struct decoder *d, struct op *op)
{
	return decode_look(d, op, run_lar, 1, true);
}

bool decode_lsl(struct decoder *d, struct op *op)
{
	return decode_look(d, op, run_lsl, 1, true);
}

bool decode_verr(struct decoder *d, struct op *op)
{
	return decode_look(d, op, run_verr, 0, false);
}

bool decode_verw(struct decoder *d, struct op *op)
{
	return decode_look(d, op, run_verw, 0, false);
}

bool decode_arpl(struct decoder *d, struct op *op)
{
	return decode_look(d, op, run_arpl, 0, true);
}

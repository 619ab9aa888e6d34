/* SPDX-License-Identifier: MIT */
/*
 * system/ops_flags.c: CLI, STI, PUSHF, POPF, CLAC, STAC (SDM vol. 2 under each; vol. 3, 21.3 and
 * 21.4 for virtual interrupts).
 */
#include "cpu/system/ops.h"

#define FL_POPF_ALWAYS (FL_STATUS | FL_TF | FL_DF | FL_NT)
#define FL_PUSHF_MASK  0xfcffffULL /* VM and RF are pushed as zero */

static unsigned iopl(const struct cpu *c)
{
	return (c->flags & FL_IOPL) >> 12;
}

enum if_access { IF_REAL, IF_VIRTUAL, IF_REFUSED };

/* What CLI and STI act on: IF, VIF, or nothing (SDM vol. 2, table under CLI). */
static enum if_access if_access(const struct cpu *c)
{
	if (c->mode == MODE_REAL || (c->mode != MODE_V86 && c->cpl <= iopl(c)))
		return IF_REAL;
	if (c->mode == MODE_V86) {
		if (iopl(c) == 3)
			return IF_REAL;
		return c->cr4 & CR4_VME ? IF_VIRTUAL : IF_REFUSED;
	}
	return c->cpl == 3 && (c->cr4 & CR4_PVI) ? IF_VIRTUAL : IF_REFUSED;
}

static const struct op *run_cli(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	switch (if_access(c)) {
	case IF_REAL:
		c->flags &= ~FL_IF;
		break;
	case IF_VIRTUAL:
		c->flags &= ~FL_VIF;
		break;
	case IF_REFUSED:
		raise_gp0(c);
	}
	return op_continue(o);
}

static const struct op *run_sti(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	switch (if_access(c)) {
	case IF_REAL:
		if (!(c->flags & FL_IF))
			c->shadow = SHADOW_STI;
		c->flags |= FL_IF;
		break;
	case IF_VIRTUAL:
		if (c->flags & FL_VIP)
			raise_gp0(c);
		c->flags |= FL_VIF;
		break;
	case IF_REFUSED:
		raise_gp0(c);
	}
	return op_continue(o);
}

bool decode_cli(struct decoder *d, struct op *op)
{
	return op_plain(op, run_cli);
}

bool decode_sti(struct decoder *d, struct op *op)
{
	d->shadows = true;
	return op_plain(op, run_sti);
}

static const struct op *run_pushf(struct cpu *c, const struct op *o)
{
	u64 image = cpu_rflags(c) & FL_PUSHF_MASK;
	struct stack st;

	op_begin(c, o);
	if (c->mode == MODE_V86 && iopl(c) < 3) {
		if (!(c->cr4 & CR4_VME) || op_size(o) != 2)
			raise_gp0(c);
		/* The program sees VIF for IF, and IOPL 3. */
		image = (image & ~FL_IF) | FL_IOPL | (c->flags & FL_VIF ? FL_IF : 0);
	}
	stack_current(c, &st);
	stack_push(c, &st, op_size(o), image);
	stack_commit(c, &st);
	return op_continue(o);
}

/* V86 mode with IOPL below 3. */
static u64 popf_vme(struct cpu *c, u64 image, unsigned size)
{
	u64 old = cpu_rflags(c);

	if (!(c->cr4 & CR4_VME) || size != 2)
		raise_gp0(c);
	if ((image & FL_TF) || ((image & FL_IF) && (old & FL_VIP)))
		raise_gp0(c);
	old &= ~FL_VIF;
	if (image & FL_IF)
		old |= FL_VIF;
	return (image & FL_POPF_ALWAYS) | (old & ~FL_POPF_ALWAYS);
}

static u64 popf_merge(struct cpu *c, u64 image, unsigned size)
{
	u64 change = FL_POPF_ALWAYS, old = cpu_rflags(c);

	if (c->mode == MODE_V86 && iopl(c) < 3)
		return popf_vme(c, image, size);
	if (c->cpl == 0)
		change |= FL_IOPL;
	if (c->mode == MODE_V86 || c->cpl <= iopl(c))
		change |= FL_IF;
	if (size > 2)
		change |= FL_AC | FL_ID;
	/* RF is always cleared. */
	return (image & change) | (old & ~change & ~FL_RF);
}

static const struct op *run_popf(struct cpu *c, const struct op *o)
{
	u64 old = c->flags, flags;
	u32 key = c->key;
	struct stack st;

	op_begin(c, o);
	stack_current(c, &st);
	flags = popf_merge(c, stack_pop(c, &st, op_size(o)), op_size(o));
	stack_commit(c, &st);
	cpu_load_rflags(c, flags);
	/* Interrupts now allowed are looked for; TF and AC change what a block is. */
	if ((c->flags & ~old & FL_IF) || c->key != key)
		return op_done_go_on(c, o);
	return op_continue(o);
}

static bool decode_flags(struct decoder *d, struct op *op, op_fn *fn)
{
	op->aux = d->i.operand_width / 8;
	return op_plain(op, fn);
}

bool decode_pushf(struct decoder *d, struct op *op)
{
	return decode_flags(d, op, run_pushf);
}

bool decode_popf(struct decoder *d, struct op *op)
{
	return decode_flags(d, op, run_popf);
}

static const struct op *set_ac(struct cpu *c, const struct op *o, bool on)
{
	op_begin(c, o);
	if (c->cpl)
		cpu_raise(c, VEC_UD);
	c->flags = on ? c->flags | FL_AC : c->flags & ~FL_AC;
	cpu_update_tlb(c);
	return op_continue(o);
}

static const struct op *run_clac(struct cpu *c, const struct op *o)
{
	return set_ac(c, o, false);
}

static const struct op *run_stac(struct cpu *c, const struct op *o)
{
	return set_ac(c, o, true);
}

static bool decode_ac(struct decoder *d, struct op *op, op_fn *fn)
{
	if (!(d->c->cr4_allowed & CR4_SMAP))
		return false;
	d->ends_block = true; /* which TLB is looked up in is part of the key */
	return op_plain(op, fn);
}

bool decode_clac(struct decoder *d, struct op *op)
{
	return decode_ac(d, op, run_clac);
}

bool decode_stac(struct decoder *d, struct op *op)
{
	return decode_ac(d, op, run_stac);
}

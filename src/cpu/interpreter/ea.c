/* SPDX-License-Identifier: MIT */
#include "cpu/interpreter/ea.h"

#include "cpu/fault.h"

#define TYPE_CODE 8
#define TYPE_DOWN 4 /* data: expands down */
#define TYPE_RW	  2 /* data: writable; code: readable */

/* SDM vol. 3, 5.3 and 5.5: may the segment be used this way, in protected mode? */
static bool type_allows(const struct seg *g, bool write)
{
	if (g->unusable)
		return false;
	if (write)
		return (g->attr & (TYPE_CODE | TYPE_RW)) == TYPE_RW;
	return (g->attr & (TYPE_CODE | TYPE_RW)) != TYPE_CODE;
}

static bool limit_allows(const struct seg *g, u64 off, u32 size)
{
	u64 last = off + size - 1;

	if ((g->attr & (TYPE_CODE | TYPE_DOWN)) == TYPE_DOWN)
		return off > g->limit && last <= (g->attr & SEG_ATTR_DB ? 0xffffffffu : 0xffffu);
	/* Across the end of a segment of 4 GiB may fault or wrap (SDM vol. 3, 5.3): it wraps. */
	return last <= g->limit || g->limit == 0xffffffff;
}

u64 ea_linear(struct cpu *c, enum segreg s, u64 off, u32 size, bool write)
{
	const struct seg *g = &c->seg[s];

	if (unlikely((cpu_protected(c) && !type_allows(g, write)) || !limit_allows(g, off, size)))
		cpu_raise_error(c, s == SEG_SS ? VEC_SS : VEC_GP, 0);
	return (u32)(g->base + off);
}

u64 op_ea_slow(struct cpu *c, const struct op *o, u64 ea, u32 size, bool write)
{
	c->op = o;
	ea = ea_cut(o, ea);
	if (c->mode == MODE_LONG)
		return o->seg >= SEG_FS ? ea + c->seg[o->seg].base : ea;
	return ea_linear(c, o->seg, ea, size, write);
}

u64 op_ea_at(struct cpu *c, const struct op *o, s64 delta, u32 size, bool write)
{
	u64 ea = (op_offset(c, o) + (u64)delta) & c->ea_mask;

	c->op = o;
	if (unlikely(o->flags & OP_EA_SLOW))
		ea = op_ea_slow(c, o, ea, size, write);
	return ea;
}

u64 ea_load(struct cpu *c, u64 la, u32 size)
{
	return size == 8 ? ld64(c, la) : size == 4 ? ld32(c, la) : size == 2 ? ld16(c, la) : ld8(c, la);
}

void ea_store(struct cpu *c, u64 la, u32 size, u64 v)
{
	if (size == 8)
		st64(c, la, v);
	else if (size == 4)
		st32(c, la, (u32)v);
	else if (size == 2)
		st16(c, la, (u16)v);
	else
		st8(c, la, (u8)v);
}

void ea_check_target(struct cpu *c, const struct op *o, u64 target)
{
	bool bad = c->mode == MODE_LONG ? !la_canonical(c, target)
					: target > c->seg[SEG_CS].limit;

	if (unlikely(bad)) {
		c->op = o;
		cpu_raise_error(c, VEC_GP, 0);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * system/gate.c: call gates, and the stacks a TSS holds for inner privilege levels (SDM vol. 3,
 * 5.8.3 to 5.8.5 and 8.7).
 */
#include "cpu/system/internal.h"

#define TSS32_ESP0 4 /* ESPn, SSn pairs of 8 bytes */
#define TSS16_SP0  2 /* SPn, SSn pairs of 4 bytes */
#define TSS64_RSP0 4
#define TSS64_IST1 36

bool tss_is_16(const struct cpu *c)
{
	return (attr_type(c->seg[SEG_TR].attr) & ~2u) == TYPE_TSS16;
}

void tss_inner_stack(struct cpu *c, u8 cpl, u16 *ss, u64 *sp)
{
	const struct seg *tr = &c->seg[SEG_TR];
	bool small = tss_is_16(c);
	u32 off = small ? TSS16_SP0 + cpl * 4 : TSS32_ESP0 + cpl * 8;

	if (off + (small ? 3 : 5) > tr->limit)
		raise_sel(c, VEC_TS, tr->sel);
	*sp = access_load_sys(c, tr->base + off, small ? 2 : 4);
	*ss = (u16)access_load_sys(c, tr->base + off + (small ? 2 : 4), 2);
}

u64 tss_rsp(struct cpu *c, unsigned index)
{
	const struct seg *tr = &c->seg[SEG_TR];
	u32 off = index >= 8 ? TSS64_RSP0 + (index - 8) * 8 : TSS64_IST1 + (index - 1) * 8;
	u64 rsp;

	if (off + 7 > tr->limit)
		raise_sel(c, VEC_TS, tr->sel);
	rsp = access_load_sys(c, tr->base + off, 8);
	if (!la_canonical(c, rsp))
		cpu_raise_error(c, VEC_SS, c->event_ext);
	return rsp;
}

/* The gate's field is five bits wide. */
#define MAX_PARAMS 31

struct gate_target {
	u16 sel;
	u64 rip;
	u32 size; /* bytes of a pushed word */
	unsigned nparams;
	struct desc cs;
};

static void read_target(struct cpu *c, const struct desc *gate, struct gate_target *t)
{
	bool lma = c->efer & EFER_LMA;

	t->sel = gate_selector(gate->raw);
	t->rip = gate_offset32(gate->raw);
	t->size = attr_type(gate->attr) == TYPE_CALL16 ? 2 : 4;
	t->nparams = (gate->raw >> 32) & MAX_PARAMS;
	if (t->size == 2)
		t->rip &= 0xffff;
	if (lma) {
		t->rip |= gate->high << 32;
		t->size = 8;
		t->nparams = 0;
	}
	if (SEL_NULL(t->sel))
		raise_gp0(c);
	desc_read_or(c, t->sel, VEC_GP, &t->cs);
	if (!attr_code(t->cs.attr) || SEG_DPL(t->cs.attr) > c->cpl)
		raise_sel(c, VEC_GP, t->sel);
	if (lma && (t->cs.attr & (SEG_ATTR_L | SEG_ATTR_DB)) != SEG_ATTR_L)
		raise_sel(c, VEC_GP, t->sel);
	if (!(t->cs.attr & SEG_ATTR_P))
		raise_sel(c, VEC_NP, t->sel);
}

/* Read before the inner stack is written, which may be the same memory: see code/op.h. */
static void read_params(struct cpu *c, const struct gate_target *t, u32 param[MAX_PARAMS])
{
	struct stack old;

	stack_current(c, &old);
	for (unsigned n = t->nparams; n-- > 0;)
		param[n] = (u32)stack_peek(c, &old, n * t->size, t->size);
}

static void call_inner(struct cpu *c, struct gate_target *t, u64 return_rip)
{
	u8 cpl = SEG_DPL(t->cs.attr);
	struct stack st;
	struct desc ss_desc;
	bool lma = c->efer & EFER_LMA;
	u32 param[MAX_PARAMS];
	u16 ss;
	u64 sp;

	if (lma) {
		ss = cpl;
		stack_flat(c, tss_rsp(c, 8 + cpl), cpl, &st);
	} else {
		tss_inner_stack(c, cpl, &ss, &sp);
		seg_check_ss(c, ss, cpl, VEC_TS, &ss_desc);
		stack_of_desc(c, ss, &ss_desc, sp, cpl, &st);
	}
	read_params(c, t, param);
	stack_push(c, &st, t->size, c->seg[SEG_SS].sel);
	stack_push(c, &st, t->size, c->reg[RSP]);
	for (unsigned n = t->nparams; n-- > 0;)
		stack_push(c, &st, t->size, param[n]);
	stack_push(c, &st, t->size, c->seg[SEG_CS].sel);
	stack_push(c, &st, t->size, return_rip);
	far_check_rip(c, &t->cs, t->rip);
	desc_mark_accessed(c, &t->cs);
	if (!lma)
		desc_mark_accessed(c, &ss_desc);

	if (lma)
		seg_commit_null(c, SEG_SS, ss, cpl);
	else
		seg_commit(c, SEG_SS, ss, &ss_desc);
	stack_commit(c, &st);
	far_commit_cs(c, t->sel, &t->cs, cpl);
	c->rip = t->rip;
	cpu_update_mode(c);
}

static void call_same(struct cpu *c, struct gate_target *t, u64 return_rip)
{
	struct stack st;

	stack_current(c, &st);
	if (t->size == 8)
		stack_flat(c, c->reg[RSP], c->cpl, &st);
	stack_push(c, &st, t->size, c->seg[SEG_CS].sel);
	stack_push(c, &st, t->size, return_rip);
	far_check_rip(c, &t->cs, t->rip);
	desc_mark_accessed(c, &t->cs);
	stack_commit(c, &st);
	far_commit_cs(c, t->sel, &t->cs, c->cpl);
	c->rip = t->rip;
	cpu_update_mode(c);
}

void gate_call(struct cpu *c, u16 sel, struct desc *gate, bool call, u32 op_size,
	       u64 return_rip)
{
	struct gate_target t;

	if (SEG_DPL(gate->attr) < c->cpl || SEG_DPL(gate->attr) < SEL_RPL(sel))
		raise_sel(c, VEC_GP, sel);
	if (!(gate->attr & SEG_ATTR_P))
		raise_sel(c, VEC_NP, sel);
	desc_widen(c, sel, gate);
	read_target(c, gate, &t);
	if (call) {
		if (!attr_conforming(t.cs.attr) && SEG_DPL(t.cs.attr) < c->cpl)
			call_inner(c, &t, return_rip);
		else
			call_same(c, &t, return_rip);
		return;
	}
	if (!attr_conforming(t.cs.attr) && SEG_DPL(t.cs.attr) != c->cpl)
		raise_sel(c, VEC_GP, t.sel);
	far_check_rip(c, &t.cs, t.rip);
	desc_mark_accessed(c, &t.cs);
	far_commit_cs(c, t.sel, &t.cs, c->cpl);
	c->rip = t.rip;
	cpu_update_mode(c);
}

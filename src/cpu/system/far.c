/* SPDX-License-Identifier: MIT */
/*
 * system/far.c: far JMP, CALL and RET (SDM vol. 3, 5.8; vol. 2 under each instruction).
 */
#include "cpu/system/internal.h"
#include "cpu/table/vendor.h"

static u64 size_mask(u32 op_size)
{
	return op_size == 8 ? ~0ULL : op_size == 4 ? 0xffffffff : 0xffff;
}

void far_check_rip(struct cpu *c, const struct desc *cs, u64 rip)
{
	bool long_code = (c->efer & EFER_LMA) && (cs->attr & SEG_ATTR_L);

	if (long_code ? !la_canonical(c, rip) : rip > cs->limit)
		raise_gp0(c);
}

void far_commit_cs(struct cpu *c, u16 sel, const struct desc *d, u8 cpl)
{
	seg_commit(c, SEG_CS, (sel & ~3u) | cpl, d);
}

/* Real and V86 mode: no checks but the limit, which stays as it is in real mode. */
static void check_rip_real(struct cpu *c, u64 rip)
{
	if (rip > (c->mode == MODE_V86 ? 0xffff : c->seg[SEG_CS].limit))
		raise_gp0(c);
}

static void jump_real(struct cpu *c, u16 sel, u64 rip)
{
	seg_load_real(c, SEG_CS, sel);
	c->rip = rip;
	cpu_update_mode(c);
}

/* Checks of a code segment reached without changing privilege (SDM vol. 3, 5.8.1). */
static void check_direct(struct cpu *c, u16 sel, const struct desc *d)
{
	u8 dpl = SEG_DPL(d->attr);

	if ((c->efer & EFER_LMA) && (d->attr & SEG_ATTR_L) && (d->attr & SEG_ATTR_DB))
		raise_sel(c, VEC_GP, sel);
	if (attr_conforming(d->attr) ? dpl > c->cpl : SEL_RPL(sel) > c->cpl || dpl != c->cpl)
		raise_sel(c, VEC_GP, sel);
	if (!(d->attr & SEG_ATTR_P))
		raise_sel(c, VEC_NP, sel);
}

/* A JMP or CALL to a system descriptor. */
static void through_system(struct cpu *c, u16 sel, struct desc *d, bool call, u32 op_size,
			   u64 return_rip)
{
	unsigned type = attr_type(d->attr);
	u8 dpl = SEG_DPL(d->attr);
	bool lma = c->efer & EFER_LMA;

	switch (type) {
	case TYPE_CALL16:
	case TYPE_CALL:
		if (lma && type == TYPE_CALL16)
			break;
		gate_call(c, sel, d, call, op_size, return_rip);
		return;
	case TYPE_TASK_GATE:
	case TYPE_TSS16:
	case TYPE_TSS:
		if (lma || dpl < c->cpl || dpl < SEL_RPL(sel))
			break;
		if (!(d->attr & SEG_ATTR_P))
			raise_sel(c, VEC_NP, sel);
		if (type == TYPE_TASK_GATE)
			sel = gate_selector(d->raw);
		task_switch(c, sel, call ? TASK_CALL : TASK_JUMP, return_rip, cpu_rflags(c), false,
			    0);
		return;
	}
	raise_sel(c, VEC_GP, sel);
}

static void read_target(struct cpu *c, u16 sel, struct desc *d)
{
	if (SEL_NULL(sel))
		raise_gp0(c);
	desc_read_or(c, sel, VEC_GP, d);
}

void far_jump(struct cpu *c, u16 sel, u64 off, u32 op_size, u64 return_rip)
{
	struct desc d;

	off &= size_mask(op_size);
	if (real_or_v86(c)) {
		check_rip_real(c, off);
		jump_real(c, sel, off);
		return;
	}
	read_target(c, sel, &d);
	if (!(d.attr & SEG_ATTR_S)) {
		through_system(c, sel, &d, false, op_size, return_rip);
		return;
	}
	if (!attr_code(d.attr))
		raise_sel(c, VEC_GP, sel);
	check_direct(c, sel, &d);
	far_check_rip(c, &d, off);
	desc_mark_accessed(c, &d);
	far_commit_cs(c, sel, &d, c->cpl);
	c->rip = off;
	cpu_update_mode(c);
}

void far_call(struct cpu *c, u16 sel, u64 off, u32 op_size, u64 return_rip)
{
	struct stack st;
	struct desc d;
	bool real = real_or_v86(c);

	off &= size_mask(op_size);
	if (real) {
		check_rip_real(c, off);
	} else {
		read_target(c, sel, &d);
		if (!(d.attr & SEG_ATTR_S)) {
			through_system(c, sel, &d, true, op_size, return_rip);
			return;
		}
		if (!attr_code(d.attr))
			raise_sel(c, VEC_GP, sel);
		check_direct(c, sel, &d);
	}
	/* From compatibility mode to 64-bit code the stack is already 64-bit code's: no SS base
	 * (as processors do it; the manual leaves it open). */
	if (!real && cpu_lma(c) && (d.attr & SEG_ATTR_L))
		stack_flat(c, c->reg[RSP], c->cpl, &st);
	else
		stack_current(c, &st);
	stack_push(c, &st, op_size, c->seg[SEG_CS].sel);
	stack_push(c, &st, op_size, return_rip);
	if (real) {
		stack_commit(c, &st);
		jump_real(c, sel, off);
		return;
	}
	far_check_rip(c, &d, off);
	desc_mark_accessed(c, &d);
	stack_commit(c, &st);
	far_commit_cs(c, sel, &d, c->cpl);
	c->rip = off;
	cpu_update_mode(c);
}

/* ---- returns, shared with iret.c */

void return_check_cs(struct cpu *c, u16 sel, struct desc *d)
{
	u8 rpl = SEL_RPL(sel), dpl;

	if (SEL_NULL(sel))
		raise_gp0(c);
	desc_read_or(c, sel, VEC_GP, d);
	if (!attr_code(d->attr) || rpl < c->cpl)
		raise_sel(c, VEC_GP, sel);
	dpl = SEG_DPL(d->attr);
	if (attr_conforming(d->attr) ? dpl > rpl : dpl != rpl)
		raise_sel(c, VEC_GP, sel);
	if ((c->efer & EFER_LMA) && (d->attr & SEG_ATTR_L) && (d->attr & SEG_ATTR_DB))
		raise_sel(c, VEC_GP, sel);
	if (!(d->attr & SEG_ATTR_P))
		raise_sel(c, VEC_NP, sel);
}

/* SS of the outer stack; *null set where 64-bit code may have none. */
void return_check_ss(struct cpu *c, u16 ss, u16 cs_sel, const struct desc *cs, struct desc *d,
		     bool *null)
{
	bool to_long = (c->efer & EFER_LMA) && (cs->attr & SEG_ATTR_L);

	*null = SEL_NULL(ss) && to_long && SEL_RPL(cs_sel) < 3 &&
		SEL_RPL(ss) == SEL_RPL(cs_sel);
	if (!*null)
		seg_check_ss(c, ss, SEL_RPL(cs_sel), VEC_GP, d);
}

/*
 * Data segments the outer level may not have become null (SDM vol. 2, RET): on Intel's processors the
 * selector, so that FS and GS keep their bases; on AMD's all of the register (APM vol. 3, RET (Far)).
 * Of a selector that is null already its RPL goes (SDM vol. 2, IRET; AMD's do so, too).
 */
void return_drop_segments(struct cpu *c, u8 cpl)
{
	static const u8 data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

	for (unsigned n = 0; n < ARRAY_SIZE(data); n++) {
		struct seg *s = &c->seg[data[n]];
		u64 base = s->base;

		if (SEL_NULL(s->sel))
			s->sel = 0;
		if (s->unusable || attr_conforming(s->attr) || SEG_DPL(s->attr) >= cpl)
			continue;
		seg_commit_null(c, data[n], 0, 0);
		if (data[n] >= SEG_FS && !cpu_vendor_does(c, FACT_OUTER_NULL))
			s->base = base;
	}
}

void return_commit(struct cpu *c, struct far_frame *f, const struct stack *st)
{
	u8 cpl = SEL_RPL(f->cs);
	bool outer = cpl > c->cpl;

	far_check_rip(c, &f->cs_desc, f->rip);
	desc_mark_accessed(c, &f->cs_desc);
	if (f->has_ss && !f->ss_null)
		desc_mark_accessed(c, &f->ss_desc);
	if (!f->has_ss)
		stack_commit(c, st);
	far_commit_cs(c, f->cs, &f->cs_desc, cpl);
	if (f->has_ss) {
		if (f->ss_null)
			seg_commit_null(c, SEG_SS, f->ss, cpl);
		else
			seg_commit(c, SEG_SS, f->ss, &f->ss_desc);
	}
	c->rip = f->rip;
	cpu_update_mode(c);
	if (outer)
		return_drop_segments(c, cpl);
	if (!f->has_ss)
		return;
	if (cpu_long(c))
		c->reg[RSP] = f->rsp;
	else if (c->seg[SEG_SS].attr & SEG_ATTR_DB)
		c->reg[RSP] = f->rsp & 0xffffffff;
	else
		c->reg[RSP] = (c->reg[RSP] & ~0xffffULL) | (f->rsp & 0xffff);
	if (!cpu_long(c))
		cpu_update_mode(c);
}

static void return_real(struct cpu *c, struct stack *st, u64 rip, u16 cs, u32 pop_bytes)
{
	check_rip_real(c, rip);
	st->sp += pop_bytes;
	stack_commit(c, st);
	jump_real(c, cs, rip);
}

void far_return(struct cpu *c, u32 op_size, u32 pop_bytes)
{
	struct far_frame f = {.has_ss = false};
	struct stack st;

	stack_current(c, &st);
	/* Which comes first shows in a page fault's address only: processors begin with CS. */
	f.cs = (u16)stack_peek(c, &st, op_size, op_size);
	f.rip = stack_peek(c, &st, 0, op_size);
	st.sp = (st.sp & ~st.mask) | ((st.sp + 2 * op_size) & st.mask);
	if (real_or_v86(c)) {
		return_real(c, &st, f.rip, f.cs, pop_bytes);
		return;
	}
	return_check_cs(c, f.cs, &f.cs_desc);
	if (SEL_RPL(f.cs) > c->cpl) {
		st.sp = (st.sp & ~st.mask) | ((st.sp + pop_bytes) & st.mask);
		f.has_ss = true;
		f.rsp = stack_pop(c, &st, op_size) + pop_bytes;
		f.ss = (u16)stack_pop(c, &st, op_size);
		return_check_ss(c, f.ss, f.cs, &f.cs_desc, &f.ss_desc, &f.ss_null);
	}
	return_commit(c, &f, &st);
	if (f.has_ss || !pop_bytes)
		return;
	/* Parameters are released from the stack as the code returned to sees it. */
	stack_current(c, &st);
	st.sp = (st.sp & ~st.mask) | ((st.sp + pop_bytes) & st.mask);
	stack_commit(c, &st);
}

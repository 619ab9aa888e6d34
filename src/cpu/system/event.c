/* SPDX-License-Identifier: MIT */
/*
 * system/event.c: exceptions and interrupts through the IVT or IDT (SDM vol. 3, chapter 6).
 *
 * A delivery that faults leaves the guest's state as it was: everything is read, checked and
 * pushed first, registers change last.
 */
#include "cpu/system/internal.h"
#include "cpu/table/vendor.h"

#define IDT_ERROR 2 /* error code: names an IDT entry */

struct delivery {
	u8 vector;
	enum event_kind kind;
	bool has_error;
	u32 error;
	u64 return_rip;
	u64 flags; /* image to be pushed */
};

static bool is_software(const struct delivery *e)
{
	return e->kind == EVENT_SOFT_INT || e->kind == EVENT_INT3;
}

static NORETURN void raise_idt(struct cpu *c, u8 vector, const struct delivery *e)
{
	cpu_raise_error(c, vector, e->vector * 8u | IDT_ERROR | c->event_ext);
}

/*
 * RF in the pushed image: set for faults, so that an instruction breakpoint does not hit again, and
 * between iterations of a string instruction (SDM vol. 3, 17.3.1.1). #BP and #OF are traps; #DF and
 * #MC are aborts.
 */
static bool sets_rf(const struct cpu *c, const struct delivery *e)
{
	if (e->kind == EVENT_DEBUG && cpu_vendor_does(c, FACT_REP_TRAP))
		return false;
	if (e->kind == EVENT_DEBUG || e->kind == EVENT_EXTERNAL)
		return c->repeating;
	if (e->kind != EVENT_EXCEPTION)
		return false;
	switch (e->vector) {
	case VEC_BP:
	case VEC_OF:
	case VEC_NMI:
	case VEC_DF:
	case VEC_MC:
		return false;
	}
	return true;
}

static void deliver_real(struct cpu *c, const struct delivery *e)
{
	u32 off = e->vector * 4u;
	struct stack st;
	u32 entry;

	if (off + 3 > c->idt.limit)
		raise_idt(c, VEC_GP, e);
	entry = (u32)access_load_sys(c, c->idt.base + off, 4);
	stack_current(c, &st);
	stack_push(c, &st, 2, e->flags);
	stack_push(c, &st, 2, c->seg[SEG_CS].sel);
	stack_push(c, &st, 2, e->return_rip);

	stack_commit(c, &st);
	seg_load_real(c, SEG_CS, (u16)(entry >> 16));
	c->rip = entry & 0xffff;
	c->flags &= ~(FL_IF | FL_TF | FL_AC | FL_RF);
	cpu_update_mode(c);
}

/* A gate of the IDT. */
struct gate {
	u64 raw, high;
	unsigned type;
	u32 size; /* bytes of a pushed word */
	u16 sel;
	u64 rip;
	struct desc cs;
	u8 cpl; /* of the handler */
};

static void read_gate(struct cpu *c, const struct delivery *e, struct gate *g)
{
	bool lma = c->efer & EFER_LMA;
	u32 width = lma ? 16 : 8, off = e->vector * width;
	u16 attr;

	if (off + width - 1 > c->idt.limit)
		raise_idt(c, VEC_GP, e);
	g->raw = access_load_sys(c, c->idt.base + off, 8);
	g->high = lma ? access_load_sys(c, c->idt.base + off + 8, 8) : 0;
	attr = (g->raw >> 40) & 0xff;
	g->type = attr_type(attr);
	if (attr & SEG_ATTR_S)
		raise_idt(c, VEC_GP, e);
	switch (g->type) {
	case TYPE_INT:
	case TYPE_TRAP:
		break;
	case TYPE_TASK_GATE:
	case TYPE_INT16:
	case TYPE_TRAP16:
		if (!lma)
			break;
		/* fall through */
	default:
		raise_idt(c, VEC_GP, e);
	}
	if (is_software(e) && SEG_DPL(attr) < c->cpl)
		raise_idt(c, VEC_GP, e);
	if (!(attr & SEG_ATTR_P))
		raise_idt(c, VEC_NP, e);
	g->sel = gate_selector(g->raw);
	g->size = lma ? 8 : g->type & 8 ? 4 : 2;
	g->rip = gate_offset32(g->raw) | g->high << 32;
	if (g->size == 2)
		g->rip &= 0xffff;
}

static void read_handler(struct cpu *c, struct gate *g)
{
	bool lma = c->efer & EFER_LMA;
	u8 dpl;

	if (SEL_NULL(g->sel))
		raise_gp0(c);
	desc_read_or(c, g->sel, VEC_GP, &g->cs);
	dpl = SEG_DPL(g->cs.attr);
	if (!attr_code(g->cs.attr) || dpl > c->cpl)
		raise_sel(c, VEC_GP, g->sel);
	if (lma && (g->cs.attr & (SEG_ATTR_L | SEG_ATTR_DB)) != SEG_ATTR_L)
		raise_sel(c, VEC_GP, g->sel);
	if (!(g->cs.attr & SEG_ATTR_P))
		raise_sel(c, VEC_NP, g->sel);
	g->cpl = attr_conforming(g->cs.attr) ? c->cpl : dpl;
	/* From V86 mode only a handler at level 0 is reachable (SDM vol. 3, 21.3.1). */
	if (c->mode == MODE_V86 && g->cpl != 0)
		raise_sel(c, VEC_GP, g->sel);
}

static void push_frame(struct cpu *c, const struct delivery *e, const struct gate *g,
		       struct stack *st, bool with_ss)
{
	if (with_ss) {
		stack_push(c, st, g->size, c->seg[SEG_SS].sel);
		stack_push(c, st, g->size, c->reg[RSP]);
	}
	stack_push(c, st, g->size, e->flags);
	stack_push(c, st, g->size, c->seg[SEG_CS].sel);
	stack_push(c, st, g->size, e->return_rip);
	if (e->has_error)
		stack_push(c, st, g->size, e->error);
}

static void enter_handler(struct cpu *c, const struct gate *g)
{
	far_commit_cs(c, g->sel, &g->cs, g->cpl);
	c->rip = g->rip;
	/* Interrupt gates (even types) clear IF. */
	c->flags &= ~(FL_TF | FL_NT | FL_VM | FL_RF | (g->type & 1 ? 0 : FL_IF));
	cpu_update_mode(c);
}

static void deliver_long(struct cpu *c, const struct delivery *e, struct gate *g)
{
	unsigned ist = (g->raw >> 32) & 7;
	bool inner = g->cpl < c->cpl;
	struct stack st;
	u64 rsp = c->reg[RSP];

	if (ist)
		rsp = tss_rsp(c, ist);
	else if (inner)
		rsp = tss_rsp(c, 8 + g->cpl);
	stack_flat(c, rsp & ~15ULL, g->cpl, &st);
	push_frame(c, e, g, &st, true);
	far_check_rip(c, &g->cs, g->rip);
	desc_mark_accessed(c, &g->cs);

	if (inner)
		seg_commit_null(c, SEG_SS, g->cpl, g->cpl);
	c->reg[RSP] = st.sp;
	enter_handler(c, g);
}

static void deliver_same(struct cpu *c, const struct delivery *e, struct gate *g)
{
	struct stack st;

	stack_current(c, &st);
	push_frame(c, e, g, &st, false);
	far_check_rip(c, &g->cs, g->rip);
	desc_mark_accessed(c, &g->cs);
	stack_commit(c, &st);
	enter_handler(c, g);
}

static void deliver_inner(struct cpu *c, const struct delivery *e, struct gate *g)
{
	static const u8 v86_order[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES};
	bool v86 = c->mode == MODE_V86;
	struct desc ss_desc;
	struct stack st;
	u64 sp;
	u16 ss;

	tss_inner_stack(c, g->cpl, &ss, &sp);
	seg_check_ss(c, ss, g->cpl, VEC_TS, &ss_desc);
	stack_of_desc(c, ss, &ss_desc, sp, g->cpl, &st);
	for (unsigned n = 0; v86 && n < ARRAY_SIZE(v86_order); n++)
		stack_push(c, &st, g->size, c->seg[v86_order[n]].sel);
	push_frame(c, e, g, &st, true);
	far_check_rip(c, &g->cs, g->rip);
	desc_mark_accessed(c, &g->cs);
	desc_mark_accessed(c, &ss_desc);

	for (unsigned n = 0; v86 && n < ARRAY_SIZE(v86_order); n++)
		seg_commit_null(c, v86_order[n], 0, 0);
	seg_commit(c, SEG_SS, ss, &ss_desc);
	/* Leaving V86 mode the new stack's width counts, so RSP follows SS. */
	stack_commit(c, &st);
	enter_handler(c, g);
}

static void deliver_protected(struct cpu *c, const struct delivery *e)
{
	struct gate g;

	read_gate(c, e, &g);
	if (g.type == TYPE_TASK_GATE) {
		task_switch(c, g.sel, TASK_GATE, e->return_rip, e->flags, e->has_error,
			    e->error);
		return;
	}
	read_handler(c, &g);
	if (c->efer & EFER_LMA)
		deliver_long(c, e, &g);
	else if (g.cpl < c->cpl)
		deliver_inner(c, e, &g);
	else
		deliver_same(c, e, &g);
}

/*
 * INT n in V86 mode: with CR4.VME and a clear bit in the TSS's redirection map it goes through the
 * IVT of the 8086 program (SDM vol. 3, 21.3.3). True: done.
 */
static bool redirect_v86(struct cpu *c, const struct delivery *e)
{
	const struct seg *tr = &c->seg[SEG_TR];
	bool low_iopl = (c->flags & FL_IOPL) != FL_IOPL;
	struct delivery d = *e;
	u32 map, entry;
	struct stack st;
	u64 vif;

	if (!(c->cr4 & CR4_VME)) {
		if (low_iopl)
			raise_gp0(c);
		return false;
	}
	if (tr->limit < 103)
		raise_gp0(c);
	map = (u32)access_load_sys(c, tr->base + 102, 2);
	if (map < 32 || map - 32 + e->vector / 8 > tr->limit)
		raise_gp0(c);
	if ((access_load_sys(c, tr->base + map - 32 + e->vector / 8, 1) >> (e->vector % 8)) & 1) {
		if (low_iopl)
			raise_gp0(c);
		return false;
	}
	/* With IOPL below 3 the program sees VIF for IF, and IOPL as 3. */
	vif = low_iopl ? FL_VIF : FL_IF;
	if (low_iopl) {
		d.flags = (d.flags & ~FL_IF) | FL_IOPL;
		if (c->flags & FL_VIF)
			d.flags |= FL_IF;
	}
	entry = ld32(c, e->vector * 4u);
	stack_current(c, &st);
	stack_push(c, &st, 2, d.flags);
	stack_push(c, &st, 2, c->seg[SEG_CS].sel);
	stack_push(c, &st, 2, d.return_rip);
	stack_commit(c, &st);
	seg_commit_v86(c, SEG_CS, (u16)(entry >> 16));
	c->rip = entry & 0xffff;
	c->flags &= ~(vif | FL_TF | FL_RF);
	cpu_update_mode(c);
	return true;
}

void event_deliver(struct cpu *c, u8 vector, enum event_kind kind, bool has_error, u32 error,
		   u64 return_rip)
{
	struct delivery e = {
		.vector = vector,
		.kind = kind,
		.has_error = has_error,
		.error = error,
		.return_rip = return_rip,
		.flags = cpu_rflags(c),
	};

	/* Real mode pushes no error codes (SDM vol. 3, 20.1.4). */
	if (sets_rf(c, &e))
		e.flags |= FL_RF;
	else if (is_software(&e) || kind == EVENT_INT1)
		e.flags &= ~FL_RF;
	/* TF is cleared on the way to the handler, and its trap with it. */
	c->no_step_trap = is_software(&e) || kind == EVENT_INT1;
	c->event_ext = kind != EVENT_SOFT_INT && kind != EVENT_INT3;
	if (c->mode == MODE_REAL)
		deliver_real(c, &e);
	else if (c->mode != MODE_V86 || kind != EVENT_SOFT_INT || !redirect_v86(c, &e))
		deliver_protected(c, &e);
	c->event_ext = false;
	c->repeating = false;
}

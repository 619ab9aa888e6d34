/* SPDX-License-Identifier: MIT */
/*
 * system/task.c: hardware task switches (SDM vol. 3, 8.3). Legacy protected mode only.
 *
 * The old task is saved and the new TSS read before anything changes; from the commit on, faults
 * belong to the new task, with its first instruction's address. What is no fault of the guest's but
 * ends the switch amid all the same (a signal, memory that the VMM has to see to) takes all of it
 * back, and it is done again from the start: so the new TSS is marked busy last.
 */
#include "cpu/system/internal.h"

#define TSS_BACKLINK 0
#define TSS_T	     BIT(0)
#define DR6_BT	     BIT(15)

/* Where a TSS has what; index by [is_32]. Words are 4 or 2 bytes. */
struct layout {
	u8 word;
	u8 cr3, ip, flags, gpr, seg, nseg, ldt;
	u8 min_limit;
};

static const struct layout layout16 = {
	.word = 2, .ip = 14, .flags = 16, .gpr = 18, .seg = 34, .nseg = 4, .ldt = 42,
	.min_limit = 0x2b};
static const struct layout layout32 = {
	.word = 4, .cr3 = 28, .ip = 32, .flags = 36, .gpr = 40, .seg = 72, .nseg = 6, .ldt = 96,
	.min_limit = 0x67};

/* The state a TSS holds. */
struct image {
	u64 cr3;
	u32 ip, flags, gpr[8];
	u16 seg[6], ldt;
	bool trap;
};

static const struct layout *layout_of(u16 attr)
{
	return attr_type(attr) & 8 ? &layout32 : &layout16;
}

static void read_image(struct cpu *c, u64 tss, const struct layout *l, struct image *i)
{
	memset(i, 0, sizeof(*i));
	if (l->cr3)
		i->cr3 = access_load_sys(c, tss + l->cr3, 4);
	i->ip = (u32)access_load_sys(c, tss + l->ip, l->word);
	i->flags = (u32)access_load_sys(c, tss + l->flags, l->word);
	for (unsigned n = 0; n < 8; n++)
		i->gpr[n] = (u32)access_load_sys(c, tss + l->gpr + n * l->word, l->word);
	for (unsigned n = 0; n < l->nseg; n++)
		i->seg[n] = (u16)access_load_sys(c, tss + l->seg + n * l->word, 2);
	i->ldt = (u16)access_load_sys(c, tss + l->ldt, 2);
	i->trap = l == &layout32 && (access_load_sys(c, tss + 100, 2) & TSS_T);
}

static void save_image(struct cpu *c, const struct layout *l, u64 ip, u64 flags)
{
	u64 tss = c->seg[SEG_TR].base;

	access_probe_sys(c, tss, l->min_limit + 1, true);
	access_store_sys(c, tss + l->ip, l->word, ip);
	access_store_sys(c, tss + l->flags, l->word, flags);
	for (unsigned n = 0; n < 8; n++)
		access_store_sys(c, tss + l->gpr + n * l->word, l->word, c->reg[n]);
	for (unsigned n = 0; n < l->nseg; n++)
		access_store_sys(c, tss + l->seg + n * l->word, 2, c->seg[n].sel);
}

static void read_tss_desc(struct cpu *c, u16 sel, enum task_reason reason, struct desc *d)
{
	u8 vector = reason == TASK_IRET ? VEC_TS : VEC_GP;
	unsigned want = reason == TASK_IRET ? 2 : 0;

	if ((sel & SEL_TI) || SEL_NULL(sel))
		raise_sel(c, vector, sel);
	desc_read_or(c, sel, vector, d);
	if ((d->attr & SEG_ATTR_S) || (attr_type(d->attr) & ~0xau) != TYPE_TSS16 ||
	    (attr_type(d->attr) & 2) != want)
		raise_sel(c, vector, sel);
	if (!(d->attr & SEG_ATTR_P))
		raise_sel(c, VEC_NP, sel);
	if (d->limit < layout_of(d->attr)->min_limit)
		raise_sel(c, VEC_TS, sel);
}

static void clear_busy(struct cpu *c, u64 desc_addr)
{
	access_bits_sys(c, desc_addr + DESC_TYPE_AT, 0, TYPE_BUSY);
}

static void set_busy(struct cpu *c, const struct desc *d)
{
	access_bits_sys(c, d->addr + DESC_TYPE_AT, TYPE_BUSY, 0);
}

/* LDTR of the new task: what LLDT checks, as #TS. */
static void load_ldt(struct cpu *c, u16 sel)
{
	struct desc d;

	seg_commit_null(c, SEG_LDTR, sel, 0);
	if (SEL_NULL(sel))
		return;
	if ((sel & SEL_TI) || !desc_read(c, sel, &d) || (d.attr & SEG_ATTR_S) ||
	    attr_type(d.attr) != TYPE_LDT || !(d.attr & SEG_ATTR_P))
		raise_sel(c, VEC_TS, sel);
	seg_commit(c, SEG_LDTR, sel, &d);
}

static void load_cs(struct cpu *c, u16 sel)
{
	struct desc d;

	if (SEL_NULL(sel))
		raise_sel(c, VEC_TS, sel);
	desc_read_or(c, sel, VEC_TS, &d);
	if (!attr_code(d.attr) || (attr_conforming(d.attr) ? SEG_DPL(d.attr) > SEL_RPL(sel)
							  : SEG_DPL(d.attr) != SEL_RPL(sel)))
		raise_sel(c, VEC_TS, sel);
	if (!(d.attr & SEG_ATTR_P))
		raise_sel(c, VEC_NP, sel);
	desc_mark_accessed(c, &d);
	seg_commit(c, SEG_CS, sel, &d);
}

static void load_segments(struct cpu *c, const struct image *i)
{
	static const u8 data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
	u8 cpl = SEL_RPL(i->seg[SEG_CS]);
	struct desc d;

	load_ldt(c, i->ldt);
	if (i->flags & FL_VM) {
		for (unsigned n = 0; n < 6; n++)
			seg_commit_v86(c, n, i->seg[n]);
		cpu_update_mode(c);
		return;
	}
	for (unsigned n = 0; n < 6; n++)
		seg_commit_null(c, n, i->seg[n], n == SEG_SS ? cpl : 0);
	cpu_update_mode(c);
	load_cs(c, i->seg[SEG_CS]);
	seg_check_ss(c, i->seg[SEG_SS], cpl, VEC_TS, &d);
	desc_mark_accessed(c, &d);
	seg_commit(c, SEG_SS, i->seg[SEG_SS], &d);
	cpu_update_mode(c);
	for (unsigned n = 0; n < ARRAY_SIZE(data); n++)
		seg_load_data(c, data[n], i->seg[data[n]], VEC_TS);
	cpu_update_mode(c);
	if (i->ip > c->seg[SEG_CS].limit)
		raise_gp0(c);
}

/* CR3 of the new task, and what comes with it. */
struct new_cr3 {
	bool changes;
	u64 cr3, pdptr[4];
	int error; /* PDPTEs that MOV to CR3 would refuse */
};

/* Read while the instruction can still be started again. */
static void read_cr3(struct cpu *c, const struct image *i, const struct layout *l, struct new_cr3 *n)
{
	*n = (struct new_cr3){.cr3 = i->cr3};
	n->changes = l == &layout32 && (c->cr0 & CR0_PG) && i->cr3 != c->cr3;
	if (!n->changes || !(c->cr4 & CR4_PAE))
		return;
	n->error = pdptrs_read(c, n->cr3, n->pdptr);
	if (n->error == -EINTR || n->error == -EAGAIN)
		cpu_restart(c);
}

static void load_cr3(struct cpu *c, const struct new_cr3 *n)
{
	if (!n->changes)
		return;
	if (n->error)
		raise_gp0(c); /* as MOV to CR3 does (4.4.1) */
	if (c->cr4 & CR4_PAE)
		memcpy(c->pdptr, n->pdptr, sizeof(c->pdptr));
	c->cr3 = n->cr3;
	mmu_changed(c);
}

/* A switch whose old task is saved. */
struct entering {
	u16 sel;
	struct desc d; /* of the new TSS */
	struct image i;
	struct new_cr3 cr3;
	enum task_reason reason;
	bool has_error;
	u32 error;
};

static void load_image(struct cpu *c, const struct entering *e)
{
	const struct image *i = &e->i;
	bool wide = layout_of(e->d.attr) == &layout32;

	/* Faults from here on are the new task's, at its own instruction pointer. */
	c->op = NULL;
	c->rip = i->ip;
	for (unsigned n = 0; n < 8; n++)
		c->reg[n] = wide ? i->gpr[n] : (c->reg[n] & ~0xffffULL) | i->gpr[n];
	cpu_load_rflags(c, i->flags);
	load_cr3(c, &e->cr3);
	load_segments(c, i);
}

static void enter_task(struct cpu *c, const struct entering *e)
{
	struct desc d = e->d;

	d.attr |= TYPE_BUSY;
	seg_commit(c, SEG_TR, e->sel, &d);
	c->cr0 |= CR0_TS;
	c->dr7 &= ~0x55ULL; /* local breakpoints end with their task (17.2.4) */
	load_image(c, e);
	if (e->has_error) {
		struct stack st;

		stack_current(c, &st);
		stack_push(c, &st, layout_of(d.attr)->word, e->error);
		stack_commit(c, &st);
	}
	if (e->i.trap)
		cpu_queue_debug(c, DR6_BT);
}

/* What entering a task changes. */
struct before {
	u64 reg[NR_GPR], rip, flags, cr0, cr3, dr7, pdptr[4];
	struct seg seg[NR_SEG];
	const struct op *op;
	u16 af;
};

static void remember(const struct cpu *c, struct before *b)
{
	*b = (struct before){.rip = c->rip, .flags = c->flags, .cr0 = c->cr0, .cr3 = c->cr3,
			     .dr7 = c->dr7, .op = c->op, .af = c->af};
	memcpy(b->reg, c->reg, sizeof(b->reg));
	memcpy(b->pdptr, c->pdptr, sizeof(b->pdptr));
	memcpy(b->seg, c->seg, sizeof(b->seg));
}

static void take_back(struct cpu *c, const struct before *b)
{
	bool other_cr3 = c->cr3 != b->cr3;

	c->exception.pending = false;
	c->rip = b->rip;
	c->flags = b->flags;
	c->cr0 = b->cr0;
	c->cr3 = b->cr3;
	c->dr7 = b->dr7;
	c->op = b->op;
	c->af = b->af;
	memcpy(c->reg, b->reg, sizeof(b->reg));
	memcpy(c->pdptr, b->pdptr, sizeof(b->pdptr));
	memcpy(c->seg, b->seg, sizeof(b->seg));
	cpu_update_mode(c);
	if (other_cr3)
		mmu_changed(c);
}

/* All of it, an exception of the new task's included, or nothing. No exception is pending before. */
static void enter_task_or_take_back(struct cpu *c, const struct entering *e)
{
	struct unwind_point *outer = c->unwind, here;
	volatile bool entered = false, raised = false;
	struct before b;

	remember(c, &b);
	c->unwind = &here;
	if (UNWIND_SET(&here)) {
		if (entered || !c->exception.pending) {
			take_back(c, &b);
			c->unwind = outer;
			cpu_unwind(c);
		}
		raised = true;
	} else {
		enter_task(c, e);
	}
	entered = true;
	if (e->reason != TASK_IRET)
		set_busy(c, &e->d);
	c->unwind = outer;
	if (raised)
		cpu_unwind(c);
}

void task_switch(struct cpu *c, u16 sel, enum task_reason reason, u64 return_rip, u64 flags,
		 bool has_error, u32 error)
{
	const struct layout *old = layout_of(c->seg[SEG_TR].attr), *new;
	struct entering e = {.reason = reason, .has_error = has_error, .error = error};
	const struct seg *tr = &c->seg[SEG_TR];
	bool nested = reason == TASK_CALL || reason == TASK_GATE;

	if (reason == TASK_IRET) {
		sel = (u16)access_load_sys(c, tr->base + TSS_BACKLINK, 2);
		flags &= ~FL_NT;
	}
	read_tss_desc(c, sel, reason, &e.d);
	e.sel = sel;
	new = layout_of(e.d.attr);
	read_image(c, e.d.base, new, &e.i);
	if (nested)
		access_probe_sys(c, e.d.base, 2, true);
	if (reason != TASK_IRET)
		access_probe_sys(c, e.d.addr + DESC_TYPE_AT, 1, true);
	read_cr3(c, &e.i, new, &e.cr3);
	save_image(c, old, return_rip, flags);
	if (nested) {
		access_store_sys(c, e.d.base + TSS_BACKLINK, 2, tr->sel);
		e.i.flags |= FL_NT;
	} else {
		clear_busy(c, c->gdt.base + (tr->sel & ~7u));
	}
	enter_task_or_take_back(c, &e);
}

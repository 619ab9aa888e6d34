/* SPDX-License-Identifier: MIT */
/*
 * system/task.c: hardware task switches (SDM vol. 3, 8.3). Legacy protected mode only.
 *
 * The old task is saved and the new TSS read before anything changes; from the commit on, faults
 * belong to the new task, with its first instruction's address.
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

#define DESC_TYPE_AT 5 /* byte with a descriptor's type */
#define TYPE_BUSY    2

static void clear_busy(struct cpu *c, u64 desc_addr)
{
	u64 type = access_load_sys(c, desc_addr + DESC_TYPE_AT, 1);

	access_store_sys(c, desc_addr + DESC_TYPE_AT, 1, type & ~(u64)TYPE_BUSY);
}

/* As it was read and judged, with the bit. */
static void set_busy(struct cpu *c, struct desc *d)
{
	d->attr |= TYPE_BUSY;
	access_store_sys(c, d->addr + DESC_TYPE_AT, 1, (d->raw >> 40 & 0xff) | TYPE_BUSY);
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

static void load_image(struct cpu *c, const struct image *i, const struct layout *l,
		       const struct new_cr3 *cr3)
{
	/* Faults from here on are the new task's, at its own instruction pointer. */
	c->op = NULL;
	c->rip = i->ip;
	for (unsigned n = 0; n < 8; n++)
		c->reg[n] = l == &layout32 ? i->gpr[n]
					   : (c->reg[n] & ~0xffffULL) | i->gpr[n];
	cpu_load_rflags(c, i->flags);
	load_cr3(c, cr3);
	load_segments(c, i);
}

void task_switch(struct cpu *c, u16 sel, enum task_reason reason, u64 return_rip, u64 flags,
		 bool has_error, u32 error)
{
	const struct layout *old = layout_of(c->seg[SEG_TR].attr), *new;
	struct seg *tr = &c->seg[SEG_TR];
	bool nested = reason == TASK_CALL || reason == TASK_GATE;
	u64 old_desc = c->gdt.base + (tr->sel & ~7u);
	struct new_cr3 cr3;
	struct image i;
	struct desc d;
	u16 back = tr->sel;

	if (reason == TASK_IRET) {
		sel = (u16)access_load_sys(c, tr->base + TSS_BACKLINK, 2);
		flags &= ~FL_NT;
	}
	read_tss_desc(c, sel, reason, &d);
	new = layout_of(d.attr);
	read_image(c, d.base, new, &i);
	if (nested)
		access_probe_sys(c, d.base, 2, true);
	read_cr3(c, &i, new, &cr3);
	save_image(c, old, return_rip, flags);
	if (!nested)
		clear_busy(c, old_desc);
	if (nested) {
		access_store_sys(c, d.base + TSS_BACKLINK, 2, back);
		i.flags |= FL_NT;
	}
	if (reason != TASK_IRET)
		set_busy(c, &d);

	seg_commit(c, SEG_TR, sel, &d);
	c->cr0 |= CR0_TS;
	c->dr7 &= ~0x55ULL; /* local breakpoints end with their task (17.2.4) */
	load_image(c, &i, new, &cr3);
	if (has_error) {
		struct stack st;

		stack_current(c, &st);
		stack_push(c, &st, new->word, error);
		stack_commit(c, &st);
	}
	if (i.trap)
		cpu_queue_debug(c, DR6_BT);
}

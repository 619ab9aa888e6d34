/* SPDX-License-Identifier: MIT */
/*
 * system/iret.c: IRET in every mode (SDM vol. 2, IRET; vol. 3, 21.2 for V86 mode).
 */
#include "cpu/code/op.h"
#include "cpu/system/internal.h"

#define FL_LOW (FL_STATUS | FL_TF | FL_DF | FL_NT)

/* The image with what may not change taken from the current flags. */
static u64 merge_flags(const struct cpu *c, u64 image, u32 op_size)
{
	u64 change = FL_LOW, old = cpu_rflags(c);

	if (c->mode == MODE_REAL || (c->mode != MODE_V86 && c->cpl == 0))
		change |= FL_IOPL;
	if (c->mode == MODE_V86 || c->cpl <= ((old & FL_IOPL) >> 12))
		change |= FL_IF;
	if (op_size > 2) {
		change |= FL_RF | FL_AC | FL_ID;
		if (c->mode != MODE_V86 && c->mode != MODE_REAL && c->cpl == 0)
			change |= FL_VIF | FL_VIP;
	}
	return (image & change) | (old & ~change);
}

static void iret_done(struct cpu *c, u64 flags)
{
	cpu_load_rflags(c, flags);
	if (unlikely(c->nmi_masked)) /* else not stored: its neighbours are looked at right after */
		c->nmi_masked = false;
}

/* V86 with IOPL below 3: only a 16-bit IRET with CR4.VME, to the virtual flags. */
static u64 vme_flags(struct cpu *c, u64 image, u32 op_size)
{
	u64 old = cpu_rflags(c), change = FL_LOW;

	if (!(c->cr4 & CR4_VME) || op_size != 2)
		raise_gp0(c);
	if (((old & FL_VIP) && (image & FL_IF)) || (image & FL_TF))
		raise_gp0(c);
	old &= ~FL_VIF;
	if (image & FL_IF)
		old |= FL_VIF;
	return (image & change) | (old & ~change);
}

static void iret_real(struct cpu *c, u32 op_size)
{
	bool full = c->mode == MODE_REAL || (c->flags & FL_IOPL) == FL_IOPL;
	u64 rip, flags;
	struct stack st;
	u16 cs;

	if (!full && (!(c->cr4 & CR4_VME) || op_size != 2))
		raise_gp0(c);
	stack_current(c, &st);
	rip = stack_pop(c, &st, op_size);
	cs = (u16)stack_pop(c, &st, op_size);
	flags = stack_pop(c, &st, op_size);
	if (rip > (c->mode == MODE_V86 ? 0xffff : c->seg[SEG_CS].limit))
		raise_gp0(c);
	flags = full ? merge_flags(c, flags, op_size) : vme_flags(c, flags, op_size);
	stack_commit(c, &st);
	seg_load_real(c, SEG_CS, cs);
	c->rip = rip;
	cpu_update_mode(c);
	iret_done(c, flags);
}

/* Into V86 mode: the frame goes on with ESP, SS, ES, DS, FS, GS. */
static void iret_to_v86(struct cpu *c, struct stack *st, u32 eip, u16 cs, u64 flags)
{
	static const u8 order[] = {SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS};
	u32 esp = (u32)stack_pop(c, st, 4);
	u16 sel[ARRAY_SIZE(order)];

	for (unsigned n = 0; n < ARRAY_SIZE(order); n++)
		sel[n] = (u16)stack_pop(c, st, 4);
	if (eip > 0xffff)
		raise_gp0(c);
	for (unsigned n = 0; n < ARRAY_SIZE(order); n++)
		seg_commit_v86(c, order[n], sel[n]);
	seg_commit_v86(c, SEG_CS, cs);
	c->reg[RSP] = esp;
	c->rip = eip;
	cpu_load_rflags(c, flags);
	cpu_update_mode(c);
	c->nmi_masked = false;
}

void far_iret(struct cpu *c, u32 op_size)
{
	struct far_frame f = {.has_ss = cpu_long(c)};
	struct stack st;
	u64 flags;

	if (real_or_v86(c)) {
		iret_real(c, op_size);
		return;
	}
	if (c->flags & FL_NT) {
		if (c->efer & EFER_LMA)
			raise_gp0(c);
		task_switch(c, 0, TASK_IRET, op_next_rip(c, c->op), cpu_rflags(c), false, 0);
		c->nmi_masked = false;
		return;
	}
	stack_current(c, &st);
	f.rip = stack_pop(c, &st, op_size);
	f.cs = (u16)stack_pop(c, &st, op_size);
	flags = stack_pop(c, &st, op_size);
	if ((flags & FL_VM) && op_size == 4 && c->cpl == 0 && !(c->efer & EFER_LMA)) {
		iret_to_v86(c, &st, (u32)f.rip, f.cs, flags);
		return;
	}
	return_check_cs(c, f.cs, &f.cs_desc);
	f.has_ss |= SEL_RPL(f.cs) > c->cpl;
	if (f.has_ss) {
		f.rsp = stack_pop(c, &st, op_size);
		f.ss = (u16)stack_pop(c, &st, op_size);
		return_check_ss(c, f.ss, f.cs, &f.cs_desc, &f.ss_desc, &f.ss_null);
	}
	/* Privilege over the flags is the level's that executes IRET. */
	flags = merge_flags(c, flags, op_size);
	return_commit(c, &f, &st);
	iret_done(c, flags);
}

/* SPDX-License-Identifier: MIT */
/*
 * system/ops_syscall.c: SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS and the FS/GS base instructions.
 */
#include "cpu/system/ops.h"
#include "cpu/table/vendor.h"

/* Flat segments as these instructions load them, without looking at a descriptor. */
#define ATTR_CODE (SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_G | 0xb)
#define ATTR_DATA (SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_G | SEG_ATTR_DB | 0x3)
/* RFLAGS that SYSRET takes from R11 (SDM vol. 2, SYSRET). */
#define SYSRET_FLAGS 0x3c7fd7ULL

static void load_flat(struct cpu *c, u16 cs, u16 ss, u8 cpl, bool code64)
{
	u16 dpl = (u16)(cpl << 5);

	c->seg[SEG_CS] = (struct seg){
		.limit = 0xffffffff,
		.sel = cs,
		.attr = ATTR_CODE | dpl | (code64 ? SEG_ATTR_L : SEG_ATTR_DB),
	};
	c->seg[SEG_SS] = (struct seg){.limit = 0xffffffff, .sel = ss, .attr = ATTR_DATA | dpl};
}

/*
 * KVM's emulator, too, goes by the vendor that the guest's CPUID names.
 * Intel has SYSCALL and SYSRET in 64-bit mode only, and SYSENTER and SYSEXIT in every protected mode
 * (SDM vol. 2 under each). AMD has SYSCALL and SYSRET in every protected mode, and SYSENTER and
 * SYSEXIT in legacy mode only (APM vol. 3 under each).
 */
static bool has_syscall(const struct cpu *c)
{
	return (c->efer & EFER_SCE) && cpu_protected(c) &&
	       (cpu_long(c) || cpu_vendor_does(c, FACT_SYSCALL_LEGACY));
}

static void need_sysenter(struct cpu *c)
{
	if (cpu_lma(c) && cpu_vendor_does(c, FACT_SYSENTER_LEGACY))
		cpu_raise(c, VEC_UD);
}

static const struct op *run_syscall(struct cpu *c, const struct op *o)
{
	u16 cs = (c->star >> 32) & 0xfffc;
	u64 flags, rip;

	op_begin(c, o);
	if (!has_syscall(c))
		cpu_raise(c, VEC_UD);
	flags = cpu_rflags(c);
	c->reg[RCX] = op_next_rip(c, o) & c->ea_mask;
	if (cpu_lma(c)) {
		rip = cpu_long(c) ? c->lstar : c->cstar;
		c->reg[R11] = flags & ~FL_RF;
		flags &= ~c->sfmask;
	} else {
		rip = (u32)c->star;
		flags &= ~(FL_VM | FL_IF);
	}
	load_flat(c, cs, cs + 8, 0, cpu_lma(c));
	c->rip = rip;
	cpu_put_rflags(c, flags & ~FL_RF);
	/* A TF that is masked takes its trap along, as INT n does. */
	c->no_step_trap = !(c->flags & FL_TF);
	cpu_update_mode(c);
	return op_go_on(c);
}

/*
 * SYSRET's SS. Intel's is flat; AMD's changes the selector and the CPL, and what else SS has stays
 * (APM vol. 3, SYSRET).
 */
static void return_ss(struct cpu *c, u16 sel, const struct seg *old)
{
	if (!cpu_vendor_does(c, FACT_SYSRET_SS))
		return;
	c->seg[SEG_SS] = *old;
	c->seg[SEG_SS].sel = sel;
	c->seg[SEG_SS].attr |= SEG_ATTR_DPL; /* where the CPL is kept */
}

static const struct op *run_sysret(struct cpu *c, const struct op *o)
{
	bool lng = cpu_long(c);
	bool to_long = op_size(o) == 8;
	u16 base = (u16)(c->star >> 48);
	struct seg ss = c->seg[SEG_SS];

	op_begin(c, o);
	if (!(c->efer & EFER_SCE) || (!lng && !cpu_vendor_does(c, FACT_SYSCALL_LEGACY)))
		cpu_raise(c, VEC_UD);
	if (!cpu_protected(c))
		raise_gp0(c);
	need_cpl0(c);
	/* On AMD the fetch at CPL 3 is what faults. */
	if (to_long && !cpu_vendor_does(c, FACT_SYSRET_SS) && !la_canonical(c, c->reg[RCX]))
		raise_gp0(c);
	load_flat(c, (base + (to_long ? 16 : 0)) | 3, (base + 8) | 3, 3, to_long);
	return_ss(c, base + 8, &ss);
	c->rip = to_long ? c->reg[RCX] : (u32)c->reg[RCX];
	if (lng)
		cpu_put_rflags(c, c->reg[R11] & SYSRET_FLAGS);
	else
		c->flags |= FL_IF;
	cpu_update_mode(c);
	/* TF counts as it is afterwards: one that R11 sets traps before the program's next
	 * instruction, which IRET's and POPF's do not. */
	c->no_step_trap = true;
	if (c->flags & FL_TF)
		cpu_queue_debug(c, DR6_BS);
	return op_go_on(c);
}

bool decode_syscall(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	return op_plain(op, run_syscall);
}

bool decode_sysret(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	op->aux = cpu_long(d->c) && d->i.raw.rex.W ? 8 : 4;
	return op_plain(op, run_sysret);
}

static const struct op *run_sysenter(struct cpu *c, const struct op *o)
{
	u16 cs = c->sysenter_cs & 0xfffc;
	bool lma = c->efer & EFER_LMA;

	op_begin(c, o);
	need_sysenter(c);
	if (c->mode == MODE_REAL || !cs)
		raise_gp0(c);
	load_flat(c, cs, cs + 8, 0, lma);
	c->rip = lma ? c->sysenter_eip : (u32)c->sysenter_eip;
	c->reg[RSP] = lma ? c->sysenter_esp : (u32)c->sysenter_esp;
	c->flags &= ~(FL_VM | FL_IF);
	cpu_update_mode(c);
	return op_go_on(c);
}

static const struct op *run_sysexit(struct cpu *c, const struct op *o)
{
	bool to_long = op_size(o) == 8;
	u16 base = c->sysenter_cs & 0xfffc;
	u16 cs = base + (to_long ? 32 : 16);

	op_begin(c, o);
	if (c->cpl)
		raise_gp0(c);
	need_sysenter(c);
	if (c->mode == MODE_REAL || !base)
		raise_gp0(c);
	if (to_long && (!la_canonical(c, c->reg[RDX]) || !la_canonical(c, c->reg[RCX])))
		raise_gp0(c);
	load_flat(c, cs | 3, (cs + 8) | 3, 3, to_long);
	c->rip = to_long ? c->reg[RDX] : (u32)c->reg[RDX];
	c->reg[RSP] = to_long ? c->reg[RCX] : (u32)c->reg[RCX];
	cpu_update_mode(c);
	return op_go_on(c);
}

bool decode_sysenter(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	return op_plain(op, run_sysenter);
}

bool decode_sysexit(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	op->aux = cpu_long(d->c) && d->i.raw.rex.W ? 8 : 4;
	return op_plain(op, run_sysexit);
}

static const struct op *run_swapgs(struct cpu *c, const struct op *o)
{
	u64 base = c->seg[SEG_GS].base;

	op_begin(c, o);
	need_cpl0(c);
	c->seg[SEG_GS].base = c->kernel_gs_base;
	c->kernel_gs_base = base;
	return op_continue(o);
}

bool decode_swapgs(struct decoder *d, struct op *op)
{
	return cpu_long(d->c) && op_plain(op, run_swapgs);
}

/* aux: operand size, and the segment register above AUX_N */
static const struct op *run_rdbase(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	if (!(c->cr4 & CR4_FSGSBASE))
		cpu_raise(c, VEC_UD);
	put_reg(c, o->r0, op_size(o), c->seg[o->aux >> AUX_N].base);
	return op_continue(o);
}

static const struct op *run_wrbase(struct cpu *c, const struct op *o)
{
	u64 v = op_size(o) == 8 ? R64(c, o->r0) : R32(c, o->r0);

	op_begin(c, o);
	if (!(c->cr4 & CR4_FSGSBASE))
		cpu_raise(c, VEC_UD);
	if (!la_canonical(c, v))
		raise_gp0(c);
	c->seg[o->aux >> AUX_N].base = v;
	return op_continue(o);
}

static bool decode_base(struct decoder *d, struct op *op, op_fn *fn, unsigned seg)
{
	op->r0 = decode_gpr(d->o[0].reg.value);
	/* 32 or 64 bits: an operand-size prefix counts for nothing. */
	op->aux = (u16)((d->i.raw.rex.W ? 8 : 4) | seg << AUX_N);
	return cpu_long(d->c) && op_plain(op, fn);
}

bool decode_rdfsbase(struct decoder *d, struct op *op)
{
	return decode_base(d, op, run_rdbase, SEG_FS);
}

bool decode_rdgsbase(struct decoder *d, struct op *op)
{
	return decode_base(d, op, run_rdbase, SEG_GS);
}

bool decode_wrfsbase(struct decoder *d, struct op *op)
{
	return decode_base(d, op, run_wrbase, SEG_FS);
}

bool decode_wrgsbase(struct decoder *d, struct op *op)
{
	return decode_base(d, op, run_wrbase, SEG_GS);
}

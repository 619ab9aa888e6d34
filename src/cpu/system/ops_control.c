/* SPDX-License-Identifier: MIT */
/*
 * system/ops_control.c: control and debug registers, translation caches, HLT and other
 * instructions of the system as a whole.
 */
#include "cpu/system/ops.h"
#include "sync/trace.h"

#define DR6_WRITABLE 0xe00fULL
#define DR6_ONES     0xffff0ff0ULL
#define DR6_BD	     BIT(13)
#define DR7_WRITABLE 0xffff2bffULL
#define DR7_ONES     0x400ULL
#define DR7_GD	     BIT(13)
#define CR0_LMSW     0xfULL

/* ---- MOV to and from control registers: aux >> AUX_N is the register's number */

static const struct op *run_mov_from_cr(struct cpu *c, const struct op *o)
{
	u64 v = 0;

	op_begin(c, o);
	need_cpl0(c);
	switch (o->aux >> AUX_N) {
	case 0:
		v = c->cr0;
		break;
	case 2:
		v = c->cr2;
		break;
	case 3:
		v = c->cr3;
		break;
	case 4:
		v = c->cr4;
		break;
	case 8:
		v = c->env->get_cr8(c->owner);
		break;
	default:
		cpu_raise(c, VEC_UD);
	}
	put_reg(c, o->r0, cpu_long(c) ? 8 : 4, v);
	return op_continue(o);
}

static const struct op *run_mov_to_cr(struct cpu *c, const struct op *o)
{
	u64 v = R64(c, o->r0);

	op_begin(c, o);
	need_cpl0(c);
	TRACE(cr_write, c->stat.id, cpu_rip(c), o->aux >> AUX_N, cpu_long(c) ? v : (u32)v, 0, 0);
	cr_write(c, o->aux >> AUX_N, cpu_long(c) ? v : (u32)v);
	return op_done_go_on(c, o);
}

static void NORETURN leave_general_detect(struct cpu *c)
{
	c->exit.debug.exception = VEC_DB;
	c->exit.debug.pc = op_rip(c, c->op) + c->seg[SEG_CS].base;
	c->exit.debug.dr6 = DR6_BD | DR6_ONES;
	c->exit.debug.dr7 = c->guest_dr7;
	cpu_leave(c, CPU_EXIT_DEBUG);
}

static void check_dr(struct cpu *c, unsigned n)
{
	if ((n == 4 || n == 5) && (c->cr4 & CR4_DE))
		cpu_raise(c, VEC_UD);
	need_cpl0(c);
	if (c->guest_debug & KVM_GUESTDBG_USE_HW_BP) {
		/* The VMM's DR7 stands in for the guest's. */
		if (c->guest_dr7 & DR7_GD)
			leave_general_detect(c);
	} else if (c->dr7 & DR7_GD) {
		/* General detect: a fault before the access (SDM vol. 3, 17.2.3). */
		c->dr6 |= DR6_BD;
		cpu_raise(c, VEC_DB);
	}
}

static const struct op *run_mov_from_dr(struct cpu *c, const struct op *o)
{
	unsigned n = o->aux >> AUX_N;
	u64 v;

	op_begin(c, o);
	check_dr(c, n);
	v = n < 4 ? c->dr[n] : n & 1 ? c->dr7 : c->dr6;
	put_reg(c, o->r0, cpu_long(c) ? 8 : 4, v);
	return op_continue(o);
}

static const struct op *run_mov_to_dr(struct cpu *c, const struct op *o)
{
	unsigned n = o->aux >> AUX_N;
	u64 v = cpu_long(c) ? R64(c, o->r0) : R32(c, o->r0);

	op_begin(c, o);
	check_dr(c, n);
	if (n >= 4 && v >> 32)
		raise_gp0(c);
	if (n < 4)
		c->dr[n] = v;
	else if (n & 1)
		c->dr7 = (v & DR7_WRITABLE) | DR7_ONES;
	else
		c->dr6 = (v & DR6_WRITABLE) | DR6_ONES;
	cpu_update_mode(c);
	return op_done(c, o);
}

/* Number of CRn or DRn, by the encoding: ModRM.reg and REX.R. */
static u16 control_number(const struct decoder *d)
{
	return (u16)((d->i.raw.modrm.reg | d->i.raw.rex.R << 3) << AUX_N);
}

static bool decode_mov_special(struct decoder *d, struct op *op, op_fn *from, op_fn *to)
{
	bool is_from = d->i.opcode == 0x20 || d->i.opcode == 0x21;

	op->aux = control_number(d);
	op->r0 = decode_gpr(d->o[is_from ? 0 : 1].reg.value);
	op->fn = is_from ? from : to;
	return true;
}

bool decode_mov_cr(struct decoder *d, struct op *op)
{
	unsigned n = control_number(d) >> AUX_N;

	d->ends_block = d->i.opcode == 0x22;
	if (d->ends_block && n != 8)
		d->serializes = n == 3 ? SERIALIZES_OFTEN : SERIALIZES;
	return decode_mov_special(d, op, run_mov_from_cr, run_mov_to_cr);
}

bool decode_mov_dr(struct decoder *d, struct op *op)
{
	d->ends_block = d->i.opcode == 0x23;
	if (d->ends_block)
		d->serializes = SERIALIZES;
	return decode_mov_special(d, op, run_mov_from_dr, run_mov_to_dr);
}

/* ---- the machine status word */

static const struct op *run_lmsw(struct cpu *c, const struct op *o)
{
	u16 v;

	op_begin(c, o);
	need_cpl0(c);
	v = op_read16(c, o);
	/* PE can be set but not cleared (SDM vol. 2, LMSW). */
	cr_write(c, 0, (c->cr0 & ~(CR0_LMSW & ~CR0_PE)) | (v & CR0_LMSW));
	return op_done(c, o);
}

static const struct op *run_smsw(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	need_umip(c);
	op_write16(c, o, c->cr0);
	return op_after_slow_store(c, o);
}

static const struct op *run_clts(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	need_cpl0(c);
	c->cr0 &= ~CR0_TS;
	cpu_update_mode(c);
	return op_done_go_on(c, o);
}

bool decode_lmsw(struct decoder *d, struct op *op)
{
	op_rm(d, op, 0);
	d->ends_block = true;
	return op_plain(op, run_lmsw);
}

bool decode_smsw(struct decoder *d, struct op *op)
{
	op_rm(d, op, 0);
	return op_plain(op, run_smsw);
}

bool decode_clts(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	return op_plain(op, run_clts);
}

/* ---- caches */

static void flush_page(struct cpu *c, u64 la)
{
	u64 size = mmu_tlb_flush_page(&c->mmu, la);

	if (size)
		code_cache_unmap(c, ALIGN_DOWN(la, size), size);
	else
		code_cache_remap(c);
}

static const struct op *run_invlpg(struct cpu *c, const struct op *o)
{
	u64 la;

	op_begin(c, o);
	need_cpl0(c);
	/* The address is not checked: outside the canonical range nothing happens. */
	la = (op_offset(c, o) & (o->flags & OP_ADDR16   ? 0xffff
				 : o->flags & OP_ADDR32 ? 0xffffffff
							: ~0ULL)) +
	     (cpu_long(c) && o->seg < SEG_FS ? 0 : c->seg[o->seg].base);
	flush_page(c, la & c->ea_mask);
	return op_done_go_on(c, o);
}

enum invpcid_type { INVPCID_ADDRESS, INVPCID_SPACE, INVPCID_ALL, INVPCID_NONGLOBAL };
#define INVPCID_TYPES	 4
#define INVPCID_RESERVED 0xfffffffffffff000ULL

/* Dropping more than asked for is allowed (SDM vol. 3, 4.10.4.1). */
static void invalidate(struct cpu *c, enum invpcid_type type, u32 pcid, u64 addr)
{
	bool current = pcid == (c->cr4 & CR4_PCIDE ? c->cr3 & CR3_PCID : 0);

	if (type == INVPCID_ALL) {
		mmu_changed(c);
	} else if (type == INVPCID_ADDRESS && current) {
		flush_page(c, addr);
	} else if (type == INVPCID_NONGLOBAL || current) {
		mmu_tlb_forget_spaces(&c->mmu);
		code_cache_switch(c);
	} else {
		mmu_tlb_forget_space(&c->mmu, pcid);
	}
}

static const struct op *run_invpcid(struct cpu *c, const struct op *o)
{
	u64 type = cpu_long(c) ? R64(c, o->r0) : R32(c, o->r0), la, pcid, addr;

	op_begin(c, o);
	need_cpl0(c);
	la = op_ea(c, o, 16, false);
	pcid = ld64(c, la);
	addr = ld64(c, (la + 8) & c->ea_mask);
	if (type >= INVPCID_TYPES)
		raise_gp0(c);
	if ((pcid & INVPCID_RESERVED) || (type < 2 && !(c->cr4 & CR4_PCIDE) && pcid))
		raise_gp0(c);
	if (type == 0 && !la_canonical(c, addr))
		raise_gp0(c);
	invalidate(c, (enum invpcid_type)type, (u32)pcid, addr);
	return op_done_go_on(c, o);
}

/* INVD, WBINVD and, a form of it, WBNOINVD: there is no cache of the guest's own. */
static const struct op *run_cache(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	need_cpl0(c);
	return op_continue(o);
}

bool decode_invlpg(struct decoder *d, struct op *op)
{
	decode_mem(d, &d->o[0], op);
	d->ends_block = true;
	return op_plain(op, run_invlpg);
}

bool decode_invpcid(struct decoder *d, struct op *op)
{
	op->r0 = decode_gpr(d->o[0].reg.value);
	decode_mem(d, &d->o[1], op);
	d->ends_block = true;
	return cpuid_has(d->c, 7, EBX, 10) && op_plain(op, run_invpcid);
}

bool decode_cache_flush_all(struct decoder *d, struct op *op)
{
	return op_plain(op, run_cache);
}

/* ---- the rest */

static const struct op *run_hlt(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	need_cpl0(c);
	c->halted = true;
	return op_done(c, o);
}

bool decode_hlt(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	return op_plain(op, run_hlt);
}

/* Instructions are carried out in order as it is; what is left to do, the table says. */
static const struct op *run_serialize(struct cpu *c, const struct op *o)
{
	return op_continue(o);
}

bool decode_serialize(struct decoder *d, struct op *op)
{
	return op_plain(op, run_serialize);
}

static bool quirk_off(struct cpu *c, u64 quirk)
{
	return c->env->quirk_off && c->env->quirk_off(c->owner, quirk);
}

/*
 * MONITOR and MWAIT do nothing, as in KVM: whoever waits looks again at once. That CPUID does not
 * announce them matters only without the quirk.
 */
static const struct op *run_mwait(struct cpu *c, const struct op *o)
{
	u32 leaf[4];

	op_begin(c, o);
	cpu_cpuid(c, 1, 0, leaf);
	if (c->cpl || (quirk_off(c, KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS) && !(leaf[2] & BIT(3))))
		cpu_raise(c, VEC_UD);
	c->waited = true;
	return op_done(c, o);
}

bool decode_mwait(struct decoder *d, struct op *op)
{
	return op_plain(op, run_mwait);
}

/*
 * The other vendor's instruction: rewritten to the one of the vendor that CPUID names, and run
 * again. Without the quirk it does not exist (KVM_X86_QUIRK_FIX_HYPERCALL_INSN).
 */
static void NORETURN fix_hypercall(struct cpu *c, const struct op *o, bool amd)
{
	static const u8 vmcall[] = {0x0f, 0x01, 0xc1}, vmmcall[] = {0x0f, 0x01, 0xd9};
	u64 la = (op_rip(c, o) + c->seg[SEG_CS].base) & c->ea_mask;

	if (quirk_off(c, KVM_X86_QUIRK_FIX_HYPERCALL_INSN))
		cpu_raise(c, VEC_UD);
	access_write(c, la, amd ? vmmcall : vmcall, sizeof(vmcall));
	cpu_restart(c);
}

/* o->imm: it is VMMCALL. */
static const struct op *run_vmcall(struct cpu *c, const struct op *o)
{
	bool amd = cpuid_vendor_is_amd(c);

	op_begin(c, o);
	if (o->imm != amd)
		fix_hypercall(c, o, amd);
	/* The exit, if any, follows the instruction; RAX gets its value on completion. */
	if (c->env->hypercall(c->owner, c) == CPU_TO_VMM)
		c->exit.reason = CPU_EXIT_HYPERCALL;
	return op_done(c, o);
}

bool decode_vmcall(struct decoder *d, struct op *op)
{
	op->imm = d->i.mnemonic == ZYDIS_MNEMONIC_VMMCALL;
	d->ends_block = true;
	return op_plain(op, run_vmcall);
}

/* SPDX-License-Identifier: MIT */
/*
 * system/ops.h: what the system instructions' handlers and decode functions share.
 */
#ifndef CPU_SYSTEM_OPS_H
#define CPU_SYSTEM_OPS_H

#include "cpu/code/cache.h"
#include "cpu/system/decode.h"
#include "cpu/system/internal.h"

/* op.aux of these handlers: an operand's size in bytes, and where it is. */
#define AUX_SIZE 0x0f
#define AUX_REG	 0x10 /* in register r0; else memory */
#define AUX_N	 8    /* shift of a handler's own number */

/* Begin: faults are this op's. */
static inline void op_begin(struct cpu *c, const struct op *o)
{
	c->op = o;
}

/* On to the next op of the block. */
static inline const struct op *op_continue(const struct op *o)
{
	return o + 1;
}

/* Back to the run loop with c->rip set: the instruction is complete, and with it any shadow. */
static inline const struct op *op_moved(struct cpu *c)
{
	c->op = NULL;
	c->shadow = 0;
	return NULL;
}

/*
 * The same, of instructions that a kernel executes all the time: on to the block at c->rip, by way of
 * the run loop only if that has something to do.
 */
static inline const struct op *op_go_on(struct cpu *c)
{
	op_moved(c);
	return cpu_go_on(c);
}

/* Back to the run loop, at the next instruction. */
static inline const struct op *op_done(struct cpu *c, const struct op *o)
{
	c->rip = op_next_rip(c, o) & c->ea_mask;
	return op_moved(c);
}

static inline const struct op *op_done_go_on(struct cpu *c, const struct op *o)
{
	c->rip = op_next_rip(c, o) & c->ea_mask;
	return op_go_on(c);
}

static inline void need_cpl0(struct cpu *c)
{
	if (c->cpl)
		raise_gp0(c);
}

/* User-mode instruction prevention (SDM vol. 3, 2.5, CR4.UMIP). */
static inline void need_umip(struct cpu *c)
{
	if (c->cpl && (c->cr4 & CR4_UMIP))
		raise_gp0(c);
}

/* Write a general register as an instruction of this operand size does. */
static inline void put_reg(struct cpu *c, u8 off, u32 size, u64 v)
{
	if (size == 2)
		R16(c, off) = (u16)v;
	else if (size == 4)
		R64(c, off) = (u32)v;
	else
		R64(c, off) = v;
}

static inline unsigned op_size(const struct op *o)
{
	return o->aux & AUX_SIZE;
}

/* Bytes of the offset of a far pointer in memory. */
static inline unsigned op_far_size(const struct decoder *d)
{
	unsigned size = d->i.operand_width / 8u;

	return decode_vendor(d, FACT_FAR_NO_W) ? MIN(size, 4u) : size;
}

/* A 16-bit source operand in register r0 or memory. */
u16 op_read16(struct cpu *c, const struct op *o);
/* A destination that is a register of the operand size, or 16 bits of memory. */
void op_write16(struct cpu *c, const struct op *o, u64 v);
/* Fill r0 or the memory fields from operand n and aux with the operand size. */
void op_rm(struct decoder *d, struct op *op, unsigned n);
/* A privileged or other instruction without operands. */
bool op_plain(struct op *op, op_fn *fn);

decode_fn decode_mov_cr, decode_mov_dr;
decode_fn decode_lmsw, decode_smsw, decode_clts;
decode_fn decode_lgdt, decode_lidt, decode_sgdt, decode_sidt;
decode_fn decode_lldt, decode_ltr, decode_sldt, decode_str;
decode_fn decode_lar, decode_lsl, decode_verr, decode_verw, decode_arpl;
decode_fn decode_invlpg, decode_invpcid, decode_cache_flush_all, decode_hlt, decode_serialize;
decode_fn decode_rdmsr, decode_wrmsr, decode_rdtsc, decode_rdtscp, decode_rdpmc, decode_rdpid;
decode_fn decode_cpuid, decode_vmcall, decode_mwait;
decode_fn decode_cli, decode_sti, decode_pushf, decode_popf, decode_clac, decode_stac;
decode_fn decode_syscall, decode_sysret, decode_sysenter, decode_sysexit, decode_swapgs;
decode_fn decode_rdfsbase, decode_rdgsbase, decode_wrfsbase, decode_wrgsbase;
decode_fn decode_in, decode_out;
decode_fn decode_int, decode_int1, decode_int3, decode_into, decode_iret;
decode_fn decode_lds, decode_les, decode_lfs, decode_lgs, decode_lss;

#endif

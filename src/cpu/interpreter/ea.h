/* SPDX-License-Identifier: MIT */
/*
 * interpreter/ea.h: segmentation of data accesses, and the stack.
 */
#ifndef CPU_INTERPRETER_EA_H
#define CPU_INTERPRETER_EA_H

#include "cpu/access.h"
#include "cpu/code/op.h"

/* Legacy modes: the linear address of [s:off, off + size), or #GP or #SS. */
u64 ea_linear(struct cpu *c, enum segreg s, u64 off, u32 size, bool write);

/* As op_ea(), `delta` bytes further on (bit strings, the second word of a pair). */
u64 op_ea_at(struct cpu *c, const struct op *o, s64 delta, u32 size, bool write);

/* An offset cut to the op's address size. */
static inline u64 ea_cut(const struct op *o, u64 off)
{
	if (o->flags & OP_ADDR32)
		return (u32)off;
	if (o->flags & OP_ADDR16)
		return (u16)off;
	return off;
}

/* The stack pointer's width by mode and SS (SDM vol. 1, 6.2.3). */
static inline u64 stack_mask(const struct cpu *c)
{
	if (c->mode == MODE_LONG)
		return ~0ULL;
	return c->key & BLOCK_KEY_SS32 ? 0xffffffff : 0xffff;
}

/* The linear address of `size` bytes at SS:sp; sp is cut to the stack's width here. */
static inline u64 stack_la(struct cpu *c, u64 sp, u32 size, bool write)
{
	if (likely(c->mode == MODE_LONG))
		return sp;
	return ea_linear(c, SEG_SS, sp & stack_mask(c), size, write);
}

static inline void stack_set(struct cpu *c, u64 sp)
{
	u64 mask = stack_mask(c);

	c->reg[RSP] = mask == 0xffff ? (c->reg[RSP] & ~mask) | (sp & mask) : sp & mask;
}

/* Operands of 2, 4 or 8 bytes. */
u64 ea_load(struct cpu *c, u64 la, u32 size);
void ea_store(struct cpu *c, u64 la, u32 size, u64 v);

/* A near branch's target: #GP(0) when it is outside the code segment or not canonical. */
void ea_check_target(struct cpu *c, const struct op *o, u64 target);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The loop, and the ways out of a block.
 */
#include "cpu/interpreter/interpreter.h"

#include "cpu/code/ends.h"
#include "cpu/code/flow.h"
#include "cpu/fault.h"

const struct op *op_leave(struct cpu *c, u64 rip)
{
	c->rip = rip;
	c->op = NULL;
	return NULL;
}

const struct op *op_leave_next(struct cpu *c, const struct op *o)
{
	op_uncount(c, o);
	c->stat.instructions++;
	if (c->block->op[c->block->nops].fn == op_end_shadow && o->off == c->block->op[c->block->nops - 1].off)
		c->shadow = 0;
	return op_leave(c, op_next_rip(c, o));
}

const struct op *op_after_slow_store(struct cpu *c, const struct op *o)
{
	if (unlikely(flow_pending(c)))
		return op_leave_next(c, o);
	return o + 1;
}

const struct op *op_end(struct cpu *c, const struct op *o)
{
	return flow_link(c, 0, o->disp);
}

const struct op *op_end_sync(struct cpu *c, const struct op *o)
{
	u64 next = (u64)o->disp;

	if (c->shadow)
		return op_leave(c, next);
	return flow_jump_slow(c, next);
}

const struct op *op_end_shadow(struct cpu *c, const struct op *o)
{
	u64 next = (u64)o->disp;

	if (c->shadow) {
		c->shadow = 0;
		return op_leave(c, next);
	}
	return flow_link(c, 0, next);
}

const struct op *op_raise(struct cpu *c, const struct op *o)
{
	c->op = o;
	if (o->imm == VEC_GP)
		cpu_raise_error(c, VEC_GP, 0);
	cpu_raise(c, (u8)o->imm);
}

static const struct op *stop(struct cpu *c, const struct op *o)
{
	return o;
}

const struct op *interpreter_one(struct cpu *c, const struct op *o, struct op *scratch)
{
	const struct op *next;

	scratch[0] = *o;
	scratch[1].fn = stop;
	c->op = &scratch[0];
	next = o->fn(c, &scratch[0]);
	return next == &scratch[1] ? o + 1 : next;
}

static void run_from(struct cpu *c, u32 key)
{
	const struct op *o = flow_enter(c, flow_find(c, c->rip, key));

	do {
		o = o->fn(c, o);
	} while (o);
	c->op = NULL;
}

void interpreter_run(struct cpu *c)
{
	u8 shadow = c->shadow;

	if (!shadow) {
		run_from(c, c->key);
		shadow = c->shadow;
		if (!shadow || flow_pending(c) || (c->key & BLOCK_KEY_STEP))
			return;
	}
	/* An instruction in an interrupt shadow: alone, so that the shadow ends right after it.
	 * Were it to fault or to be restarted, this line is not reached and the shadow stays. */
	run_from(c, c->key | BLOCK_KEY_STEP);
	if (c->shadow == shadow)
		c->shadow = 0;
}

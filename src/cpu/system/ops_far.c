/* SPDX-License-Identifier: MIT */
/*
 * system/ops_far.c: far JMP, CALL and RET, IRET, and the software interrupts.
 */
#include "cpu/system/ops.h"

/* Immediate form: disp is the offset, imm the selector. Otherwise memory, offset first. */
#define AUX_PTR (1 << AUX_N)

static u64 far_target(struct cpu *c, const struct op *o, u16 *sel)
{
	unsigned size = op_size(o);
	u64 la, off;

	if (o->aux & AUX_PTR) {
		op_begin(c, o);
		*sel = (u16)o->imm;
		return (u64)o->disp;
	}
	la = op_ea(c, o, size + 2, false);
	off = size == 8 ? ld64(c, la) : size == 4 ? ld32(c, la) : ld16(c, la);
	*sel = ld16(c, (la + size) & c->ea_mask);
	return off;
}

static const struct op *run_far_jump(struct cpu *c, const struct op *o)
{
	u16 sel;
	u64 off = far_target(c, o, &sel);

	far_jump(c, sel, off, op_size(o), op_next_rip(c, o));
	return op_moved(c);
}

static const struct op *run_far_call(struct cpu *c, const struct op *o)
{
	u16 sel;
	u64 off = far_target(c, o, &sel);

	far_call(c, sel, off, op_size(o), op_next_rip(c, o));
	return op_moved(c);
}

static const struct op *run_far_return(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	far_return(c, op_size(o), (u16)o->imm);
	return op_moved(c);
}

static bool decode_far(struct decoder *d, struct op *op, op_fn *fn)
{
	const ZydisDecodedOperand *t = &d->o[0];

	d->ends_block = true;
	op->fn = fn;
	if (t->type == ZYDIS_OPERAND_TYPE_POINTER) {
		op->disp = t->ptr.offset;
		op->imm = t->ptr.segment;
		op->aux = (u16)(d->i.operand_width / 8 | AUX_PTR);
		return true;
	}
	decode_mem(d, t, op);
	op->aux = (u16)op_far_size(d);
	return true;
}

bool system_decode_far_jump(struct decoder *d, struct op *op)
{
	return decode_far(d, op, run_far_jump);
}

bool system_decode_far_call(struct decoder *d, struct op *op)
{
	return decode_far(d, op, run_far_call);
}

bool system_decode_far_return(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	op->aux = d->i.operand_width / 8;
	op->imm = d->i.raw.imm[0].size ? (s32)(u16)d->i.raw.imm[0].value.u : 0;
	return op_plain(op, run_far_return);
}

static const struct op *run_iret(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	c->in_iret = true;
	far_iret(c, op_size(o));
	c->in_iret = false;
	return op_go_on(c);
}

bool decode_iret(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	op->aux = d->i.operand_width / 8;
	return op_plain(op, run_iret);
}

static const struct op *run_int(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	event_deliver(c, (u8)o->imm, EVENT_SOFT_INT, false, 0, op_next_rip(c, o));
	return op_moved(c);
}

static const struct op *run_int3(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	/* The VMM's breakpoints (KVM_GUESTDBG_USE_SW_BP) stop before the instruction. */
	if (c->guest_debug & KVM_GUESTDBG_USE_SW_BP) {
		c->exit.debug.exception = VEC_BP;
		c->exit.debug.pc = c->seg[SEG_CS].base + op_rip(c, o);
		c->exit.debug.dr6 = c->exit.debug.dr7 = 0;
		cpu_leave(c, CPU_EXIT_DEBUG);
	}
	event_deliver(c, VEC_BP, EVENT_INT3, false, 0, op_next_rip(c, o));
	return op_moved(c);
}

static const struct op *run_int1(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	/* The #DB that a load of SS before it has kept back does not come as a second one. */
	c->watch_hits = 0;
	event_deliver(c, VEC_DB, EVENT_INT1, false, 0, op_next_rip(c, o));
	return op_moved(c);
}

static const struct op *run_into(struct cpu *c, const struct op *o)
{
	if (!(c->af & AF_OF))
		return op_continue(o);
	op_begin(c, o);
	event_deliver(c, VEC_OF, EVENT_INT3, false, 0, op_next_rip(c, o));
	return op_moved(c);
}

bool decode_int(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	op->imm = (u8)d->o[0].imm.value.u;
	return op_plain(op, run_int);
}

bool decode_int1(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	return op_plain(op, run_int1);
}

bool decode_int3(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	return op_plain(op, run_int3);
}

bool decode_into(struct decoder *d, struct op *op)
{
	return op_plain(op, run_into);
}

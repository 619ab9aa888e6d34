/* SPDX-License-Identifier: MIT */
/*
 * Near JMP, CALL, RET; Jcc, JCXZ, LOOPcc. In 64-bit mode, and in flat legacy code, a fixed
 * target needs no check; elsewhere it may be outside the code segment.
 */
#include "cpu/interpreter/value.h"

#include "cpu/code/flow.h"
#include "cpu/fault.h"
#include "cpu/interpreter/cond.h"
#include "cpu/interpreter/families.h"
#include "cpu/system/decode.h"

static bool is_long(const struct decoder *d)
{
	return (d->key & BLOCK_KEY_MODE) == MODE_LONG;
}

/* Bytes of a near branch's return address or indirect operand; so wide is the target. */
static unsigned branch_size(const struct decoder *d)
{
	if (!is_long(d))
		return d->i.operand_width == 16 ? 2 : 4;
	if (!decode_vendor(d, FACT_NEAR_16) || d->i.raw.rex.W)
		return 8;
	return d->i.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE ? 2 : 8;
}

/* Where a relative branch goes to; true: it needs no check. */
static bool fixed_target(struct decoder *d, struct op *op)
{
	u64 t = d->rip + d->i.length + (u64)d->o[0].imm.value.s;
	unsigned size = branch_size(d);

	op->disp = (s64)(size == 2 ? (u16)t : size == 4 ? (u32)t : t);
	if (is_long(d))
		return (s64)((u64)op->disp << 16) >> 16 == op->disp;
	return d->key & BLOCK_KEY_FLAT;
}

static HANDLER(jmp)
{
	return flow_link(c, 1, (u64)o->disp);
}

static HANDLER(jmp_checked)
{
	ea_check_target(c, o, (u64)o->disp);
	return flow_link(c, 1, (u64)o->disp);
}

#define JCC(cc)                                                                                    \
	static HANDLER(jcc_##cc)                                                                   \
	{                                                                                          \
		if (cond(c->af, cc))                                                               \
			return flow_link(c, 1, (u64)o->disp);                                      \
		return flow_link(c, 0, op_next_rip(c, o));                                         \
	}                                                                                          \
	static HANDLER(jcc_checked_##cc)                                                           \
	{                                                                                          \
		if (!cond(c->af, cc))                                                              \
			return flow_link(c, 0, op_next_rip(c, o));                                 \
		ea_check_target(c, o, (u64)o->disp);                                               \
		return flow_link(c, 1, (u64)o->disp);                                              \
	}
EACH_CC(JCC)
#define JCC_LINE(cc) {jcc_checked_##cc, jcc_##cc},

bool decode_jcc(struct decoder *d, struct op *op)
{
	static op_fn *const fn[16][2] = {EACH_CC(JCC_LINE)};

	op->fn = fn[d->i.opcode & 15][fixed_target(d, op)];
	d->ends_block = true;
	return true;
}

/* rCX by address size. */
static u64 counter(const struct cpu *c, const struct op *o)
{
	return ea_cut(o, c->reg[RCX]);
}

static void set_counter(struct cpu *c, const struct op *o, u64 v)
{
	if (o->flags & OP_ADDR16)
		R16(c, REG_OFF(RCX)) = (u16)v;
	else
		c->reg[RCX] = ea_cut(o, v);
}

static HANDLER(jcxz)
{
	if (counter(c, o))
		return flow_link(c, 0, op_next_rip(c, o));
	ea_check_target(c, o, (u64)o->disp);
	return flow_link(c, 1, (u64)o->disp);
}

enum { LOOP_ALWAYS, LOOP_E, LOOP_NE };

static HANDLER(loop)
{
	u64 n = ea_cut(o, counter(c, o) - 1);
	bool zf = c->af & AF_ZF;
	bool taken = n && (o->aux == LOOP_ALWAYS || (o->aux == LOOP_E) == zf);

	if (taken)
		ea_check_target(c, o, (u64)o->disp);
	set_counter(c, o, n);
	return taken ? flow_link(c, 1, (u64)o->disp) : flow_link(c, 0, op_next_rip(c, o));
}

bool decode_jcxz(struct decoder *d, struct op *op)
{
	fixed_target(d, op);
	op->fn = jcxz;
	d->ends_block = true;
	return true;
}

bool decode_loop(struct decoder *d, struct op *op)
{
	fixed_target(d, op);
	op->aux = d->i.mnemonic == ZYDIS_MNEMONIC_LOOPE	   ? LOOP_E
		  : d->i.mnemonic == ZYDIS_MNEMONIC_LOOPNE ? LOOP_NE
							   : LOOP_ALWAYS;
	op->fn = loop;
	d->ends_block = true;
	return true;
}

/* Push a return address, o->aux bytes. It is stored before the target is looked at, or after. */
static inline void push_return(struct cpu *c, const struct op *o, u64 target)
{
	u64 sp = c->reg[RSP] - o->aux, la;

	c->op = o;
	la = stack_la(c, sp, o->aux, true);
	if (cpu_vendor_does(c, FACT_CALL_TARGET)) {
		access_probe(c, la, o->aux, true);
		ea_check_target(c, o, target);
	}
	ea_store(c, la, o->aux, op_next_rip(c, o));
	ea_check_target(c, o, target);
	stack_set(c, sp);
}

static COLD HANDLER(call64_slow)
{
	u64 sp = c->reg[RSP] - 8;

	c->op = o;
	st64(c, sp, op_next_rip(c, o));
	c->reg[RSP] = sp;
	return flow_link(c, 1, (u64)o->disp);
}

static HANDLER(call_checked)
{
	push_return(c, o, (u64)o->disp);
	return flow_link(c, 1, (u64)o->disp);
}

static HANDLER(call64)
{
	u64 sp = c->reg[RSP] - 8;
	void *p = tlb_write(c->tlb, sp, 8);

	if (unlikely(!p))
		return call64_slow(c, o);
	c->op = o;
	if (unlikely(!guard_store64(p, op_next_rip(c, o))))
		access_died(c, sp, true);
	c->reg[RSP] = sp;
	return flow_link(c, 1, (u64)o->disp);
}

/* An indirect target, from r0 or memory. */
static inline u64 indirect(struct cpu *c, const struct op *o, bool mem)
{
	u64 t;

	if (mem)
		t = ea_load(c, op_ea(c, o, o->aux, false), o->aux);
	else
		t = R64(c, o->r0);
	if (o->aux != 8)
		t = o->aux == 2 ? (u16)t : (u32)t;
	return t;
}

#define INDIRECT(form, mem)                                                                        \
	static HANDLER(jmp_##form)                                                                 \
	{                                                                                          \
		u64 t = indirect(c, o, mem);                                                       \
		ea_check_target(c, o, t);                                                          \
		return flow_jump(c, t);                                                            \
	}                                                                                          \
	static HANDLER(call_##form)                                                                \
	{                                                                                          \
		u64 t = indirect(c, o, mem);                                                       \
		push_return(c, o, t);                                                              \
		return flow_jump(c, t);                                                            \
	}
INDIRECT(r, false)
INDIRECT(m, true)

static bool decode_indirect(struct decoder *d, struct op *op, op_fn *reg, op_fn *mem)
{
	op->fn = decode_rm(d, &d->o[0], op) ? mem : reg;
	op->aux = (u16)branch_size(d);
	return true;
}

bool decode_jmp(struct decoder *d, struct op *op)
{
	if (d->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return system_decode_far_jump(d, op);
	d->ends_block = true;
	if (d->o[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return decode_indirect(d, op, jmp_r, jmp_m);
	op->fn = fixed_target(d, op) ? jmp : jmp_checked;
	return true;
}

bool decode_call(struct decoder *d, struct op *op)
{
	if (d->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return system_decode_far_call(d, op);
	d->ends_block = true;
	op->seg = SEG_SS;
	if (d->o[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return decode_indirect(d, op, call_r, call_m);
	op->aux = (u16)branch_size(d);
	op->fn = fixed_target(d, op) && op->aux == 8 ? call64 : call_checked;
	return true;
}

static COLD HANDLER(ret64_slow)
{
	u64 sp = c->reg[RSP], t;

	c->op = o;
	t = ld64(c, sp);
	ea_check_target(c, o, t);
	c->reg[RSP] = sp + 8 + (u32)o->imm;
	return flow_jump(c, t);
}

static HANDLER(ret64)
{
	u64 sp = c->reg[RSP], t;
	const void *p = tlb_read(c->tlb, sp, 8);
	struct block *b;

	if (unlikely(!p))
		return ret64_slow(c, o);
	c->op = o;
	if (unlikely(!guard_load64(p, &t)))
		access_died(c, sp, false);
	b = flow_cached(c, t); /* which has no block that is not canonical */
	if (unlikely(!b) || unlikely(c->block->key != c->key) || unlikely(flow_pending(c)))
		return ret64_slow(c, o);
	c->reg[RSP] = sp + 8 + (u32)o->imm;
	return flow_enter(c, b);
}

static HANDLER(ret_sized)
{
	u64 sp = c->reg[RSP], t;

	c->op = o;
	t = ea_load(c, stack_la(c, sp, o->aux, false), o->aux);
	ea_check_target(c, o, t);
	stack_set(c, sp + o->aux + (u32)o->imm);
	return flow_jump(c, t);
}

bool decode_ret(struct decoder *d, struct op *op)
{
	if (d->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return system_decode_far_return(d, op);
	d->ends_block = true;
	op->seg = SEG_SS;
	op->aux = (u16)branch_size(d);
	if (d->i.operand_count_visible && d->o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		op->imm = (s32)(u16)d->o[0].imm.value.u;
	op->fn = op->aux == 8 ? ret64 : ret_sized;
	return true;
}

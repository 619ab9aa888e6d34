/* SPDX-License-Identifier: MIT */
/*
 * PUSH, POP, PUSHA, POPA, ENTER, LEAVE. o->aux is the operand's size in bytes.
 */
#include "cpu/interpreter/value.h"

#include "cpu/fault.h"
#include "cpu/interpreter/families.h"
#include "cpu/system/decode.h"

static COLD HANDLER(push_r64_slow)
{
	u64 sp = c->reg[RSP] - 8;
	bool fast;

	c->op = o;
	fast = store64(c, sp, R64(c, o->r0));
	c->reg[RSP] = sp;
	OP_NEXT_STORED(c, o, fast);
}

/* The two most frequent, in two as LOAD_HANDLER() is. */
static HANDLER(push_r64)
{
	u64 sp = c->reg[RSP] - 8;
	void *p = tlb_write(c->tlb, sp, 8);

	if (unlikely(!p))
		return push_r64_slow(c, o);
	c->op = o;
	if (unlikely(!guard_store64(p, R64(c, o->r0))))
		access_died(c, sp, true);
	c->reg[RSP] = sp;
	OP_NEXT(c, o);
}

static COLD HANDLER(pop_r64_slow)
{
	u64 sp = c->reg[RSP], v;

	c->op = o;
	v = ld64(c, sp);
	c->reg[RSP] = sp + 8;
	R64(c, o->r0) = v; /* last: POP RSP gets what was popped */
	OP_NEXT(c, o);
}

static HANDLER(pop_r64)
{
	u64 sp = c->reg[RSP], v;
	const void *p = tlb_read(c->tlb, sp, 8);

	if (unlikely(!p))
		return pop_r64_slow(c, o);
	c->op = o;
	if (unlikely(!guard_load64(p, &v)))
		access_died(c, sp, false);
	c->reg[RSP] = sp + 8;
	R64(c, o->r0) = v;
	OP_NEXT(c, o);
}

static inline const struct op *push_value(struct cpu *c, const struct op *o, u64 v)
{
	u64 sp = c->reg[RSP] - o->aux;

	c->op = o;
	ea_store(c, stack_la(c, sp, o->aux, true), o->aux, v);
	stack_set(c, sp);
	return op_after_slow_store(c, o);
}

static HANDLER(push_r)
{
	return push_value(c, o, R64(c, o->r0));
}

static HANDLER(push_i)
{
	return push_value(c, o, (u64)(s64)o->imm);
}

static HANDLER(push_m)
{
	return push_value(c, o, ea_load(c, op_ea(c, o, o->aux, false), o->aux));
}

static void set_sized(struct cpu *c, u8 reg, u32 size, u64 v)
{
	if (size == 8)
		set_r64(c, reg, v);
	else if (size == 4)
		set_r32(c, reg, (u32)v);
	else
		set_r16(c, reg, (u16)v);
}

static HANDLER(pop_r)
{
	u64 sp = c->reg[RSP], v;

	c->op = o;
	v = ea_load(c, stack_la(c, sp, o->aux, false), o->aux);
	stack_set(c, sp + o->aux);
	set_sized(c, o->r0, o->aux, v);
	OP_NEXT(c, o);
}

/* An address based on rSP is computed with rSP already raised (SDM vol. 2, POP). */
static HANDLER(pop_m)
{
	u64 sp = c->reg[RSP], v, la;

	c->op = o;
	v = ea_load(c, stack_la(c, sp, o->aux, false), o->aux);
	la = op_ea_at(c, o, o->base == REG_OFF(RSP) ? o->aux : 0, o->aux, true);
	ea_store(c, la, o->aux, v);
	stack_set(c, sp + o->aux);
	return op_after_slow_store(c, o);
}

static bool is_segment(const ZydisDecodedOperand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

bool decode_push(struct decoder *d, struct op *op)
{
	if (is_segment(&d->o[0]))
		return system_decode_push_seg(d, op);
	op->aux = d->i.operand_width / 8;
	op->seg = SEG_SS;
	if (d->o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		op->imm = (s32)d->o[0].imm.value.s;
		op->fn = push_i;
	} else if (decode_rm(d, &d->o[0], op)) {
		op->fn = push_m;
	} else {
		op->fn = op->aux == 8 ? push_r64 : push_r;
	}
	return true;
}

bool decode_pop(struct decoder *d, struct op *op)
{
	if (is_segment(&d->o[0]))
		return system_decode_pop_seg(d, op);
	op->aux = d->i.operand_width / 8;
	op->seg = SEG_SS;
	if (decode_rm(d, &d->o[0], op))
		op->fn = pop_m;
	else
		op->fn = op->aux == 8 ? pop_r64 : pop_r;
	return true;
}

/* AX, CX, DX, BX, SP as it was, BP, SI, DI downwards. */
static HANDLER(pusha)
{
	u64 sp = c->reg[RSP];

	c->op = o;
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < 8; i++) {
			u64 la = stack_la(c, sp - (i + 1) * o->aux, o->aux, true);

			/* All eight are looked at before the first is written. */
			if (!pass)
				access_probe(c, la, o->aux, true);
			else
				ea_store(c, la, o->aux, c->reg[i]);
		}
	}
	stack_set(c, sp - 8u * o->aux);
	return op_after_slow_store(c, o);
}

static HANDLER(popa)
{
	u64 sp = c->reg[RSP];

	c->op = o;
	/* One by one: what is popped before a fault stays, and is popped again after it. */
	for (unsigned i = 0; i < 8; i++) {
		u64 v = ea_load(c, stack_la(c, sp + i * o->aux, o->aux, false), o->aux);

		if (7 - i != RSP) /* the value in its place is thrown away */
			set_sized(c, REG_OFF(7 - i), o->aux, v);
	}
	stack_set(c, sp + 8u * o->aux);
	OP_NEXT(c, o);
}

bool decode_pusha(struct decoder *d, struct op *op)
{
	op->aux = d->i.mnemonic == ZYDIS_MNEMONIC_PUSHA || d->i.mnemonic == ZYDIS_MNEMONIC_POPA ? 2 : 4;
	op->seg = SEG_SS;
	op->fn = d->i.mnemonic == ZYDIS_MNEMONIC_PUSHA || d->i.mnemonic == ZYDIS_MNEMONIC_PUSHAD
			 ? pusha
			 : popa;
	return true;
}

/*
 * What ENTER pushes, stored together at the end: the frame pointers that it copies may lie where it
 * pushes, and were it run again after some of its stores, it would copy what it had stored.
 */
struct enter_frame {
	u64 top;	  /* the stack pointer it began with; below that the words stand */
	u32 size, n;	  /* bytes of a word, words */
	u64 word[1 + 31]; /* rBP, up to 30 frame pointers, the new one */
};

/* To be stored: looked at now, so that faults come in the order of the pushes. */
static void frame_push(struct cpu *c, struct enter_frame *f, u64 v)
{
	access_probe(c, stack_la(c, f->top - (f->n + 1) * f->size, f->size, true), f->size, true);
	f->word[f->n++] = v;
}

/* A word at `sp`, as it is after the pushes so far. */
static u64 frame_read(struct cpu *c, const struct enter_frame *f, u64 sp)
{
	u64 v = ea_load(c, stack_la(c, sp, f->size, false), f->size);

	for (u32 i = 0; i < f->size; i++) {
		u64 below = (f->top - 1 - (sp + i)) & stack_mask(c);

		if (below < f->n * f->size)
			((u8 *)&v)[i] =
				((const u8 *)&f->word[below / f->size])[f->size - 1 - below % f->size];
	}
	return v;
}

static void frame_store(struct cpu *c, const struct enter_frame *f)
{
	u32 bytes = f->n * f->size;
	u64 low = (f->top - bytes) & stack_mask(c);
	u8 image[sizeof(f->word)];

	/* A stack that wraps amid the frame takes it word by word. */
	if (low + bytes - 1 > stack_mask(c)) {
		for (u32 i = 0; i < f->n; i++)
			ea_store(c, stack_la(c, f->top - (i + 1) * f->size, f->size, true), f->size,
				 f->word[i]);
		return;
	}
	for (u32 i = 0; i < f->n; i++)
		memcpy(image + (f->n - 1 - i) * f->size, &f->word[i], f->size);
	access_write_words(c, stack_la(c, low, bytes, true), image, bytes);
}

/* All words, then the write with the final stack pointer that is tried, at the width of a push. */
static void frame_make(struct cpu *c, const struct op *o, struct enter_frame *f)
{
	u64 bp = c->reg[RBP];

	frame_push(c, f, bp);
	for (u32 i = 1; i < o->r1; i++)
		frame_push(c, f, frame_read(c, f, bp - i * f->size));
	if (o->r1)
		frame_push(c, f, (f->top - f->size) & stack_mask(c));
	access_probe(c, stack_la(c, f->top - f->n * f->size - (u32)o->imm, f->size, true), f->size,
		     true);
}

/* A guest's fault finds the pushes before it done, as a processor leaves them. */
static void frame_make_or_fault(struct cpu *c, const struct op *o, struct enter_frame *f)
{
	struct unwind_point *outer = c->unwind, here;
	u64 counted = c->stat.instructions;

	c->unwind = &here;
	if (!UNWIND_SET(&here)) {
		frame_make(c, o, f);
		c->unwind = outer;
		return;
	}
	c->unwind = outer;
	if (c->exception.pending && f->n) {
		c->exception.pending = false; /* unless the stores are done */
		c->stat.instructions = counted;
		c->op = o;
		frame_store(c, f);
		c->exception.pending = true;
	}
	cpu_unwind(c);
}

/* SDM vol. 2, ENTER: o->imm bytes of frame, o->r1 levels. */
static HANDLER(enter)
{
	struct enter_frame f = {.top = c->reg[RSP], .size = o->aux};
	u64 bp = c->reg[RBP], frame = f.top - f.size, mask = stack_mask(c);

	c->op = o;
	frame_make_or_fault(c, o, &f);
	frame_store(c, &f);
	set_sized(c, REG_OFF(RBP), f.size,
		  mask == 0xffff && f.size != 2 ? (bp & ~mask) | (frame & mask) : frame);
	stack_set(c, f.top - f.n * f.size - (u32)o->imm);
	return op_after_slow_store(c, o);
}

bool decode_enter(struct decoder *d, struct op *op)
{
	op->aux = d->i.operand_width / 8;
	op->seg = SEG_SS;
	op->imm = (s32)(u16)d->o[0].imm.value.u;
	op->r1 = d->o[1].imm.value.u & 31;
	op->fn = enter;
	return true;
}

static HANDLER(leave)
{
	u64 bp = c->reg[RBP], v;

	c->op = o;
	v = ea_load(c, stack_la(c, bp, o->aux, false), o->aux);
	stack_set(c, (bp & stack_mask(c)) + o->aux);
	set_sized(c, REG_OFF(RBP), o->aux, v);
	OP_NEXT(c, o);
}

bool decode_leave(struct decoder *d, struct op *op)
{
	op->aux = d->i.operand_width / 8;
	op->seg = SEG_SS;
	op->fn = leave;
	return true;
}

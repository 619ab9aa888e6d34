/* SPDX-License-Identifier: MIT */
/*
 * system/stack.c: pushes and pops of far transfers and event delivery, on a stack that becomes
 * the current one only when everything has succeeded.
 */
#include "cpu/system/internal.h"
#include "cpu/watch.h"

void stack_flat(struct cpu *c, u64 sp, u8 cpl, struct stack *s)
{
	*s = (struct stack){.sp = sp, .mask = ~0ULL, .own = cpl == c->cpl, .flat = true};
}

static u64 width_mask(u16 attr)
{
	return attr & SEG_ATTR_DB ? 0xffffffff : 0xffff;
}

void stack_of_desc(struct cpu *c, u16 sel, const struct desc *d, u64 sp, u8 cpl,
		   struct stack *s)
{
	*s = (struct stack){
		.base = d->base,
		.sp = sp,
		.mask = width_mask(d->attr),
		.limit = d->limit,
		.attr = d->attr,
		.error = sel & 0xfffc,
		.own = cpl == c->cpl,
	};
}

void stack_current(struct cpu *c, struct stack *s)
{
	const struct seg *ss = &c->seg[SEG_SS];

	if (cpu_long(c)) {
		stack_flat(c, c->reg[RSP], c->cpl, s);
		return;
	}
	*s = (struct stack){
		.base = ss->base,
		.sp = c->reg[RSP],
		.mask = width_mask(ss->attr),
		.limit = ss->limit,
		.attr = ss->attr,
		.own = true,
		.unusable = ss->unusable,
	};
}

static NORETURN void stack_fault(struct cpu *c, const struct stack *s)
{
	cpu_raise_error(c, VEC_SS, s->error | c->event_ext);
}

/* Limit check of [off, off + size) (SDM vol. 3, 5.3). Returns the linear address. */
static u64 stack_linear(struct cpu *c, const struct stack *s, u64 off, u32 size)
{
	u64 last = off + size - 1;
	bool ok;

	if (s->flat) {
		if (!la_canonical(c, off) || !la_canonical(c, last))
			stack_fault(c, s);
		return off;
	}
	if (s->attr & TYPE_EC)
		ok = off > s->limit && last <= s->mask;
	else
		ok = last <= s->limit;
	if (!ok || s->unusable)
		stack_fault(c, s);
	return (s->base + off) & 0xffffffff;
}

static void store(struct cpu *c, bool own, u64 la, u32 size, u64 v)
{
	if (!own) {
		access_store_sys(c, la, size, v);
		if (unlikely(c->check_watch))
			watch_data(c, la, size, true);
	} else if (size == 8) {
		st64(c, la, v);
	} else if (size == 4) {
		st32(c, la, (u32)v);
	} else {
		st16(c, la, (u16)v);
	}
}

static u64 load(struct cpu *c, bool own, u64 la, u32 size)
{
	if (!own)
		return access_load_sys(c, la, size);
	return size == 8 ? ld64(c, la) : size == 4 ? ld32(c, la) : ld16(c, la);
}

void stack_push(struct cpu *c, struct stack *s, u32 size, u64 value)
{
	u64 off = (s->sp - size) & s->mask;

	store(c, s->own, stack_linear(c, s, off, size), size, value);
	s->sp = (s->sp & ~s->mask) | off;
}

u64 stack_peek(struct cpu *c, struct stack *s, u32 above, u32 size)
{
	return load(c, s->own, stack_linear(c, s, (s->sp + above) & s->mask, size), size);
}

u64 stack_pop(struct cpu *c, struct stack *s, u32 size)
{
	u64 v = stack_peek(c, s, 0, size);

	s->sp = (s->sp & ~s->mask) | ((s->sp + size) & s->mask);
	return v;
}

void stack_commit(struct cpu *c, const struct stack *s)
{
	if (s->flat)
		c->reg[RSP] = s->sp;
	else if (s->mask == 0xffff)
		c->reg[RSP] = (c->reg[RSP] & ~0xffffULL) | (s->sp & 0xffff);
	else
		c->reg[RSP] = s->sp & 0xffffffff;
}

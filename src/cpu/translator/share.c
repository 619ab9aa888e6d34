/* SPDX-License-Identifier: MIT */
#include "cpu/translator/share.h"

#include "cpu/translator/translate.h"

/* A register's value is known as one that had no name before and a distance from it. */
#define VALUE_NONE 0xffff

struct value {
	u16 of;
	s64 distance;
};

struct plan {
	struct xlate *x;
	struct value reg[16];
	u16 nvalues;
	u8 exits; /* conditional ways out of the trace so far */
};

static void set_unknown(struct plan *p, unsigned g)
{
	p->reg[g] = (struct value){.of = p->nvalues++};
}

/* An op in C: nothing is known behind it. */
static void forget(struct plan *p)
{
	struct share *s = &p->x->share;

	for (u32 i = 0; i < s->nclasses; i++)
		s->class[i].open = false;
	for (unsigned g = 0; g < 16; g++)
		set_unknown(p, g);
}

/* -- accesses */

/*
 * A look for a store makes the page dirty, in the log or ring of its memslot. A store that may not be reached, since
 * the trace can be left before it, looks for itself, unless another is made in any case.
 */
static bool may_write(const struct plan *p, const struct share_class *k, bool write)
{
	return !write || k->write || k->exits == p->exits;
}

static bool joins(const struct share_class *k, const struct share_key *key, s64 offset, u32 size)
{
	return k->open && !memcmp(&k->key, key, sizeof(*key)) &&
	       MAX(k->last, offset + size) - MIN(k->first, offset) <= SHARE_REACH;
}

static void add(struct plan *p, u32 op, enum share_which which, const struct share_key *key, s64 offset,
		u32 size, bool write, bool near)
{
	struct share *s = &p->x->share;
	struct share_class *k = s->class;
	u32 n;

	for (n = 0; n < s->nclasses && !(joins(k, key, offset, size) && may_write(p, k, write)); n++)
		k++;
	if (n == SHARE_CLASSES)
		return;
	if (n == s->nclasses) {
		s->nclasses++;
		*k = (struct share_class){.key = *key, .first = offset, .last = offset + size,
					  .leader = (u8)op, .slot = -1, .open = true, .exits = p->exits};
	}
	k->first = MIN(k->first, offset);
	k->last = MAX(k->last, offset + size);
	k->end = (u8)op;
	k->write |= write;
	k->near |= near;
	k->members++;
	s->place[op][which] = (struct share_place){(s8)n, offset};
}

static void add_operand(struct plan *p, u32 op, const struct insn *in)
{
	struct share_key key = {.seg = in->seg, .base = VALUE_NONE, .index = VALUE_NONE};
	u64 offset = (u64)in->disp;
	u32 size = insn_memory_size(in);

	if (in->locked || (in->base >= 0 && in->disp < INT32_MIN + SHARE_REACH) ||
	    (in->index >= 0 && in->disp < INT32_MIN + SHARE_REACH))
		return;
	if (in->base >= 0) {
		key.base = p->reg[in->base].of;
		offset += (u64)p->reg[in->base].distance;
	}
	if (in->index >= 0) {
		key.index = p->reg[in->index].of;
		key.scale = in->scale;
		offset += (u64)p->reg[in->index].distance << in->scale;
	}
	if (key.base == VALUE_NONE && key.index == VALUE_NONE && !in->seg) {
		key.page = offset & PAGE_MASK;
		if ((offset & ~PAGE_MASK) + size > PAGE_SIZE)
			return;
	}
	add(p, op, SHARE_OPERAND, &key, (s64)offset, size, insn_stores(in), insn_on_stack(in));
}

static void add_stack(struct plan *p, u32 op, int g, s64 disp, bool write)
{
	struct share_key key = {.base = p->reg[g].of, .index = VALUE_NONE};

	add(p, op, SHARE_STACK, &key, p->reg[g].distance + disp, (u32)tr_word(p->x), write, g == RSP);
}

static void add_accesses(struct plan *p, u32 op, const struct insn *in)
{
	if (in->mem && in->kind != INSN_LEA)
		add_operand(p, op, in);
	switch (in->kind) {
	case INSN_PUSH: case INSN_PUSHF: case INSN_PUSH_IMM: case INSN_PUSH_MEM: case INSN_CALL: case INSN_CALL_INDIRECT:
		add_stack(p, op, RSP, -tr_word(p->x), true);
		break;
	case INSN_POP: case INSN_RET:
		add_stack(p, op, RSP, 0, false);
		break;
	case INSN_LEAVE:
		add_stack(p, op, RBP, 0, false);
		break;
	}
}

/* -- values */

/* What register `g` has after an addition of a constant to it. */
static void move_by(struct plan *p, unsigned g, s64 distance)
{
	p->reg[g].distance = (s64)((u64)p->reg[g].distance + (u64)distance);
}

/* Bytes of an address: what counts of a register. */
static u8 word(const struct insn *in)
{
	return in->code32 ? 4 : 8;
}

/* ADD, SUB, INC and DEC of a whole word by a constant. */
static bool adds_constant(const struct insn *in, s64 *by)
{
	if (in->kind != INSN_RM || in->mem || in->map || in->size != word(in) || in->rep)
		return false;
	if (in->opcode == 0x81 || in->opcode == 0x83) {
		*by = in->reg == 5 ? -insn_imm(in) : insn_imm(in);
		return in->reg == 0 || in->reg == 5;
	}
	*by = in->reg == 1 ? -1 : 1;
	return in->opcode == 0xff && in->reg < 2;
}

static bool copies(const struct insn *in)
{
	return in->kind == INSN_RM && !in->mem && !in->map && in->size == word(in) &&
	       (in->opcode == 0x89 || in->opcode == 0x8b);
}

static void follow(struct plan *p, const struct insn *in)
{
	u32 written = insn_writes(in);
	struct value v;
	s64 by;

	if (adds_constant(in, &by)) {
		move_by(p, in->rm, by);
		return;
	}
	if (copies(in)) {
		p->reg[in->opcode == 0x89 ? in->rm : in->reg] = p->reg[in->opcode == 0x89 ? in->reg : in->rm];
		return;
	}
	switch (in->kind) {
	case INSN_LEA:
		if (in->size == word(in) && in->base >= 0 && in->index < 0) {
			v = p->reg[in->base];
			v.distance = (s64)((u64)v.distance + (u64)in->disp);
			p->reg[in->reg] = v;
			return;
		}
		break;
	case INSN_PUSH: case INSN_PUSHF: case INSN_PUSH_IMM: case INSN_PUSH_MEM:
	case INSN_CALL: /* to where the trace goes on */
		move_by(p, RSP, -tr_word(p->x));
		return;
	case INSN_POP:
		move_by(p, RSP, tr_word(p->x));
		written &= ~BIT(RSP) | BIT(in->rm);
		break;
	case INSN_LEAVE:
		p->reg[RSP] = p->reg[RBP];
		move_by(p, RSP, tr_word(p->x));
		written = BIT(RBP);
		break;
	}
	for (; written; written &= written - 1)
		set_unknown(p, (unsigned)__builtin_ctz(written));
}

/* -- what comes of it */

/* Two members and a slot that is free make a class. */
static void give_slots(struct share *s)
{
	u8 taken_to[SHARE_SLOTS] = {0};
	bool taken[SHARE_SLOTS] = {false};

	for (u32 i = 0; i < s->nclasses; i++) {
		struct share_class *k = &s->class[i];

		for (s8 n = 0; k->members > 1 && k->slot < 0 && n < SHARE_SLOTS; n++) {
			if (taken[n] && taken_to[n] >= k->leader)
				continue;
			taken[n] = true;
			taken_to[n] = k->end;
			k->slot = n;
		}
	}
}

void share_plan(struct xlate *x)
{
	struct share *s = &x->share;
	struct plan p = {.x = x};

	s->nclasses = 0;
	s->careful = s->inside = 0;
	memset(s->place, 0xff, x->trace.nops * sizeof(s->place[0]));
	forget(&p);
	for (u32 op = 0; op < x->trace.nops; op++) {
		const struct insn *in = &x->insn[op];

		if (!insn_in_line(in)) {
			forget(&p);
			continue;
		}
		add_accesses(&p, op, in);
		follow(&p, in);
		p.exits += in->kind == INSN_JCC;
	}
	give_slots(s);
	for (u32 op = 0; op < x->trace.nops; op++) {
		for (unsigned w = 0; w < SHARE_PLACES; w++) {
			struct share_class *k = share_class_of(s, op, w);

			if (k && k->slot < 0)
				s->place[op][w].class = -1;
		}
	}
	for (u32 i = 0; i < s->nclasses; i++) {
		const struct share_class *k = &s->class[i];

		if (k->slot < 0)
			continue;
		s->careful |= tr_ops_between(k->leader, k->end);
		s->inside |= tr_ops_between(k->leader + 1u, k->end);
	}
}

/* SPDX-License-Identifier: MIT */
/* tests/mappings/probe.c: random functions of accesses, their code, and what the model says of them. */
#include "mappings.h"
#include <string.h>

enum op_kind {
	LOAD, STORE, ADD_TO, ADD_FROM, LOCK_ADD, LOAD_INDEXED, LOAD_VECTOR, STORE_VECTOR,
	MOVE_BASE, LEA, COPY, STRING, PUSH, POP, PUSH_BASE, POP_BASE, CALL_NEXT, CALL_LEAF, CALL_THROUGH, BRANCH, LOOP, END, NR_OP_KINDS
};

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R15 = 15 };

struct op {
	uint8_t kind, reg, base, size; /* base: the destination's is reg for LEA */
	int32_t disp;		       /* or where a call leads to, or an operand */
	uint16_t at, next;	       /* from the probe's start */
	uint8_t to;		       /* the op that a LOOP begins again with, or a BRANCH skips to */
};

#define MOST_OPS 16
struct probe {
	struct op op[MOST_OPS + 2];
	unsigned nops;
};

static struct probe probe[PROBES];

/* R9 is the index, R10 where a call through a register leads to, R15 counts. */
static const uint8_t bases[] = {RBX, RBX, RBX, RBP, RSI, RDI, 13, RSP};
static const uint8_t data_regs[] = {RAX, RCX, RDX, R8, 11, 12, 14};

/* ---- code */

static uint8_t *code;
static unsigned at;

static void put(const void *bytes, unsigned n)
{
	memcpy(code + at, bytes, n);
	at += n;
}

static void put8(unsigned b)
{
	code[at++] = (uint8_t)b;
}

static void put_modrm(unsigned reg, unsigned base, int32_t disp)
{
	put8(0x80 | (reg & 7) << 3 | (base & 7));
	if ((base & 7) == RSP)
		put8(0x24);
	put(&disp, 4);
}

/* One opcode with a register and an operand in memory; 0x0f stands before one that has bits above the eighth. */
static void put_rm(const struct op *o, unsigned opcode)
{
	unsigned rex = 0x40 | (o->size == 8 ? 8 : 0) | (o->reg >> 3) << 2 | o->base >> 3;

	if (o->size == 2)
		put8(0x66);
	put8(rex);
	if (opcode >> 8)
		put8(0x0f);
	put8(opcode);
	put_modrm(o->reg, o->base, o->disp);
}

static void put_vector(const struct op *o, unsigned opcode)
{
	put8(0xf3);
	put8(0x40 | o->base >> 3);
	put8(0x0f);
	put8(opcode);
	put_modrm(o->reg, o->base, o->disp);
}

static void put_load(const struct op *o)
{
	struct op wide = *o;

	if (o->size >= 4) {
		put_rm(o, 0x8b);
		return;
	}
	wide.size = 4; /* MOVZX */
	put_rm(&wide, o->size == 1 ? 0x1b6 : 0x1b7);
}

static void put_indexed(const struct op *o)
{
	put8(0x4a | (o->reg >> 3) << 2 | o->base >> 3);
	put8(0x8b);
	put8(0x84 | (o->reg & 7) << 3);
	put8(3 << 6 | (R9 & 7) << 3 | (o->base & 7));
	put(&o->disp, 4);
}

static void put_call(const struct op *o, unsigned start)
{
	int32_t to = o->disp - (int32_t)(start + at + 5);

	put8(0xe8);
	put(&to, 4);
}

static void put_op(struct probe *p, struct op *o, unsigned start)
{
	int32_t back;

	o->at = (uint16_t)at;
	switch (o->kind) {
	case LOAD: put_load(o); break;
	case STORE: put_rm(o, o->size == 1 ? 0x88 : 0x89); break;
	case ADD_TO: put_rm(o, 0x01); break;
	case ADD_FROM: put_rm(o, 0x03); break;
	case LOCK_ADD: put8(0xf0); put_rm(o, 0x01); break;
	case LOAD_INDEXED: put_indexed(o); break;
	case LOAD_VECTOR: put_vector(o, 0x6f); break;
	case STORE_VECTOR: put_vector(o, 0x7f); break;
	case MOVE_BASE:
		put8(0x48 | o->base >> 3);
		put8(0x81);
		put8(0xc0 | (o->base & 7));
		put(&o->disp, 4);
		break;
	case LEA: put_rm(o, 0x8d); break;
	case COPY: put8(0x48 | (o->base >> 3) << 2 | o->reg >> 3); put8(0x89); put8(0xc0 | (o->base & 7) << 3 | (o->reg & 7)); break;
	case STRING: put("\x48\xa5", 2); break;
	case PUSH: case PUSH_BASE: put8(0x40 | o->reg >> 3); put8(0x50 | (o->reg & 7)); break;
	case POP: case POP_BASE: put8(0x40 | o->reg >> 3); put8(0x58 | (o->reg & 7)); break;
	case CALL_NEXT: put("\xe8\0\0\0", 5); break;
	case CALL_LEAF: put_call(o, start); break;
	case CALL_THROUGH: put("\x41\xff\xd2", 3); break;
	case LOOP:
		put("\x49\xff\xcf\x0f\x85", 5); /* dec %r15; jnz */
		back = (int32_t)p->op[o->to].at - (int32_t)(at + 4);
		put(&back, 4);
		break;
	case BRANCH: /* test $disp, %reg; jnz */
		put8(0x40 | o->reg >> 3);
		put8(0xf7);
		put8(0xc0 | (o->reg & 7));
		put(&o->disp, 4);
		put("\x0f\x85\0\0\0", 6);
		break;
	case END: put("\xcd\x30", 2); break;
	}
	o->next = (uint16_t)at;
}

static int32_t leaf_target(void)
{
	static const uint16_t where[] = {LEAF_PLAIN, LEAF_PLAIN, LEAF_ON, LEAF_LOAD, LEAF_LAST};

	return (int32_t)(LEAF_LA + below(LEAF_PAGES) * PAGE + where[below(COUNT(where))]);
}

/* Most accesses of a probe are within a few hundred bytes, so that they share a look. */
static int32_t some_disp(void)
{
	return one_in(8) ? (int32_t)below(2048) - 1024 : (int32_t)below(512) - 64;
}

static struct op some_op(const struct probe *p)
{
	static const uint8_t kinds[] = {
		LOAD, LOAD, LOAD, LOAD, STORE, STORE, STORE, ADD_TO, ADD_TO, ADD_FROM, LOCK_ADD, LOAD_INDEXED,
		LOAD_VECTOR, STORE_VECTOR, MOVE_BASE, LEA, COPY, STRING, PUSH, PUSH, POP, POP, PUSH_BASE, CALL_NEXT, CALL_LEAF, CALL_LEAF,
		CALL_THROUGH, BRANCH, BRANCH, BRANCH, LOOP};
	struct op o = {.kind = kinds[below(COUNT(kinds))], .reg = data_regs[below(COUNT(data_regs))],
		       .base = bases[below(COUNT(bases))], .size = (uint8_t)(1 << below(4)), .disp = some_disp()};

	switch (o.kind) {
	case ADD_TO: case ADD_FROM: case LOCK_ADD:
		o.size = one_in(2) ? 8 : 4;
		break;
	case LOAD_INDEXED:
		o.base = RBX;
		o.size = 8;
		break;
	case LOAD_VECTOR: case STORE_VECTOR:
		o.reg &= 3;
		o.size = 16;
		break;
	case MOVE_BASE:
		o.disp = o.base == RSP ? ((int32_t)below(9) - 4) * 8 : (int32_t)below(256) - 128;
		break;
	case LEA: case COPY:
		o.reg = bases[1 + below(COUNT(bases) - 2)];
		o.size = 8;
		break;
	case PUSH_BASE:
		o.reg = bases[below(COUNT(bases) - 1)];
		break;
	case CALL_LEAF:
		o.disp = leaf_target();
		break;
	case BRANCH:
		o.disp = one_in(2) ? 1 : 7;
		o.to = (uint8_t)(p->nops + 2 + below(4));
		break;
	case LOOP:
		o.to = (uint8_t)below(p->nops + 1);
		if (o.to == p->nops)
			o.kind = CALL_NEXT;
		else if (p->op[o.to].kind == POP_BASE)
			o.to--;
		break;
	}
	return o;
}

uint64_t probe_offset(unsigned n)
{
	return n * PROBE_SIZE;
}

/* Where branches skip to is known now. */
static void land_branches(struct probe *p)
{
	for (unsigned i = 0; i < p->nops; i++) {
		struct op *o = &p->op[i];
		int32_t ahead;

		if (o->kind != BRANCH)
			continue;
		if (o->to >= p->nops)
			o->to = (uint8_t)(p->nops - 1);
		if (p->op[o->to].kind == POP_BASE)
			o->to--;
		ahead = (int32_t)p->op[o->to].at - (int32_t)o->next;
		memcpy(code + o->next - 4, &ahead, 4);
	}
}

void probe_make(unsigned n)
{
	struct probe *p = &probe[n];
	unsigned nops = 2 + below(MOST_OPS - 1), loops = 0;
	uint8_t bytes[PROBE_SIZE] = {0};

	code = bytes;
	at = 0;
	for (p->nops = 0; p->nops < nops; p->nops++) {
		struct op *o = &p->op[p->nops];

		*o = some_op(p);
		/* Bases are popped where they were pushed, or they would be no addresses. */
		if (p->nops && o[-1].kind == PUSH_BASE)
			*o = (struct op){.kind = POP_BASE, .reg = bases[below(COUNT(bases) - 1)]};
		if (o->kind == LOOP && loops++)
			o->kind = PUSH;
		put_op(p, o, (unsigned)probe_offset(n));
	}
	p->op[p->nops] = (struct op){.kind = END};
	put_op(p, &p->op[p->nops++], (unsigned)probe_offset(n));
	land_branches(p);
	EXPECT(at <= PROBE_SIZE, "a probe of %u bytes", at);
	memcpy(model_at(CODE + probe_offset(n)), bytes, sizeof(bytes));
}

bool probe_pops_what_counts(unsigned n)
{
	for (unsigned i = 0; i < probe[n].nops; i++) {
		uint8_t kind = probe[n].op[i].kind;

		if (kind == CALL_LEAF || kind == CALL_THROUGH || kind == POP_BASE)
			return true;
	}
	return false;
}

void probes_make(void)
{
	for (unsigned n = 0; n < PROBES; n++)
		probe_make(n);
}

void leaf_make(uint64_t gpa, uint32_t number)
{
	static const uint8_t load[] = {0x8b, 0x03, 0xc3};
	int32_t on = (int32_t)(PAGE + LEAF_PLAIN) - (LEAF_ON + 10);
	uint8_t *page = model_at(gpa);

	memset(page, 0xcc, PAGE);
	page[LEAF_PLAIN] = page[LEAF_ON] = page[LEAF_LAST] = 0xb8;
	memcpy(page + LEAF_PLAIN + 1, &number, 4);
	memcpy(page + LEAF_ON + 1, &number, 4);
	page[LEAF_LAST + 1] = (uint8_t)number;
	memcpy(page, (uint8_t *)&number + 1, 3); /* of the page before's last */
	page[3] = page[LEAF_PLAIN + 5] = 0xc3;
	page[LEAF_ON + 5] = 0xe9;
	memcpy(page + LEAF_ON + 6, &on, 4);
	memcpy(page + LEAF_LOAD, load, sizeof(load));
}

/* ---- what comes of it */

struct state {
	const struct view *v;
	struct out *o;
	uint64_t *reg; /* with RSP */
	uint64_t rip;
	struct fault f;
};

static bool read_from(struct state *s, uint64_t la, void *to, unsigned size)
{
	s->f = model_read(s->v, la, to, size);
	return !s->f.is;
}

static bool write_to(struct state *s, uint64_t la, const void *from, unsigned size)
{
	s->f = model_write(s->v, la, from, size);
	return !s->f.is;
}

static bool fetch(struct state *s, uint64_t la, void *to, unsigned size)
{
	s->f = model_fetch(s->v, la, to, size);
	return !s->f.is;
}

static void put_reg(struct state *s, unsigned reg, uint64_t v, unsigned size)
{
	s->reg[reg] = size == 8 ? v : (uint32_t)v;
}

static bool push(struct state *s, uint64_t v)
{
	if (!write_to(s, s->reg[RSP] - 8, &v, 8))
		return false;
	s->reg[RSP] -= 8;
	return true;
}

static bool pop(struct state *s, uint64_t *v)
{
	if (!read_from(s, s->reg[RSP], v, 8))
		return false;
	s->reg[RSP] += 8;
	return true;
}

static bool add_to(struct state *s, const struct op *o, uint64_t la)
{
	uint64_t old = 0, v;

	s->f = model_modify(s->v, la, &old, o->size);
	if (s->f.is)
		return false;
	v = old + s->reg[o->reg];
	return write_to(s, la, &v, o->size);
}

/* The leaf at RIP, until it has returned. What leaves have else is INT3s. */
static bool leaf(struct state *s, uint64_t back)
{
	uint8_t b[5];
	uint32_t v;
	int32_t disp;

	while (s->rip != back) {
		if (!fetch(s, s->rip, b, 1))
			return false;
		switch (b[0]) {
		case 0xb8:
			if (!fetch(s, s->rip, b, 5))
				return false;
			memcpy(&v, b + 1, 4);
			s->reg[RAX] = v;
			s->rip += 5;
			break;
		case 0xe9:
			if (!fetch(s, s->rip, b, 5))
				return false;
			memcpy(&disp, b + 1, 4);
			s->rip += 5 + (uint64_t)(int64_t)disp;
			break;
		case 0x8b:
			if (!read_from(s, s->reg[RBX], &v, 4))
				return false;
			s->reg[RAX] = v;
			s->rip += 2;
			break;
		default:
			EXPECT(b[0] == 0xc3, "a leaf has %#x at %#lx", b[0], s->rip);
			if (!pop(s, &s->rip))
				return false;
			EXPECT(s->rip == back, "a leaf returns to %#lx", s->rip);
		}
	}
	return true;
}

static bool call(struct state *s, uint64_t target, uint64_t back)
{
	if (!push(s, back))
		return false;
	s->rip = target;
	return leaf(s, back);
}

/* One op. False: a fault, with RIP at the instruction. */
static bool step(struct state *s, const struct op *o, uint64_t start, uint64_t origin)
{
	uint64_t la = s->reg[o->base] + (uint64_t)(int64_t)o->disp, v = 0, next = start + o->next;

	switch (o->kind) {
	case LOAD:
		if (!read_from(s, la, &v, o->size))
			return false;
		put_reg(s, o->reg, v, o->size);
		break;
	case STORE:
		return write_to(s, la, &s->reg[o->reg], o->size);
	case ADD_TO: case LOCK_ADD:
		return add_to(s, o, la);
	case ADD_FROM:
		if (!read_from(s, la, &v, o->size))
			return false;
		put_reg(s, o->reg, s->reg[o->reg] + v, o->size);
		break;
	case LOAD_INDEXED:
		if (!read_from(s, la + s->reg[R9] * 8, &v, 8))
			return false;
		s->reg[o->reg] = v;
		break;
	case LOAD_VECTOR:
		return read_from(s, la, s->o->xmm[o->reg], 16);
	case STORE_VECTOR:
		return write_to(s, la, s->o->xmm[o->reg], 16);
	case MOVE_BASE:
		s->reg[o->base] = la;
		break;
	case LEA:
		s->reg[o->reg] = la;
		break;
	case COPY:
		s->reg[o->reg] = s->reg[o->base];
		break;
	case STRING:
		if (!read_from(s, s->reg[RSI], &v, 8) || !write_to(s, s->reg[RDI], &v, 8))
			return false;
		s->reg[RSI] += 8;
		s->reg[RDI] += 8;
		break;
	case PUSH: case PUSH_BASE:
		return push(s, s->reg[o->reg]);
	case POP: case POP_BASE:
		if (!pop(s, &v))
			return false;
		s->reg[o->reg] = v;
		break;
	case CALL_NEXT:
		return push(s, next);
	case CALL_LEAF:
		return call(s, origin + (uint64_t)o->disp, next);
	case CALL_THROUGH:
		return call(s, s->reg[R10], next);
	}
	return true;
}

static void run(struct state *s, const struct probe *p, uint64_t start, uint64_t origin)
{
	uint8_t b;
	unsigned n = 0;

	for (;;) {
		const struct op *o = &p->op[n];

		s->rip = start + o->at;
		if (!fetch(s, s->rip, &b, 1))
			return;
		if (o->kind == END) {
			s->rip = start + o->next;
			s->o->vector = VECTOR_END;
			return;
		}
		if (!step(s, o, start, origin))
			return;
		n++;
		if (o->kind == BRANCH && ((uint32_t)o->disp & s->reg[o->reg]))
			n = o->to;
		if (o->kind == LOOP && --s->reg[R15])
			n = o->to;
	}
}

/* A look that accesses share is made for all of them, at the first. */
static void may_write(const struct state *s, const struct block *b)
{
	for (unsigned i = 0; i < COUNT(bases); i++) {
		for (uint64_t off = 0; off <= 2 * PAGE; off += PAGE) {
			model_may_write(s->v, s->reg[bases[i]] + off - PAGE);
			model_may_write(s->v, (bases[i] == RSP ? b->rsp : b->reg[bases[i]]) + off - PAGE);
		}
	}
}

void probe_expect(unsigned n, const struct view *v, const struct block *b, struct out *o)
{
	struct state s = {.v = v, .o = o, .reg = o->reg};

	memset(o, 0, sizeof(*o));
	memcpy(o->reg, b->reg, sizeof(o->reg));
	memcpy(o->xmm, b->xmm, sizeof(o->xmm));
	o->reg[RSP] = b->rsp;
	o->vector = VECTOR_PF;
	run(&s, &probe[n], b->rip, b->rip - probe_offset(n));
	if (o->vector == VECTOR_PF) {
		o->cr2 = s.f.cr2;
		o->error = s.f.error;
		may_write(&s, b);
	}
	o->rip = s.rip;
	o->rsp = o->reg[RSP];
	o->reg[RSP] = 0;
}

void probe_print(unsigned n)
{
	static const char *const names[NR_OP_KINDS] = {
		"load", "store", "add to memory", "add from memory", "locked add to memory", "load, indexed",
		"load vector", "store vector", "move base", "lea", "copy", "movsq", "push", "pop", "push base", "pop base", "call next", "call", "call through r10",
		"branch", "loop", "end"};

	for (unsigned i = 0; i < probe[n].nops; i++) {
		const struct op *o = &probe[n].op[i];

		fprintf(stderr, "  +%03x %-20s reg %2u base %2u size %2u %#x", o->at, names[o->kind], o->reg, o->base,
			o->size, (unsigned)o->disp);
		if (o->kind == LOOP || o->kind == BRANCH)
			fprintf(stderr, " to +%03x", probe[n].op[o->to].at);
		fputc('\n', stderr);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * MOVS, STOS, LODS, SCAS, CMPS, INS and OUTS.
 *
 * An element is the unit of progress: rCX, rSI and rDI are written back after each one, or after
 * a run of them. Repeated MOVS and STOS upwards go in runs that one host pointer reaches, by the
 * host's own string instruction of the same element size, which gives overlapping operands their
 * meaning and, at a fault, says how far it came. Repeated INS upwards asks the VMM for a page's
 * rest at once. Everything else goes element by element. DF never reaches the host.
 */
#include "cpu/interpreter/value.h"

#include "cpu/code/flow.h"
#include "cpu/interpreter/families.h"
#include "cpu/native/native.h"
#include "cpu/replay.h"
#include "cpu/system/decode.h"

enum kind { MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS };

/* o->aux: kind, o->imm: bytes of an element, o->seg: of the source; the destination's is ES. */

static u64 address_mask(const struct op *o)
{
	return ea_cut(o, ~0ULL);
}

static void advance(struct cpu *c, const struct op *o, u8 reg, s64 by)
{
	if (o->flags & OP_ADDR16)
		R16(c, reg) = (u16)(R16(c, reg) + by);
	else
		R64(c, reg) = ea_cut(o, R64(c, reg) + (u64)by);
}

static u64 string_la(struct cpu *c, enum segreg s, u64 off, u32 size, bool write)
{
	if (c->mode == MODE_LONG)
		return s >= SEG_FS ? off + c->seg[s].base : off;
	return ea_linear(c, s, off, size, write);
}

static u64 src_la(struct cpu *c, const struct op *o)
{
	return string_la(c, o->seg, ea_cut(o, c->reg[RSI]), (u32)o->imm, false);
}

static u64 dst_la(struct cpu *c, const struct op *o, bool write)
{
	return string_la(c, SEG_ES, ea_cut(o, c->reg[RDI]), (u32)o->imm, write);
}

static u16 compare(u64 a, u64 b, u32 size)
{
	u16 f;

	switch (size) {
	case 1:
		asm("cmpb %b2, %b1" FLAGS_OUT : "=&a"(f) : "r"(a), "r"(b) : "cc");
		break;
	case 2:
		asm("cmpw %w2, %w1" FLAGS_OUT : "=&a"(f) : "r"(a), "r"(b) : "cc");
		break;
	case 4:
		asm("cmpl %k2, %k1" FLAGS_OUT : "=&a"(f) : "r"(a), "r"(b) : "cc");
		break;
	default:
		asm("cmpq %2, %1" FLAGS_OUT : "=&a"(f) : "r"(a), "r"(b) : "cc");
		break;
	}
	return f;
}

static void set_acc(struct cpu *c, u32 size, u64 v)
{
	if (size == 8)
		set_r64(c, REG_OFF(RAX), v);
	else if (size == 4)
		set_r32(c, REG_OFF(RAX), (u32)v);
	else if (size == 2)
		set_r16(c, REG_OFF(RAX), (u16)v);
	else
		set_r8(c, REG_OFF(RAX), (u8)v);
}

static void port_in(struct cpu *c, const struct op *o, u32 size)
{
	u16 port = R16(c, REG_OFF(RDX));
	u32 v;
	u64 la;

	io_check(c, port, size);
	la = dst_la(c, o, true);
	access_probe(c, la, size, true);
	v = access_port_in(c, port, size, 0);
	replay_keep_port(c, port, size, v);
	ea_store(c, la, size, v);
}

static void port_out(struct cpu *c, const struct op *o, u32 size)
{
	u16 port = R16(c, REG_OFF(RDX));

	io_check(c, port, size);
	access_port_out(c, port, size, (u32)ea_load(c, src_la(c, o), size), 0);
}

/* One element: accesses, then registers but rCX. */
static void element(struct cpu *c, const struct op *o)
{
	u32 size = (u32)o->imm;
	s64 by = c->flags & FL_DF ? -(s64)size : (s64)size;
	bool src = o->aux == MOVS || o->aux == LODS || o->aux == CMPS || o->aux == OUTS;
	bool dst = o->aux != LODS && o->aux != OUTS;
	u64 v;

	switch ((enum kind)o->aux) {
	case MOVS:
		v = ea_load(c, src_la(c, o), size);
		ea_store(c, dst_la(c, o, true), size, v);
		break;
	case STOS:
		ea_store(c, dst_la(c, o, true), size, c->reg[RAX]);
		break;
	case LODS:
		set_acc(c, size, ea_load(c, src_la(c, o), size));
		break;
	case SCAS:
		c->af = compare(c->reg[RAX], ea_load(c, dst_la(c, o, false), size), size);
		break;
	case CMPS:
		/* Which comes first shows in faults only: processors begin with ES:rDI. */
		v = ea_load(c, dst_la(c, o, false), size);
		c->af = compare(ea_load(c, src_la(c, o), size), v, size);
		break;
	case INS:
		port_in(c, o, size);
		break;
	case OUTS:
		port_out(c, o, size);
		break;
	}
	if (src)
		advance(c, o, REG_OFF(RSI), by);
	if (dst)
		advance(c, o, REG_OFF(RDI), by);
	replay_forget(c); /* this element's device accesses, if any, are done for good */
}

/* -- runs */

/* Bytes from `off` on that neither leave the segment nor wrap the address size. */
static u64 room(struct cpu *c, const struct op *o, enum segreg s, u64 off)
{
	const struct seg *g = &c->seg[s];
	u64 to_wrap = address_mask(o) - off;

	if (c->mode == MODE_LONG)
		return to_wrap;
	if ((g->attr & 0xc) == 4 || off > g->limit) /* expand-down data */
		return 0;
	return MIN(to_wrap, (u64)g->limit - off);
}

/* Up to n elements; how many were left undone: not 0 when a host access died. */
#define RUN(suffix)                                                                                \
	static u64 run_movs##suffix(void **d, void **s, u64 n)                                     \
	{                                                                                          \
		asm volatile goto("1: rep movs" #suffix "\n" GUARD_ENTRY(1b, %l[fault])            \
				  : "+D"(*d), "+S"(*s), "+c"(n)                                    \
				  :                                                                \
				  : "memory"                                                       \
				  : fault);                                                        \
fault:                                                                                             \
		asm("");                                                                           \
		return n;                                                                          \
	}                                                                                          \
	static u64 run_stos##suffix(void **d, u64 v, u64 n)                                        \
	{                                                                                          \
		asm volatile goto("1: rep stos" #suffix "\n" GUARD_ENTRY(1b, %l[fault])            \
				  : "+D"(*d), "+c"(n)                                              \
				  : "a"(v)                                                         \
				  : "memory"                                                       \
				  : fault);                                                        \
fault:                                                                                             \
		asm("");                                                                           \
		return n;                                                                          \
	}
RUN(b)
RUN(w)
RUN(l)
RUN(q)

static u64 run(struct cpu *c, const struct op *o, void *d, void *s, u64 n)
{
	bool movs = o->aux == MOVS;
	u64 v = c->reg[RAX];

	switch (o->imm) {
	case 1:
		return movs ? run_movsb(&d, &s, n) : run_stosb(&d, v, n);
	case 2:
		return movs ? run_movsw(&d, &s, n) : run_stosw(&d, v, n);
	case 4:
		return movs ? run_movsl(&d, &s, n) : run_stosl(&d, v, n);
	default:
		return movs ? run_movsq(&d, &s, n) : run_stosq(&d, v, n);
	}
}

/* A run died behind `n` elements, which registers tell of; from `d` and `s` on it was at dla and sla. */
static NORETURN void run_died(struct cpu *c, const struct op *o, void *d, void *s, u64 dla, u64 sla, u64 n)
{
	/* A span lies in one host page; of a poisoned one the host tells no more than that. */
	u64 at = (u64)guard_fault.addr & PAGE_MASK;
	bool read = s && at == ((u64)s & PAGE_MASK) && at != ((u64)d & PAGE_MASK);

	access_died(c, (read ? sla : dla) + n * (u32)o->imm, !read);
}

/* Elements done in a run, 0: one has to be done singly. */
static u64 run_of(struct cpu *c, const struct op *o, u64 count)
{
	u32 size = (u32)o->imm, dlen, slen = PAGE_SIZE;
	bool movs = o->aux == MOVS;
	u64 epoch, dla, sla = 0, bytes, n, left;
	u8 *d, *s = NULL;

	bytes = MIN(count * size, PAGE_SIZE);
	bytes = MIN(bytes, room(c, o, SEG_ES, ea_cut(o, c->reg[RDI])));
	if (movs)
		bytes = MIN(bytes, room(c, o, o->seg, ea_cut(o, c->reg[RSI])));
	if (bytes < 2 * size)
		return 0;
	/* In the order of an element's accesses, so that the right one of two faults is raised. */
	if (movs)
		sla = src_la(c, o);
	dla = dst_la(c, o, true);
	do {
		epoch = c->mmu.epoch;
		if (movs)
			s = access_span(c, sla, (u32)bytes, false, &slen);
		if (movs && (!s || slen < size))
			return 0;
		d = access_span(c, dla, (u32)bytes, true, &dlen);
		if (!d || dlen < size)
			return 0;
	} while (epoch != c->mmu.epoch);
	n = MIN(dlen, slen) / size;
	left = run(c, o, d, s, n);
	n -= left;
	if (movs)
		advance(c, o, REG_OFF(RSI), (s64)(n * size));
	advance(c, o, REG_OFF(RDI), (s64)(n * size));
	if (left) {
		advance(c, o, REG_OFF(RCX), -(s64)n);
		run_died(c, o, d, s, dla, sla, n);
	}
	return n;
}

/*
 * The same of INS. A single step takes one element; an answer of the VMM's is taken whole, as far
 * as rCX still goes.
 */
static u64 run_ins(struct cpu *c, const struct op *o, u64 count)
{
	u32 size = (u32)o->imm, len, answered = replay_elements(c);
	u32 least = answered ? size : 2 * size;
	u16 port = R16(c, REG_OFF(RDX));
	u64 la, bytes, n;
	const u8 *data;
	u8 *d;

	if ((c->block->key & BLOCK_KEY_STEP) && !answered)
		return 0;
	bytes = MIN(count, PAGE_SIZE) * size;
	bytes = MIN(bytes, room(c, o, SEG_ES, ea_cut(o, c->reg[RDI])));
	if (bytes < least)
		return 0;
	io_check(c, port, size);
	la = dst_la(c, o, true);
	d = access_span(c, la, (u32)MIN(bytes, PAGE_SIZE), true, &len);
	if (len < least || (!d && !answered))
		return 0;
	n = replay_port_string(c, port, size, len / size, &data);
	if (!d) /* since it was asked for, the page has become code or a device's */
		access_write(c, la, data, (u32)n * size);
	else if (guard_copy_to(d, data, n * size))
		access_died(c, la, true);
	advance(c, o, REG_OFF(RDI), (s64)(n * size));
	replay_forget(c);
	return n;
}

/*
 * All of a repeated MOVS or STOS at once, where its operands lie in a page each that the TLB knows: most of
 * what kernels clear and copy. False: it goes the long way.
 */
static bool whole_run(struct cpu *c, const struct op *o)
{
	u64 n = c->reg[RCX], bytes = n * (u32)o->imm, dla = c->reg[RDI], sla = c->reg[RSI], left;
	void *d, *s = NULL;

	if (n > PAGE_SIZE || bytes > PAGE_SIZE || c->mode != MODE_LONG || o->seg >= SEG_FS ||
	    (o->flags & (OP_ADDR16 | OP_ADDR32)))
		return false;
	if (o->aux == MOVS) {
		s = tlb_read(c->tlb, sla, bytes);
		if (!s)
			return false;
	}
	d = tlb_write(c->tlb, dla, bytes);
	if (!d)
		return false;
	left = run(c, o, d, s, n);
	n -= left;
	if (s)
		c->reg[RSI] += n * (u32)o->imm;
	c->reg[RDI] += n * (u32)o->imm;
	c->reg[RCX] = left;
	if (unlikely(left))
		run_died(c, o, d, s, dla, sla, n);
	return true;
}

/* -- handlers */

static HANDLER(string_once)
{
	c->op = o;
	element(c, o);
	return op_after_slow_store(c, o);
}

static bool goes_on(const struct cpu *c, const struct op *o)
{
	if (o->aux != SCAS && o->aux != CMPS)
		return true;
	return !(c->af & AF_ZF) == !(o->flags & OP_REP);
}

static HANDLER(string_rep)
{
	bool up = !(c->flags & FL_DF);
	bool runs = (o->aux == MOVS || o->aux == STOS) && up && !(c->block->key & BLOCK_KEY_STEP);
	u16 before = c->af;
	u64 count;

	c->op = o;
	if (runs && c->reg[RCX] && whole_run(c, o)) {
		c->repeating = false;
		OP_NEXT(c, o);
	}
	/* Privilege is asked for even when there is nothing to transfer. */
	if (o->aux == INS || o->aux == OUTS)
		io_check(c, R16(c, REG_OFF(RDX)), (u32)o->imm);
	while ((count = ea_cut(o, c->reg[RCX]))) {
		u64 n = 0;

		if (runs && count > 1)
			n = run_of(c, o, count);
		else if (o->aux == INS && up && (count > 1 || replay_elements(c)))
			n = run_ins(c, o, count);
		if (!n) {
			element(c, o);
			n = 1;
		}
		advance(c, o, REG_OFF(RCX), -(s64)n);
		if (n == count || !goes_on(c, o))
			break;
		/* Also for who comes in when the next iteration has to wait for its page. */
		c->repeating = true;
		/* Between iterations the flags are those from before it all (SDM vol. 2, REP). */
		if (!cpu_vendor_does(c, FACT_REP_TRAP))
			c->af = before;
		if (flow_pending(c) || (c->block->key & BLOCK_KEY_STEP))
			return op_uncount(c, o), op_leave(c, op_rip(c, o));
	}
	c->repeating = false;
	return op_after_slow_store(c, o);
}

static const struct {
	ZydisMnemonic m;
	u8 kind, size;
} strings[] = {
	{ZYDIS_MNEMONIC_MOVSB, MOVS, 1}, {ZYDIS_MNEMONIC_MOVSW, MOVS, 2},
	{ZYDIS_MNEMONIC_MOVSD, MOVS, 4}, {ZYDIS_MNEMONIC_MOVSQ, MOVS, 8},
	{ZYDIS_MNEMONIC_STOSB, STOS, 1}, {ZYDIS_MNEMONIC_STOSW, STOS, 2},
	{ZYDIS_MNEMONIC_STOSD, STOS, 4}, {ZYDIS_MNEMONIC_STOSQ, STOS, 8},
	{ZYDIS_MNEMONIC_LODSB, LODS, 1}, {ZYDIS_MNEMONIC_LODSW, LODS, 2},
	{ZYDIS_MNEMONIC_LODSD, LODS, 4}, {ZYDIS_MNEMONIC_LODSQ, LODS, 8},
	{ZYDIS_MNEMONIC_SCASB, SCAS, 1}, {ZYDIS_MNEMONIC_SCASW, SCAS, 2},
	{ZYDIS_MNEMONIC_SCASD, SCAS, 4}, {ZYDIS_MNEMONIC_SCASQ, SCAS, 8},
	{ZYDIS_MNEMONIC_CMPSB, CMPS, 1}, {ZYDIS_MNEMONIC_CMPSW, CMPS, 2},
	{ZYDIS_MNEMONIC_CMPSD, CMPS, 4}, {ZYDIS_MNEMONIC_CMPSQ, CMPS, 8},
	{ZYDIS_MNEMONIC_INSB, INS, 1},	 {ZYDIS_MNEMONIC_INSW, INS, 2},
	{ZYDIS_MNEMONIC_INSD, INS, 4},	 {ZYDIS_MNEMONIC_OUTSB, OUTS, 1},
	{ZYDIS_MNEMONIC_OUTSW, OUTS, 2}, {ZYDIS_MNEMONIC_OUTSD, OUTS, 4},
};

/* The source operand's segment may be overridden: DS unless Zydis says otherwise. */
static enum segreg source_segment(struct decoder *d)
{
	for (unsigned i = 0; i < d->i.operand_count; i++) {
		const ZydisDecodedOperand *o = &d->o[i];
		struct op scratch = {.base = 0};

		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || decode_gpr(o->mem.base) != REG_OFF(RSI))
			continue;
		decode_mem(d, o, &scratch);
		return scratch.seg;
	}
	return SEG_DS;
}

bool decode_string(struct decoder *d, struct op *op)
{
	/* MOVSD and CMPSD name SSE2 instructions too. */
	if (d->i.meta.category != ZYDIS_CATEGORY_STRINGOP &&
	    d->i.meta.category != ZYDIS_CATEGORY_IOSTRINGOP)
		return native_decode(d, op);
	for (unsigned i = 0; i < ARRAY_SIZE(strings); i++) {
		if (strings[i].m != d->i.mnemonic)
			continue;
		op->aux = strings[i].kind;
		op->imm = strings[i].size;
		op->seg = (u8)source_segment(d);
		op->fn = op->flags & (OP_REP | OP_REPNE) ? string_rep : string_once;
		return true;
	}
	return false;
}

/* SPDX-License-Identifier: MIT */
/*
 * translator/vector.c: vector instructions in line. native_recode() has the bytes that the host may run,
 * with the memory operand at [rsi] and general registers in scratch ones; here those become the block's
 * own. Every instruction is a site of a fault: an unmasked exception is its handler's to raise.
 */
#include "cpu/translator/vector.h"

#include "cpu/native/forms.h"
#include "cpu/native/run.h"
#include "cpu/native/stub.h"

/* ------------------------------------------------------------------ between registers and struct cpu */

#define EACH_LOW  "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define EACH_HIGH "16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"
#define EACH_MASK "0,1,2,3,4,5,6,7"

/* One register of 64 bytes after the other. No operand or clobber names them: the compiler must not use
 * them around it, which general-regs-only sees to. */
#define STORE_ALL(mov, reg, each, at)                                                              \
	asm volatile(".irp i," each "\n\t" mov " %%" reg "\\i, 64*\\i(%0)\n\t.endr" : : "r"(at) : "memory")
#define LOAD_ALL(mov, reg, each, at)                                                               \
	asm volatile(".irp i," each "\n\t" mov " 64*\\i(%0), %%" reg "\\i\n\t.endr" : : "r"(at) : "memory")
#define STORE_MASKS(mov, at)                                                                       \
	asm volatile(".irp i," EACH_MASK "\n\t" mov " %%k\\i, 8*\\i(%0)\n\t.endr" : : "r"(at) : "memory")
#define LOAD_MASKS(mov, at)                                                                        \
	asm volatile(".irp i," EACH_MASK "\n\t" mov " 8*\\i(%0), %%k\\i\n\t.endr" : : "r"(at) : "memory")

static NO_VECTORS void low_out(struct cpu *c)
{
	if (native_host.avx512f)
		STORE_ALL("vmovdqa64", "zmm", EACH_LOW, c->v);
	else if (native_host.avx)
		STORE_ALL("vmovdqa", "ymm", EACH_LOW, c->v);
	else
		STORE_ALL("movdqa", "xmm", EACH_LOW, c->v);
	if (native_host.avx)
		asm volatile("vzeroupper"); /* what follows is code that was compiled for SSE */
	asm volatile("stmxcsr %0" : "=m"(c->mxcsr));
	c->live_mxcsr = c->mxcsr;
}

static NO_VECTORS void low_in(struct cpu *c)
{
	if (native_host.avx512f)
		LOAD_ALL("vmovdqa64", "zmm", EACH_LOW, c->v);
	else if (native_host.avx)
		LOAD_ALL("vmovdqa", "ymm", EACH_LOW, c->v);
	else
		LOAD_ALL("movdqa", "xmm", EACH_LOW, c->v);
	if (c->mxcsr != c->live_mxcsr)
		asm volatile("ldmxcsr %0" : : "m"(c->mxcsr));
	c->live_mxcsr = c->mxcsr;
}

static NO_VECTORS void high_out(struct cpu *c)
{
	STORE_ALL("vmovdqa64", "zmm", EACH_HIGH, c->v);
	if (native_host.avx512bw)
		STORE_MASKS("kmovq", c->k);
	else
		STORE_MASKS("kmovw", c->k);
}

static NO_VECTORS void high_in(struct cpu *c)
{
	LOAD_ALL("vmovdqa64", "zmm", EACH_HIGH, c->v);
	if (native_host.avx512bw)
		LOAD_MASKS("kmovq", c->k);
	else
		LOAD_MASKS("kmovw", c->k);
}

NO_VECTORS unsigned tr_vectors_out(struct cpu *c)
{
	unsigned parts = 0;

	/* The high part first: the low one ends with VZEROUPPER, which spares it. */
	if (!c->vec.high_out) {
		high_out(c);
		c->vec.high_out = 1;
		parts |= VECTOR_HIGH;
	}
	if (!c->vec.low_out) {
		low_out(c);
		c->vec.low_out = 1;
		parts |= VECTOR_LOW;
	}
	return parts;
}

NO_VECTORS void tr_vectors_in(struct cpu *c, unsigned parts)
{
	parts |= c->vec.wanted;
	c->vec.wanted = 0;
	if (parts & VECTOR_LOW) {
		low_in(c);
		c->vec.low_out = 0;
	}
	if (parts & VECTOR_HIGH) {
		high_in(c);
		c->vec.high_out = 0;
	}
}

void tr_vectors_want(struct cpu *c, unsigned parts)
{
	c->vec.wanted |= parts;
}

/* ------------------------------------------------------------------ a block's use of them */

/* From here to the block's end these parts are in registers, whatever calls C in between. */
static void bring_in(struct xlate *x, unsigned part, u32 field, enum tr_reason reason)
{
	struct emit_check k;
	u8 *elsewhere;

	if (x->vectors & part)
		return;
	if (x->flags_at) {
		emit_compare_zero32(&x->e, field);
		elsewhere = emit_jcc(&x->e, CC_NOT_ZERO);
	} else {
		k = emit_check(&x->e);
		emit_load(&x->e, RCX, field);
		elsewhere = tr_check_zero(x, &k);
	}
	tr_stub_aside(x, elsewhere, tr_what(x, reason, x->nop), THEN_AGAIN);
	x->vectors |= part;
}

static bool computes_with_mxcsr(const struct op *o)
{
	return o->fn == native_run_reg_fp || o->fn == native_run_load_fp || o->fn == native_run_load_mm_fp ||
	       o->fn == native_run_store_fp ||
	       (o->fn == native_run_masked && (o->aux & MASKED_FP));
}

static void bring_in_for(struct xlate *x, const struct op *o, const struct native_insn *n)
{
	u32 v = n->vec_in | n->vec_out;

	/* MXCSR is with the low registers. */
	if ((v & 0xffff) || computes_with_mxcsr(o))
		bring_in(x, VECTOR_LOW, FIELD(vec.low_out), TR_LOW_VECTORS);
	if (v >> 16 || n->k_in || n->k_out)
		bring_in(x, VECTOR_HIGH, FIELD(vec.high_out), TR_HIGH_VECTORS);
}

/* ------------------------------------------------------------------ the instruction's bytes */

#define REX	0x40
#define REX_W	8
#define REX_R	4
#define REX_B	1
#define VEX	0xc4
#define EVEX	0x62
/* In VEX and EVEX bytes R, X, B and vvvv are stored inverted. */
#define P0_R	0x80
#define P0_X	0x40
#define P0_B	0x20
#define P1_VVVV 0x78

/* Where the operands are: host registers, or -1 where the instruction has none there. */
struct places {
	int slot[NR_SLOTS];
	bool mem;
	struct tr_mem at;
};

static u8 inverted(bool bit, u8 mask)
{
	return bit ? 0 : mask;
}

static void emit_legacy_head(struct emitter *e, const struct places *p, const u8 **b)
{
	u8 rex = 0;

	for (; **b == 0x66 || **b == 0xf2 || **b == 0xf3; ++*b)
		emit8(e, **b);
	if ((**b & 0xf0) == REX)
		rex = *(*b)++ & 15;
	if (p->slot[SLOT_REG] >= 0)
		rex = (u8)((rex & ~REX_R) | (p->slot[SLOT_REG] >> 3 ? REX_R : 0));
	if (p->slot[SLOT_RM] >= 0)
		rex = (u8)((rex & ~REX_B) | p->slot[SLOT_RM] >> 3);
	if (p->mem)
		rex = (u8)((rex & (REX_W | REX_R)) | tr_rex(0, p->at));
	if (rex)
		emit8(e, REX | rex);
	for (int maps = 0; maps < 2 && (**b == 0x0f || (maps && (**b == 0x38 || **b == 0x3a))); maps++)
		emit8(e, *(*b)++);
}

static void emit_vex_head(struct emitter *e, const struct places *p, const u8 **b)
{
	u8 p0 = (*b)[1], p1 = (*b)[2];

	if (p->slot[SLOT_REG] >= 0)
		p0 = (u8)((p0 & ~P0_R) | inverted(p->slot[SLOT_REG] >> 3, P0_R));
	if (p->slot[SLOT_RM] >= 0)
		p0 = (u8)((p0 & ~P0_B) | inverted(p->slot[SLOT_RM] >> 3, P0_B));
	if (p->slot[SLOT_VVVV] >= 0)
		p1 = (u8)((p1 & ~P1_VVVV) | (~p->slot[SLOT_VVVV] & 15) << 3);
	if (p->mem)
		p0 = (u8)((p0 & ~(P0_X | P0_B)) | ((tr_rex(0, p->at) ^ 7) << 5 & (P0_X | P0_B)));
	emit8(e, (*b)[0]);
	emit8(e, p0);
	emit8(e, p1);
	if ((*b)[0] == EVEX)
		emit8(e, (*b)[3]);
	*b += (*b)[0] == EVEX ? 4 : 3;
}

static void emit_recoded(struct xlate *x, const struct native_insn *n, const struct places *p)
{
	const u8 *b = n->bytes, *end = n->bytes + n->len;
	bool evex = *b == EVEX;
	u8 reg, rm;

	tr_access(x);
	if (*b == VEX || *b == EVEX)
		emit_vex_head(&x->e, p, &b);
	else
		emit_legacy_head(&x->e, p, &b);
	emit8(&x->e, *b++); /* the opcode */
	reg = p->slot[SLOT_REG] >= 0 ? p->slot[SLOT_REG] & 7 : *b >> 3 & 7;
	rm = p->slot[SLOT_RM] >= 0 ? p->slot[SLOT_RM] & 7 : *b & 7;
	b++;
	if (p->mem)
		emit_modrm_memory(&x->e, reg, p->at.base, p->at.index, p->at.disp, evex);
	else
		emit8(&x->e, (u8)(0xc0 | reg << 3 | rm));
	emit_bytes(&x->e, b, (u32)(end - b));
}

/* ------------------------------------------------------------------ operands */

/* The memory operand's address is made of the op's fields, as the decoder left them. */
static bool memory_operand(const struct block *b, const struct op *o, struct insn *in)
{
	u8 zero = REG_OFF(REG_ZERO);

	/* The address size that the code has. */
	if ((o->flags & OP_ADDR16) || (o->flags & OP_ADDR32 ? !tr_code32(b) : tr_code32(b)))
		return false;
	*in = (struct insn){.mem = true, .code32 = tr_code32(b), .scale = o->scale, .disp = o->disp};
	in->base = o->base == zero ? -1 : (s8)(o->base / 8);
	in->index = o->index == zero ? -1 : (s8)(o->index / 8);
	if (o->flags & OP_EA_SLOW) {
		if (tr_code32(b) || (o->seg != SEG_FS && o->seg != SEG_GS))
			return false;
		in->seg = o->seg;
	}
	return in->disp == (s32)in->disp || (in->base < 0 && in->index < 0);
}

/* Is there scratch for the general registers that are not in the host's? */
static bool has_room(const struct native_insn *n)
{
	bool rcx = (n->implicit_in | n->implicit_out) >> RCX & 1;
	unsigned slots = 0, in_memory = 0;

	for (unsigned s = 0; s < NR_SLOTS; s++) {
		slots += n->slot[s] != NO_GPR;
		in_memory += n->slot[s] != NO_GPR && tr_host[n->slot[s]] == IN_MEMORY;
	}
	/* Beside a memory operand, which has R14 and R15, there is RCX alone. */
	return (!n->mem || in_memory < 2) && !(rcx && slots);
}

/* General registers: the guest's own where it is in a register, else scratch. */
static void place_registers(struct xlate *x, const struct native_insn *n, struct places *p)
{
	static const int scratch[NR_SLOTS] = {[SLOT_REG] = R15, [SLOT_RM] = R14, [SLOT_VVVV] = RCX};

	for (unsigned s = 0; s < NR_SLOTS; s++) {
		u8 g = n->slot[s];

		p->slot[s] = g == NO_GPR ? -1 : tr_host[g];
		if (g == NO_GPR || tr_host[g] != IN_MEMORY)
			continue;
		p->slot[s] = n->mem ? RCX : scratch[s];
		if (n->slot_in >> s & 1)
			emit_load(&x->e, p->slot[s], GPR_FIELD(g));
	}
}

static void put_registers(struct xlate *x, const struct native_insn *n, const struct places *p)
{
	for (unsigned s = 0; s < NR_SLOTS; s++) {
		if (n->slot[s] != NO_GPR && (n->slot_out >> s & 1))
			tr_put(x, n->slot[s], p->slot[s]);
	}
}

/*
 * Where only the elements that a mask selects are accessed: all of the operand is looked up, and what
 * cannot be accessed whole is the handler's.
 */
static bool is_masked(const struct op *o)
{
	return o->fn == native_run_masked && !(o->flags & OP_EA_SLOW);
}

static bool reads_memory(const struct op *o)
{
	return o->fn == native_run_load || o->fn == native_run_load_fp || o->fn == native_run_load_mm ||
	       o->fn == native_run_load_mm_fp ||
	       (is_masked(o) && !(o->aux & MASKED_WRITES));
}

static bool writes_memory(const struct op *o)
{
	return o->fn == native_run_store || o->fn == native_run_store_fp ||
	       (is_masked(o) && (o->aux & MASKED_WRITES));
}

static bool has_stub(const struct op *o)
{
	return o->fn == native_run_reg || o->fn == native_run_reg_fp || reads_memory(o) || writes_memory(o);
}

static bool recode(struct xlate *x, const struct block *b, const struct op *o, const u8 *bytes, struct native_insn *n)
{
	struct decoder d = {.c = x->c, .key = b->key, .rip = b->rip + o->off};
	struct op again = {0};

	memcpy(d.bytes, bytes, o->len);
	return decode_insn(&d, &again) && again.fn == o->fn && native_recode(&d, n) && n->unit <= UNIT_EVEX;
}

static void emit_native(struct xlate *x, const struct op *o, const struct native_insn *n,
			const struct insn *in)
{
	struct places p = {.mem = n->mem};

	bring_in_for(x, o, n);
	if (n->mem)
		p.at = tr_operand(x, in, insn_memory_size(in), insn_stores(in));
	place_registers(x, n, &p);
	if (n->implicit_in >> RCX & 1)
		emit_move(&x->e, RCX, tr_host[RCX]);
	emit_recoded(x, n, &p);
	put_registers(x, n, &p);
	if (n->implicit_out >> RCX & 1)
		emit_move(&x->e, tr_host[RCX], RCX);
}

static u16 registers_written(const struct native_insn *n)
{
	u16 r = n->implicit_out;

	for (unsigned s = 0; s < NR_SLOTS; s++) {
		if (n->slot[s] != NO_GPR && (n->slot_out >> s & 1))
			r |= (u16)BIT(n->slot[s]);
	}
	return r;
}

void tr_vector_look(struct xlate *x, u32 op, const u8 *bytes)
{
	const struct block *b = tr_block(x, op);
	const struct op *o = tr_op(x, op);
	struct native_insn *n = &x->native[op];
	struct insn in = {.base = -1, .index = -1};

	/* Outside 64-bit code it leaves the registers alone that cannot be named there. */
	if (o->fn == native_vzeroupper && !tr_code32(b)) {
		x->insn[op] = (struct insn){.kind = INSN_VZEROUPPER};
		return;
	}
	if (!has_stub(o) || !recode(x, b, o, bytes, n) || !has_room(n))
		return;
	if (n->mem != (reads_memory(o) || writes_memory(o)) || (n->mem && !memory_operand(b, o, &in)))
		return;
	in.kind = INSN_VECTOR;
	in.size = o->r0;
	in.attr = !n->mem ? 0 : writes_memory(o) ? E_WRITE : E_READ;
	in.writes = registers_written(n);
	x->insn[op] = in;
}

bool tr_vector(struct xlate *x, const struct insn *in)
{
	if (in->kind == INSN_VZEROUPPER) {
		bring_in(x, VECTOR_LOW, FIELD(vec.low_out), TR_LOW_VECTORS);
		emit_bytes(&x->e, "\xc5\xf8\x77", 3);
		return true;
	}
	if (in->kind != INSN_VECTOR)
		return false;
	emit_native(x, tr_op(x, x->nop), &x->native[x->nop], in);
	return true;
}

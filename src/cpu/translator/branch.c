/* SPDX-License-Identifier: MIT */
/*
 * translator/branch.c: the ways out of a block.
 *
 * A successor on the same page is reached by a jump that the helper patches when it has found the
 * block (its page's blocks are dropped together). One on another page, and one known only now, goes
 * through a table of linear addresses, which is emptied whenever what they mean, or whether their
 * bytes are trusted, may have changed (tr_forget()).
 *
 * Requests are looked at wherever a jump goes backwards or through a register, so that no loop is
 * without it.
 */
#include "cpu/translator/translate.h"
#include "cpu/translator/translator.h"

static u32 table_field(const struct xlate *x)
{
	u32 mode = (x->b->key & BLOCK_KEY_TLB) >> BLOCK_KEY_TLB_SHIFT;

	return (u32)(FIELD(jump) + mode * sizeof(((struct cpu *)0)->jump[0]));
}

static void poll(struct xlate *x, u32 what)
{
	u8 *none;

	emit_load32(&x->e, RCX, FIELD(mmu.requests));
	none = emit_jrcxz(&x->e);
	tr_stub(x, emit_jump(&x->e), what, -1);
	emit_land8(&x->e, none);
}

/* To a fixed target on another page. */
static void edge_far(struct xlate *x, u64 target, u32 what)
{
	struct emitter *e = &x->e;
	u32 slot = table_field(x) + tr_jump_slot(target) * (u32)sizeof(struct code_jump);
	u8 *hit;

	emit_constant(e, R15, target);
	emit_load(e, RCX, slot + (u32)offsetof(struct code_jump, neg));
	emit_lea(e, RCX, RCX, R15, 0, 0, true);
	hit = emit_jrcxz(e);
	tr_stub(x, emit_jump(e), what, -1);
	emit_land8(e, hit);
	emit_jump_field(e, slot + (u32)offsetof(struct code_jump, host));
}

static void edge(struct xlate *x, unsigned which, u64 target)
{
	const struct block *b = x->b;
	u32 what = tr_what(x, which ? TR_TAKEN : TR_LINK, b->nops - 1u);

	if (x->check) {
		tr_stop(x, which ? TR_CHECK_TAKEN : TR_CHECK_FALLS);
		return;
	}
	if (target <= b->rip + b->op[b->nops - 1].off)
		poll(x, what);
	if ((target ^ b->rip) & PAGE_MASK) {
		edge_far(x, target, what);
		return;
	}
	tr_stub(x, emit_jump(&x->e), what, -1);
	x->edge[which] = (u32)(x->e.p - 4 - x->e.start);
}

static const struct op *last(const struct xlate *x)
{
	return &x->b->op[x->nop];
}

static u64 next_rip(const struct xlate *x)
{
	return x->b->rip + last(x)->off + last(x)->len;
}

void tr_fall_through(struct xlate *x)
{
	edge(x, 0, x->b->rip + x->b->bytes);
}

static void jcc(struct xlate *x, u8 cc)
{
	/* Not taken first: a loop's way back then has one jump. */
	u8 *not_taken = emit_jcc(&x->e, cc ^ 1);

	edge(x, 1, (u64)last(x)->disp);
	emit_land(&x->e, not_taken);
	edge(x, 0, next_rip(x));
}

/* The return address below the stack: stored, but RSP not moved yet. */
static void store_return(struct xlate *x)
{
	struct emitter *e = &x->e;
	u64 next = next_rip(x);
	struct tr_mem m;

	emit_lea(e, GEN_LA, tr_host[RSP], NO_INDEX, 0, -8, true);
	m = tr_lookup(x, GEN_LA, 8, true);
	if ((s64)next == (s32)next) {
		tr_access(x);
		emit8(e, 0x48 | tr_rex(0, m));
		emit8(e, 0xc7);
		emit_modrm_memory(e, 0, m.base, m.index);
		emit32(e, (u32)next);
	} else {
		emit_constant(e, RCX, next);
		tr_access(x);
		emit8(e, 0x48 | tr_rex(RCX, m));
		emit8(e, 0x89);
		emit_modrm_memory(e, RCX, m.base, m.index);
	}
}

/*
 * Look the target in R15 up in the table; where it is there, its slot's index is in R14. Else the op is
 * the handler's, from its start: nothing was stored yet.
 */
static void find_target(struct xlate *x)
{
	struct emitter *e = &x->e;
	u32 what = tr_what(x, TR_ONE, x->nop);
	u8 *hit;

	poll(x, what);
	emit_rotate(e, R14, R15, 12);
	emit_lea(e, R14, R14, R15, 0, 0, true);
	emit_pext(e, R14, R14, FIELD(gen.mask_jump));
	emit_lea(e, R14, R14, R14, 0, 0, true);
	emit_load_indexed(e, RCX, R14, table_field(x) + (u32)offsetof(struct code_jump, neg));
	emit_lea(e, RCX, RCX, R15, 0, 0, true);
	hit = emit_jrcxz(e);
	tr_stub(x, emit_jump(e), what, -1);
	emit_land8(e, hit);
}

/* `pop` is added to RSP on the way: nothing can fail behind it. */
static void jump_to_register(struct xlate *x, s32 pop)
{
	if (x->check) {
		tr_stop(x, x->nop);
		return;
	}
	find_target(x);
	if (pop)
		emit_lea(&x->e, tr_host[RSP], tr_host[RSP], NO_INDEX, 0, pop, true);
	emit_jump_indexed(&x->e, R14, table_field(x) + (u32)offsetof(struct code_jump, host));
}

static void load_target(struct xlate *x, struct tr_mem m)
{
	tr_access(x);
	emit8(&x->e, 0x48 | tr_rex(R15, m));
	emit8(&x->e, 0x8b);
	emit_modrm_memory(&x->e, R15, m.base, m.index);
}

static void indirect_target(struct xlate *x, const struct insn *in)
{
	if (in->mem)
		load_target(x, tr_operand(x, in, 8, false));
	else
		emit_move(&x->e, R15, tr_get(x, in->rm, R15));
}

static void ret(struct xlate *x, const struct insn *in)
{
	s32 extra = in->opcode == 0xc2 ? (u16)insn_imm(in) : 0;

	load_target(x, tr_lookup(x, tr_host[RSP], 8, false));
	jump_to_register(x, 8 + extra);
}

/*
 * The target may be read from where the return address goes, and may be one that faults: it is known
 * before anything is stored.
 */
static void call_register(struct xlate *x, const struct insn *in)
{
	struct emitter *e = &x->e;

	if (x->check) {
		tr_stop(x, x->nop);
		return;
	}
	indirect_target(x, in);
	find_target(x);
	emit_load_indexed(e, R15, R14, table_field(x) + (u32)offsetof(struct code_jump, host));
	/* Not in gen.tmp, which a kick on the way would use. */
	emit_store(e, FIELD(gen.resume), R15);
	store_return(x);
	emit_move(e, tr_host[RSP], GEN_LA);
	emit_jump_field(e, FIELD(gen.resume));
}

/* A target that is not canonical is #GP, which the handler raises. */
static bool fixed_target(const struct xlate *x)
{
	s64 t = last(x)->disp;

	return (s64)((u64)t << 16) >> 16 == t;
}

bool tr_branch(struct xlate *x, const struct insn *in)
{
	struct emitter *e = &x->e;

	if ((in->kind == INSN_JCC || in->kind == INSN_JMP || in->kind == INSN_CALL) && !fixed_target(x))
		return false;

	switch (in->kind) {
	case INSN_JCC:
		jcc(x, in->opcode & 15);
		return true;
	case INSN_JMP:
		edge(x, 1, (u64)last(x)->disp);
		return true;
	case INSN_CALL:
		store_return(x);
		emit_move(e, tr_host[RSP], GEN_LA);
		edge(x, 1, (u64)last(x)->disp);
		return true;
	case INSN_RET:
		ret(x, in);
		return true;
	case INSN_JMP_INDIRECT:
		indirect_target(x, in);
		jump_to_register(x, 0);
		return true;
	case INSN_CALL_INDIRECT:
		call_register(x, in);
		return true;
	default:
		return false;
	}
}

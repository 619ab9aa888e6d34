/* SPDX-License-Identifier: MIT */
/*
 * translator/branch.c: the ways out of a block.
 *
 * A fixed successor is reached by a jump that the helper patches when it has found the block. Blocks of
 * one page are dropped together, so a jump to another of them stays. One to another page, or to or from an
 * instruction that may lie on two, is aimed at the helper again whenever what linear addresses mean, or
 * whether their bytes are trusted, may have changed (tr_forget()). One known only now goes through a table
 * of linear addresses, which is emptied then.
 *
 * Requests are looked at wherever a jump goes backwards or through a register, so that no loop is
 * without it.
 */
#include "cpu/translator/translate.h"
#include "cpu/translator/translator.h"

/* The table for blocks of this key. */
static u32 table_field(u32 key)
{
	u32 mode = block_key_tlb(key);

	return (u32)(FIELD(jump) + mode * sizeof(((struct cpu *)0)->jump[0]));
}

/* A jump where there are requests. */
static u8 *poll(struct xlate *x)
{
	struct emit_check k;

	if (x->flags_at) {
		emit_compare_zero32(&x->e, FIELD(mmu.requests));
		return emit_jcc(&x->e, CC_NOT_ZERO);
	}
	k = emit_check_below(&x->e);
	emit_load32(&x->e, RCX, FIELD(mmu.requests));
	return tr_check_zero(x, &k);
}

/* A jump where a slot of a table, `index` * 8 bytes behind the first, is not that of the target in R15. */
static u8 *jump_unless_slot_of_target(struct xlate *x, int index, u32 slot)
{
	struct emitter *e = &x->e;
	u32 neg = slot + (u32)offsetof(struct code_jump, neg);
	struct emit_check k;

	if (x->flags_at) {
		emit_move(e, RCX, R15);
		emit_add(e, RCX, index, neg);
		return emit_jcc(e, CC_NOT_ZERO);
	}
	k = emit_check(e);
	emit_load_indexed(e, RCX, index, neg);
	emit_lea(e, RCX, RCX, R15, 0, emit_good(e), true);
	return emit_check_end(e, &k);
}

/* By a mode's table, which leads to where flags are in cpu->af, to a fixed target. */
static void edge_by_table(struct xlate *x, u32 table, u64 target, u32 what)
{
	struct emitter *e = &x->e;
	u32 slot = table + tr_jump_slot(target) * (u32)sizeof(struct code_jump);

	if (x->tests) {
		emit_flags_save(x);
		x->flags_at = FLAGS_IN_AF;
	}
	emit_constant(e, R15, target);
	tr_stub(x, jump_unless_slot_of_target(x, NO_INDEX, slot), what, THEN_NOTHING);
	emit_jump_field(e, slot + (u32)offsetof(struct code_jump, host));
}

static const struct op *last(const struct xlate *x)
{
	return tr_op(x, x->nop);
}

static u64 next_rip(const struct xlate *x)
{
	return tr_rip(x->b, tr_block(x, x->nop)->rip + last(x)->off + last(x)->len);
}

/* Behind the block, whose last instruction has made the key `key`. A table leads to blocks of one key. */
void tr_edge_to_key(struct xlate *x, u32 key)
{
	u32 mode = block_key_tlb(key);
	u32 what = tr_what(x, TR_RUN, x->trace.nops);
	struct emit_check k = emit_check(&x->e);

	emit_load32(&x->e, RCX, FIELD(gen.table_key) + mode * 4);
	emit_lea(&x->e, RCX, RCX, NO_INDEX, 0, emit_good(&x->e) - (s32)key, false);
	tr_stub(x, emit_check_end(&x->e, &k), what, THEN_NOTHING);
	edge_by_table(x, table_field(key), next_rip(x), what);
}

/*
 * A kernel's pages are distrusted and trusted again all the time, at interrupts and by instructions that
 * serialize: there an edge goes by a cell. A program's are not, and it may have so many edges that a processor
 * forgets where indirect jumps lead: there the jump is patched.
 */
static bool in_kernel(const struct block *b, u64 target)
{
	return (s64)b->rip < 0 && (s64)target < 0;
}

static bool goes_back(const struct block *b, u64 target)
{
	return target <= b->rip + b->op[b->nops - 1].off;
}

/* Only blocks that are dropped together are joined for good (flow_link_slow()). */
static bool is_far(const struct block *b, u64 target)
{
	return ((target ^ b->rip) & PAGE_MASK) || b->page2 || (target & ~PAGE_MASK) > PAGE_SIZE - INSN_MAX;
}

static u32 edge_what(const struct xlate *x, unsigned which)
{
	return tr_what(x, which ? TR_TAKEN : TR_LINK, x->nop);
}

/* Before an edge that goes back. */
static void poll_edge(struct xlate *x, u32 what)
{
	u8 was = x->flags_at, behind = x->flags.behind[x->nop];

	if (!was && behind)
		x->flags_at = behind;
	tr_edge_stub(x, poll(x), what, NOT_PATCHED);
	if (x->flags_at != was)
		emit_flags_for_c(x, x->flags_at);
	x->flags_at = was;
}

static void edge(struct xlate *x, unsigned which, u64 target)
{
	const struct block *b = tr_block(x, x->nop);
	u32 what = edge_what(x, which);
	bool far = is_far(b, target);

	if (x->check) {
		tr_stop(x, which ? TR_CHECK_TAKEN : TR_CHECK_FALLS);
		return;
	}
	if (goes_back(b, target))
		poll_edge(x, what);
	if (far && in_kernel(b, target) && tr_edge_by_cell(x, what))
		return;
	tr_edge_stub(x, emit_edge(&x->e), what, far ? PATCHED_FAR : PATCHED);
}

void tr_fall_through(struct xlate *x)
{
	edge(x, 0, next_rip(x));
}

/* A conditional jump to a successor. It is the edge itself, where nothing is to be looked at before it and it needs no cell. */
static void edge_if(struct xlate *x, u8 cc, unsigned which, u64 target)
{
	const struct block *b = tr_block(x, x->nop);
	bool far = is_far(b, target);
	u8 *not;

	if (!x->check && !goes_back(b, target) && !(far && in_kernel(b, target))) {
		tr_edge_stub(x, emit_edge_jcc(&x->e, cc), edge_what(x, which), far ? PATCHED_FAR : PATCHED);
	} else {
		not = emit_jcc(&x->e, cc ^ 1);
		edge(x, which, target);
		emit_land(&x->e, not);
	}
}

/* Where the trace goes on, what it does not follow is jumped to. */
static void jcc(struct xlate *x, u8 cc)
{
	u64 target = (u64)last(x)->disp;

	if (tr_goes_on(x) && x->trace.part[x->trace.of[x->nop]].taken) {
		edge_if(x, cc ^ 1, 0, next_rip(x));
		return;
	}
	edge_if(x, cc, 1, target);
	if (!tr_goes_on(x))
		edge(x, 0, next_rip(x));
}

/* The return address below the stack: stored, but RSP not moved yet. */
static void store_return(struct xlate *x)
{
	struct emitter *e = &x->e;
	u64 next = next_rip(x);
	struct tr_mem m;

	m = tr_stack_operand(x, RSP, -tr_word(x), true);
	if (tr_code32(x->b) || (s64)next == (s32)next) {
		tr_access(x);
		emit8(e, (tr_code32(x->b) ? 0x40 : 0x48) | tr_rex(0, m));
		emit8(e, 0xc7);
		tr_modrm(x, 0, m);
		emit32(e, (u32)next);
	} else {
		emit_constant(e, RCX, next);
		tr_access(x);
		emit8(e, 0x48 | tr_rex(RCX, m));
		emit8(e, 0x89);
		tr_modrm(x, RCX, m);
	}
}

/*
 * Look the target in R15 up in the table; where it is there, R14 has twice its slot's number. Else the op is
 * the handler's, from its start: nothing was stored yet.
 */
static void find_target(struct xlate *x)
{
	struct emitter *e = &x->e;
	u32 what = tr_what(x, TR_ONE, x->nop);

	tr_stub(x, poll(x), what, THEN_NOTHING);
	emit_rotate(e, R14, R15, 12);
	emit_lea(e, R14, R14, R15, 0, 0, true);
	if (x->flags_at) {
		emit_alu_imm(e, ALU_AND, 4, R14, (CODE_JUMPS - 1) << 1);
	} else {
		emit_pext(e, R14, R14, FIELD(gen.mask_jump));
		emit_lea(e, R14, R14, R14, 0, 0, true);
	}
	tr_stub(x, jump_unless_slot_of_target(x, R14, table_field(x->b->key)), what, THEN_NOTHING);
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
		tr_add_sp(x, pop);
	emit_jump_indexed(&x->e, R14, table_field(x->b->key) + (u32)offsetof(struct code_jump, host));
}

static void load_target(struct xlate *x, struct tr_mem m)
{
	tr_access(x);
	emit8(&x->e, (tr_code32(x->b) ? 0x40 : 0x48) | tr_rex(R15, m));
	emit8(&x->e, 0x8b);
	tr_modrm(x, R15, m);
}

static void indirect_target(struct xlate *x, const struct insn *in)
{
	if (in->mem)
		load_target(x, tr_operand(x, in, (u32)tr_word(x), false));
	else if (tr_code32(x->b))
		emit_move32(&x->e, R15, tr_get(x, in->rm, R15));
	else
		emit_move(&x->e, R15, tr_get(x, in->rm, R15));
}

static void ret(struct xlate *x, const struct insn *in)
{
	s32 extra = in->opcode == 0xc2 ? (u16)insn_imm(in) : 0;

	load_target(x, tr_stack_operand(x, RSP, 0, false));
	if (!extra && x->flags_at && !x->check) {
		tr_stub(x, poll(x), tr_what(x, TR_ONE, x->nop), THEN_NOTHING);
		tr_return(x);
		return;
	}
	jump_to_register(x, tr_word(x) + extra);
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
	emit_load_indexed(e, R15, R14, table_field(x->b->key) + (u32)offsetof(struct code_jump, host));
	/* Not in gen.tmp, which a kick on the way would use. */
	emit_store(e, FIELD(gen.resume), R15);
	store_return(x);
	tr_add_sp(x, -tr_word(x));
	tr_leave_site(x);
	emit_jump_field(e, FIELD(gen.resume));
}

/* A target that is not canonical is #GP, which the handler raises. */
bool tr_has_target(const struct op *o, const struct insn *in)
{
	bool fixed = in->kind == INSN_JCC || in->kind == INSN_JMP || in->kind == INSN_CALL;

	return !fixed || (s64)((u64)o->disp << 16) >> 16 == o->disp;
}

bool tr_branch(struct xlate *x, const struct insn *in)
{
	switch (in->kind) {
	case INSN_JCC:
		jcc(x, in->opcode & 15);
		return true;
	case INSN_JMP:
		if (!tr_goes_on(x))
			edge(x, 1, (u64)last(x)->disp);
		return true;
	case INSN_CALL:
		store_return(x);
		tr_add_sp(x, -tr_word(x));
		tr_leave_site(x);
		if (!tr_goes_on(x))
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

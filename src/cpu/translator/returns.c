/* SPDX-License-Identifier: MIT */
/*
 * translator/returns.c: where returns go.
 *
 * A CALL leaves the address of its return site, code of its own, in c->returns, at the place in it that the
 * return address has in its page of the guest's stack. A RET jumps to what stands at the place of the address that it
 * has read. A return site knows what address it is for: where the RET's is another, or where nothing was left, the RET
 * goes by the jump table (`by_table`). So a return needs no slot of a large table, and nothing has to be known of
 * how deep the guest's calls are, or of which stack it is on.
 *
 * A return site goes on at the block behind its CALL by an edge, as that block's predecessor would. It is the caller's
 * code, and known to be good when the CALL is executed. So all of them are forgotten whenever a page of code may
 * not be entered by what is known of it any more: each of ways.c's reasons to take a way out of use.
 */
#include "cpu/translator/internal.h"

#define NR_WIDTHS 2

static u32 width_of(u32 key)
{
	return (key & BLOCK_KEY_MODE) != MODE_LONG;
}

static u32 returns_field(u32 key)
{
	return (u32)(FIELD(returns) + block_key_tlb(key) * sizeof(((struct cpu *)0)->returns[0]));
}

/* -- by the table */

/*
 * Where a RET goes that no return site is for. R15 has its target, RCX what tr_helper() is to be told. Nothing has been
 * changed: what the table does not know is the handler's, from its start.
 */
static void emit_by_table(struct emitter *e, u32 mode, bool wide)
{
	u32 table = FIELD(jump) + mode * (u32)sizeof(((struct cpu *)0)->jump[0]);
	u8 *no;

	emit_rotate(e, R14, R15, 12);
	emit_lea(e, R14, R14, R15, 0, 0, true);
	emit_alu_imm(e, ALU_AND, 4, R14, (CODE_JUMPS - 1) << 1);
	emit_add(e, R15, R14, table + (u32)offsetof(struct code_jump, neg));
	no = emit_jcc(e, CC_NOT_ZERO);
	emit_lea(e, tr_host[RSP], tr_host[RSP], NO_INDEX, 0, wide ? 8 : 4, wide);
	emit_jump_indexed(e, R14, table + (u32)offsetof(struct code_jump, host));
	emit_land(e, no);
	emit_move32(e, R15, RCX);
	emit_call_field(e, FIELD(gen.helper_saved));
}

void tr_returns_create(struct translator *t)
{
	struct emitter e = {.start = t->area.write, .p = t->area.write + TR_CODE_ALIGN, .end = t->area.write + PAGE_SIZE};

	for (u32 m = 0; m < TLB_MODES; m++) {
		for (u32 width = 0; width < NR_WIDTHS; width++) {
			t->by_table[m][width] = emit_offset(&e);
			emit_by_table(&e, m, !width);
		}
	}
	t->shared_end = emit_offset(&e);
}

void tr_returns_forget(struct cpu *c)
{
	const struct translator *t = c->translator;

	for (u32 m = 0; m < TLB_MODES; m++) {
		u64 to = (u64)(t->area.run + t->by_table[m][width_of(c->gen.table_key[m])]);

		for (u32 i = 0; i < CODE_RETURNS; i++)
			c->returns[m][i] = to;
	}
}

/* -- a CALL and a RET */

/* A RET to an address that is not canonical is #GP, which its handler raises. */
static bool may_be_returned_to(const struct block *b)
{
	u64 rip = tr_rip(b, b->rip + b->bytes);

	return (u64)((s64)(rip << 16) >> 16) == rip;
}

/* A CALL in a block on two pages is forgotten oftener than its return would be. */
static bool has_site(const struct xlate *x)
{
	const struct block *b = tr_block(x, x->nop);

	return x->tests && !x->check && !x->careful && !b->page2 && may_be_returned_to(b);
}

/* What a RET is told here that has another target. */
static void emit_site(struct xlate *x)
{
	const struct translator *t = x->c->translator;
	const struct block *b = tr_block(x, x->nop);
	struct emitter *e = &x->e;
	u8 flags_at = x->flags_at;

	x->flags_at = FLAGS_IN_AF; /* by the RET */
	emit_constant(e, R14, tr_rip(b, b->rip + b->bytes));
	emit_alu(e, ALU_CMP, 8, R15, R14);
	emit_aim(e, emit_jcc(e, CC_NOT_ZERO), e->start + t->by_table[block_key_tlb(x->b->key)][width_of(x->b->key)]);
	emit_lea(e, tr_host[RSP], tr_host[RSP], NO_INDEX, 0, tr_word(x), !tr_code32(x->b));
	tr_fall_through(x);
	x->flags_at = flags_at;
}

/* Behind the store of the return address, RSP being moved. */
void tr_leave_site(struct xlate *x)
{
	struct emitter *e = &x->e;
	u8 *over;

	if (!has_site(x))
		return;
	emit_pext(e, RCX, tr_host[RSP], FIELD(gen.mask_returns));
	over = emit_call(e);
	emit_site(x);
	emit_land(e, over);
	emit_bytes(e, "\x41\x5e", 2); /* POP R14 */
	emit_store_indexed(e, RCX, returns_field(x->b->key), R14);
}

void tr_return(struct xlate *x)
{
	emit_constant(&x->e, RCX, tr_what(x, TR_ONE, x->nop));
	emit_pext(&x->e, R14, tr_host[RSP], FIELD(gen.mask_returns));
	emit_return_indexed(&x->e, R14, returns_field(x->b->key));
}

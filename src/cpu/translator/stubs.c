/* SPDX-License-Identifier: MIT */
/*
 * translator/stubs.c: ways out of a block's code, which stand apart from it: to the helper, to another look at the
 * TLB, to an op's careful copy.
 */
#include "cpu/translator/internal.h"

void tr_stub_aside(struct xlate *x, u8 *jump, u32 what, enum tr_then then)
{
	if (x->nstubs == MAX_STUBS) {
		x->e.full = true;
		return;
	}
	x->stub[x->nstubs++] = (struct stub){.jump = jump, .what = what, .then = (u8)then, .careful = x->careful,
					      .flags_at = x->flags_at,
					      .op = (u8)x->nop};
}

void tr_stub(struct xlate *x, u8 *jump, u32 what, enum tr_then then)
{
	if (x->check)
		tr_stub_aside(x, jump, tr_what(x, TR_CHECK, x->nop), THEN_NOTHING);
	else
		tr_stub_aside(x, jump, what, then);
}

void tr_edge_stub(struct xlate *x, u8 *jump, u32 what, enum tr_edge edge)
{
	tr_stub(x, jump, what, THEN_NOTHING);
	if (!x->e.full)
		x->stub[x->nstubs - 1].edge = (u8)edge;
}

bool tr_edge_by_cell(struct xlate *x, u32 what)
{
	if (x->ncells == CODE_CELLS)
		return false;
	emit_jump_field(&x->e, FIELD(cell) + x->ncells * (u32)sizeof(x->c->cell[0]));
	tr_edge_stub(x, NULL, what, BY_CELL);
	if (!x->e.full)
		x->stub[x->nstubs - 1].cell = x->ncells++;
	return true;
}

u8 *tr_check_zero(struct xlate *x, struct emit_check *k)
{
	if (emit_good(&x->e))
		emit_lea(&x->e, RCX, RCX, NO_INDEX, 0, emit_good(&x->e), true);
	return emit_check_end(&x->e, k);
}

void tr_miss_stub(struct xlate *x, u8 *jump, u8 *look_at, const struct tr_look *look)
{
	struct stub *s = &x->stub[x->nstubs];

	tr_stub(x, jump, tr_what(x, TR_ONE, x->nop), look->then);
	if (x->e.full || (x->check && !look->near))
		return;
	s->look_at = look_at;
	s->look = *look;
}

void tr_call_helper(struct xlate *x, u32 what, u8 flags_at)
{
	bool saved = emit_flags_for_c(x, flags_at);

	emit_constant(&x->e, R15, what);
	emit_call_field(&x->e, saved ? FIELD(gen.helper_saved) : FIELD(gen.helper));
}

/* RCX and R14 are a look's scratch; tr_refill_entry() uses no other register. */
static void emit_refill(struct xlate *x, const struct stub *s)
{
	u8 *no;

	if (s->look.la == TR_NO_LA)
		emit_constant(&x->e, RCX, (u64)(s64)s->look.disp);
	else if (s->look.disp)
		emit_lea(&x->e, RCX, s->look.la, NO_INDEX, 0, s->look.disp, true);
	else
		emit_move(&x->e, RCX, s->look.la);
	emit_constant(&x->e, R14, tr_refill_what(x, &s->look));
	emit_call_field(&x->e, FIELD(gen.refill));
	no = emit_jrcxz(&x->e);
	emit_jump_to(&x->e, s->look_at);
	emit_land8(&x->e, no);
}

/*
 * In a TEST that is never executed, so that all of the area is instructions, or a CMP where the edge leaves with the
 * flags in cpu->af: for tr_edge_place().
 */
#define TEST_EAX 0xa9
#define CMP_EAX	 0x3d

static void emit_edge_place(struct xlate *x, const struct stub *s)
{
	u32 at = s->edge == BY_CELL ? s->cell | TR_EDGE_CELL : (u32)(s->jump - x->e.start);

	emit8(&x->e, s->flags_at == FLAGS_IN_AF ? CMP_EAX : TEST_EAX);
	emit32(&x->e, s->edge == NOT_PATCHED ? 0 : s->edge == PATCHED ? at : at | TR_EDGE_FAR);
}

/* The stub is here. */
static void land(struct xlate *x, const struct stub *s)
{
	if (s->edge == BY_CELL)
		x->c->cell[s->cell] = (u64)(x->c->translator->area.run + emit_offset(&x->e));
	else
		emit_land(&x->e, s->jump);
}

/* Of the edge whose stub has called the helper. */
u64 tr_edge_place(const struct cpu *c)
{
	const u8 *told = (const u8 *)c->gen.resume;
	u32 place;

	memcpy(&place, told + 1, sizeof(place));
	return place | (*told == CMP_EAX ? TR_EDGE_SAVED : 0);
}

void tr_emit_stubs(struct xlate *x)
{
	for (u32 i = 0; i < x->nstubs && !x->e.full; i++) {
		const struct stub *s = &x->stub[i];

		land(x, s);
		if (s->look_at)
			emit_refill(x, s);
		if (s->then == THEN_CAREFUL) {
			emit_jump_to(&x->e, x->begun_at[s->op]);
			continue;
		}
		tr_call_helper(x, s->what, s->flags_at);
		if (s->edge)
			emit_edge_place(x, s);
		if (s->then == THEN_AGAIN)
			emit_jump_to(&x->e, x->op_at[s->careful][s->op]);
		else if (s->then == THEN_BEHIND)
			emit_jump_to(&x->e, tr_after_c(x, s->op + 1u));
	}
}

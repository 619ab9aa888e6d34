/* SPDX-License-Identifier: MIT */
#include "cpu/translator/trace.h"

#include "cpu/code/ends.h"
#include "cpu/translator/translate.h"
#include "cpu/translator/vector.h"

/* The ops of a block, from their bytes. */
static void take_apart(struct xlate *x, u32 first)
{
	const struct block *b = tr_block(x, first);

	for (u32 i = first; i < first + b->nops; i++) {
		const struct op *o = tr_op(x, i);
		const u8 *bytes = tr_op_bytes(x, i);
		struct insn *in = &x->insn[i];

		insn_parse(bytes, o->len, b->rip + o->off + o->len, tr_code32(b), in);
		if (o->fn == op_raise || !tr_has_target(o, in))
			in->kind = INSN_OTHER;
		else if (in->kind == INSN_OTHER)
			tr_vector_look(x, i, bytes);
	}
}

static void add(struct xlate *x, struct block *b)
{
	struct trace *t = &x->trace;
	u32 first = t->nops;

	t->part[t->nparts] = (struct trace_part){.b = b, .first = first};
	memset(&t->of[first], (int)t->nparts++, b->nops + 1u);
	t->nops += b->nops;
	take_apart(x, first);
}

void trace_begin(struct xlate *x)
{
	x->trace.nparts = x->trace.nops = 0;
	add(x, x->b);
}

static u32 heat_of(const struct block *b)
{
	return b ? b->heat : 0;
}

/* Where a part's last op leads most often, and whether that is its branch; NULL: nobody knows. */
static struct block *successor(const struct xlate *x, struct trace_part *p, u32 least)
{
	struct block *falls = p->b->link[0], *taken = p->b->link[1];

	switch (x->insn[x->trace.nops - 1].kind) {
	case INSN_JMP: case INSN_CALL:
		p->taken = true;
		return taken;
	case INSN_JCC:
		p->taken = heat_of(taken) > heat_of(falls);
		return heat_of(p->taken ? taken : falls) >= least ? (p->taken ? taken : falls) : NULL;
	default:
		return NULL;
	}
}

/* One that was tried, and not worth code of its own, is not worth being in a trace either. */
static bool may_follow(const struct xlate *x, const struct block *to)
{
	return x->trace.nparts < TRACE_PARTS && x->trace.nops + to->nops <= TRACE_OPS &&
	       to->rip >= x->b->rip && to->entry == &to->head;
}

void trace_grow(struct xlate *x, u32 heat)
{
	for (;;) {
		struct trace_part *p = &x->trace.part[x->trace.nparts - 1];
		struct block *to = successor(x, p, heat * 3 / 4);

		if (!to || !may_follow(x, to))
			return;
		add(x, to);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * translator/translate.c: a block becomes code; and what is kept of it.
 */
#include "cpu/translator/internal.h"
#include "cpu/translator/perfmap.h"
#include "cpu/translator/vector.h"

#include <assert.h>
#include "cpu/code/ends.h"

/* More than any block needs: for its code; for its stubs, careful copies and list of accesses. */
#define ROOM	   (16u << 10)
#define COLD_ROOM  (40u << 10)

const s8 tr_host[16] = {
	[RAX] = RAX, [RCX] = R13, [RDX] = RDX, [RBX] = RBX, [RSP] = R12, [RBP] = RBP,
	[RSI] = RSI, [RDI] = RDI, [R8] = R8, [R9] = R9, [R10] = IN_MEMORY, [R11] = IN_MEMORY,
	[R12] = R10, [R13] = R11, [R14] = IN_MEMORY, [R15] = IN_MEMORY,
};

int tr_get(struct xlate *x, int g, int scratch)
{
	if (tr_host[g] != IN_MEMORY)
		return tr_host[g];
	if (scratch == GEN_INDEX)
		x->index_has = NULL;
	emit_load(&x->e, scratch, GPR_FIELD(g));
	return scratch;
}

void tr_put(struct xlate *x, int g, int host)
{
	if (tr_host[g] == IN_MEMORY)
		emit_store(&x->e, GPR_FIELD(g), host);
}

static u32 place_of(const struct xlate *x, const struct block *b)
{
	return (u32)(((u8 *)b - x->c->code->arena) / 64);
}

u32 tr_what(const struct xlate *x, enum tr_reason reason, u32 op)
{
	const struct trace_part *p = &x->trace.part[x->trace.of[MIN(op, x->trace.nops)]];

	return (u32)reason << TR_REASON_SHIFT | place_of(x, p->b) << TR_OP_BITS | (op - p->first);
}

void tr_access(struct xlate *x)
{
	if (x->nsites == MAX_SITES) {
		x->e.full = true;
		return;
	}
	x->site[x->nsites++] = (struct tr_site){.at = emit_offset(&x->e), .op = (u16)x->nop, .flags_at = x->flags_at,
						.sp_lag = (s16)x->sp_lag};
}

void tr_stop(struct xlate *x, u32 op)
{
	bool to_save = tr_has_bit(x->flags.save, op);

	tr_call_helper(x, tr_what(x, TR_CHECK, op), x->flags_at || to_save ? x->flags_at : flags_at(x, op));
}

/*
 * Instructions are counted block by block, as the interpreter counts them, for who asked for it. A load
 * looks for the store that it is to have its value from by the lowest 12 bits of the address: what each
 * block loads and stores here must not lie where the general registers do in their page, or both wait for
 * each other.
 */
_Static_assert((offsetof(struct cpu, stat.instructions) & ~PAGE_MASK) >= offsetof(struct cpu, gen) + sizeof(((struct cpu *)0)->gen),
	       "no general register's place, nor generated code's");
static void count(struct xlate *x)
{
	u32 field = (u32)offsetof(struct cpu, stat.instructions);

	emit_load(&x->e, R14, field);
	emit_lea(&x->e, R14, R14, NO_INDEX, 0, x->b->nops, true);
	emit_store(&x->e, field, R14);
}

const u8 *tr_op_bytes(struct xlate *x, u32 op)
{
	const struct block *b = tr_block(x, op);
	const struct op *o = tr_op(x, op);

	if (b->page2) { /* a block of one op */
		code_block_bytes(b, o, x->straddler);
		return x->straddler;
	}
	return b->page->copy + (b->gpa & ~PAGE_MASK) + o->off;
}

enum how { BY_HANDLER, INLINE, INLINE_END };

/*
 * Does its code leave GEN_INDEX alone, but where a look or tr_get() uses it? Then what the op before it had there needs
 * not be loaded again.
 */
static bool leaves_index(const struct insn *in)
{
	switch (in->kind) {
	case INSN_RM: case INSN_REG:
		return !insn_has_high_byte(in);
	case INSN_LEA: case INSN_NOP: case INSN_PUSH: case INSN_PUSH_IMM: case INSN_POP: case INSN_JCC:
		return true;
	default:
		return false;
	}
}

static void begin_op(struct xlate *x)
{
	if (tr_has_bit(x->flags.save, x->nop)) {
		emit_flags_save(x);
		if (!x->nop && !x->careful)
			x->host_saved = emit_offset(&x->e);
	}
	if (x->careful)
		x->begun_at[x->nop] = x->e.p;
	x->flags_at = flags_at(x, x->nop);
}

static enum how emit_op(struct xlate *x)
{
	const struct insn *in = &x->insn[x->nop];
	bool leaves = leaves_index(in);
	enum how how = BY_HANDLER;

	if (!leaves)
		x->index_has = NULL;
	begin_op(x);
	if (tr_integer(x, in, tr_op_bytes(x, x->nop), tr_op(x, x->nop)->len) || tr_bmi(x, in) || tr_stack(x, in) || tr_vector(x, in) ||
	    tr_system(x, in))
		how = INLINE;
	else if (tr_branch(x, in))
		how = tr_goes_on(x) ? INLINE : INLINE_END;
	x->flags_at = FLAGS_IN_HOST;
	if (!leaves || how == BY_HANDLER)
		x->index_has = NULL;
	return how;
}

static struct emitter emitter_at(const struct translator *t, u32 at, u32 room, bool borrows)
{
	u8 *p = t->area.write + at;

	return (struct emitter){.start = t->area.write, .p = p, .end = p + room, .loops = t->loops, .borrows = borrows};
}

static bool has_room_left(const struct translator *t)
{
	return t->used + ROOM <= t->cold && t->cold_used + COLD_ROOM <= t->area.size;
}

/* A program with more blocks is one of which a processor forgets where the taken jumps of its checks lead. */
#define LARGE_PROGRAM 1024

static bool is_large(const struct translator *t, const struct block *b)
{
	return (s64)b->rip >= 0 && t->ways[t->space_list].blocks > LARGE_PROGRAM;
}

static void begin(struct cpu *c, struct block *b)
{
	struct translator *t = c->translator;
	struct xlate *x = &t->x;
	bool borrows = t->borrows_always || (t->borrows && is_large(t, b));

	x->c = c;
	x->b = b;
	x->nstubs = x->nsites = x->nshadows = 0;
	x->ncells = t->ncells;
	x->check = x->careful = x->falls_through = false;
	x->flags_at = FLAGS_IN_HOST;
	x->index_has = NULL;
	x->sp_lag = 0;
	x->tests = t->tests && !t->count_len;
	x->vectors = 0;
	x->e = emitter_at(t, t->used, ROOM, borrows);
	x->cold = emitter_at(t, t->cold_used, COLD_ROOM - sizeof(x->site) - sizeof(x->flags.recipe) - 64, borrows);
}

/* From here on the other kind of code. */
static void turn(struct xlate *x)
{
	struct emitter e = x->e;

	x->e = x->cold;
	x->cold = e;
	x->e.full |= e.full;
}

/*
 * Is there nothing to look at behind the block? It may end so because its one instruction lies on two
 * pages, or because that changes what code depends on, which what is in line does not.
 */
static bool falls_through(const struct xlate *x, bool in_line)
{
	u32 end = x->trace.nops;

	return tr_op(x, end)->fn == op_end ||
	       (in_line && (x->b->page2 || tr_system_falls(x, &x->insn[end - 1])));
}

/* Behind the instruction that may be in STI's shadow. */
static void end_shadow(struct xlate *x)
{
	u8 *none;

	emit_load8(&x->e, RCX, FIELD(shadow));
	none = emit_jrcxz(&x->e);
	tr_stub(x, emit_jump(&x->e), tr_what(x, TR_SHADOW, x->nop), THEN_BEHIND);
	emit_land8(&x->e, none);
}

/* The ops, in order; what has no code is run up to what has, from the first of them on. */
static void emit_ops(struct xlate *x)
{
	struct trace *t = &x->trace;
	bool by_handler = false;
	enum how how = INLINE;

	for (x->nop = 0; x->nop < t->nops; x->nop++) {
		struct trace_part *p = &t->part[t->of[x->nop]];

		if (!tr_sp_may_lag(x))
			tr_settle_sp(x);
		x->op_at[PLAIN][x->nop] = x->e.p;
		x->vectors_before[x->nop] = x->vectors;
		how = emit_op(x);
		if (how != BY_HANDLER)
			p->inlined |= 1ULL << (x->nop - p->first);
		else if (!by_handler)
			tr_call_helper(x, tr_what(x, TR_RUN, x->nop), flags_at(x, x->nop));
		by_handler = how == BY_HANDLER;
		if (by_handler && (tr_has_bit(x->share.inside, x->nop + 1) || tr_has_bit(x->flags.unread, x->nop)))
			x->e.full = true; /* the plan took it for one that has code */
	}
	tr_settle_sp(x);
	x->op_at[PLAIN][t->nops] = x->e.p;
	if (how == INLINE_END)
		return;
	x->nop = t->nops - 1;
	x->falls_through = falls_through(x, how == INLINE);
	if (tr_op(x, t->nops)->fn == op_end_shadow) {
		x->falls_through = true;
		end_shadow(x);
	}
	if (x->falls_through)
		tr_fall_through(x);
	else if (!by_handler)
		tr_call_helper(x, tr_what(x, TR_RUN, t->nops), FLAGS_IN_HOST);
}

/* Those that share an access once more, each by itself; none of them is a handler's. */
static void emit_careful(struct xlate *x)
{
	enum how how = INLINE;

	x->careful = true;
	x->index_has = NULL;
	for (x->nop = 0; x->nop < x->trace.nops; x->nop++) {
		if (!tr_has_bit(x->share.careful, x->nop))
			continue;
		x->op_at[CAREFUL][x->nop] = x->e.p;
		x->vectors = x->vectors_before[x->nop];
		how = emit_op(x);
		if (how == INLINE && !tr_has_bit(x->share.inside, x->nop + 1))
			emit_jump_to(&x->e, x->op_at[PLAIN][x->nop + 1]);
	}
	x->careful = false;
}

/*
 * Ops from the first on, up to one that has no code, or that loads behind a store: what is stored
 * goes to c->tried, where it would not be found.
 */
static void emit_ops_to_check(struct xlate *x)
{
	const struct block *b = x->b;

	for (x->nop = 0; x->nop < b->nops; x->nop++) {
		enum how how;

		x->op_at[PLAIN][x->nop] = x->e.p;
		x->shadows_before[x->nop] = (u8)x->nshadows;
		if (x->nshadows && insn_loads(&x->insn[x->nop]))
			break;
		how = emit_op(x);
		if (how == INLINE_END)
			return;
		if (how == BY_HANDLER)
			break;
	}
	if (x->nop == b->nops)
		x->shadows_before[x->nop] = (u8)x->nshadows;
	if (x->nop == b->nops && falls_through(x, true))
		tr_stop(x, TR_CHECK_FALLS);
	else
		tr_stop(x, x->nop);
}

/* Where the block is entered, and where with the flags in cpu->af, unless the first op saves them. */
static void emit_entries(struct xlate *x)
{
	u32 start = emit_offset(&x->e);

	if (x->tests && !tr_has_bit(x->flags.save | x->flags.unread, 0))
		emit_flags_load(x);
	x->host = x->host_saved = emit_offset(&x->e);
	if (x->host != start)
		x->host_saved = start;
}

u8 *tr_translate_to_check(struct cpu *c, struct block *b)
{
	struct translator *t = c->translator;
	struct xlate *x = &t->x;

	if (!has_room_left(t))
		return NULL;
	begin(c, b);
	x->check = true;
	trace_begin(x);
	share_plan(x);
	flags_plan(x);
	emit_ops_to_check(x);
	turn(x);
	tr_emit_stubs(x);
	tr_serialize();
	return x->e.full ? NULL : t->area.run + t->used;
}

/* The list of accesses, and the recipes that it names. */
static const u8 *keep_sites(struct xlate *x, struct tr_site *list)
{
	const struct translator *t = x->c->translator;
	struct recipe *recipes = (struct recipe *)(list + x->nsites);

	for (u32 i = 0; i < x->nsites; i++) {
		struct tr_site *s = &x->site[i];
		const struct trace_part *p = &x->trace.part[x->trace.of[s->op]];

		s->resume = (u32)(tr_after_c(x, s->op + 1u) - t->area.write);
		s->block = place_of(x, p->b);
		s->op -= (u16)p->first;
		list[i] = *s;
	}
	memcpy(recipes, x->flags.recipe, x->flags.nrecipes * sizeof(recipes[0]));
	return (u8 *)(recipes + x->flags.nrecipes);
}

/* The list of accesses goes behind the cold code, which is the one at hand. */
static void keep(struct xlate *x, u32 start)
{
	struct translator *t = x->c->translator;
	struct tr_site *list = (struct tr_site *)ALIGN_UP((u64)x->e.p, 8);
	struct tr_code *code = &t->codes[t->ncodes++];
	const u8 *end = keep_sites(x, list);

	perfmap_add(t->area.run + start, emit_offset(&x->cold) - start, x->b->rip, x->b->key & BLOCK_KEY_CPL3);
	perfmap_add(t->area.run + t->cold_used, emit_offset(&x->e) - t->cold_used, x->b->rip,
		    x->b->key & BLOCK_KEY_CPL3);
	x->c->stat.code.translated++;
	x->c->stat.code.blocks = t->ncodes;
	x->c->stat.code.instructions += x->trace.nops;
	*code = (struct tr_code){.at = start,
				 .len = emit_offset(&x->cold) - start,
				 .cold_at = t->cold_used,
				 .cold_len = emit_offset(&x->e) - t->cold_used,
				 .nsites = x->nsites,
				 .b = x->b,
				 .site = list};
	for (u32 i = 0; i < x->trace.nparts; i++)
		x->trace.part[i].b->inlined = x->trace.part[i].inlined;
	tr_block(x, x->trace.nops)->falls_through = x->falls_through;
	x->b->host = x->host;
	x->b->host_saved = x->host_saved;
	t->ncells = x->ncells;
	t->ways[t->space_list].blocks += (s64)x->b->rip >= 0;
	t->used = (u32)ALIGN_UP((u64)(x->cold.p - t->area.write), TR_CODE_ALIGN);
	t->cold_used = (u32)ALIGN_UP((u64)(end - t->area.write), TR_CODE_ALIGN);
	x->c->stat.code.bytes = t->used + t->cold_used - t->cold;
}

/* Is most of it in line? Going in and out costs more than handlers do. */
static bool pays(const struct translator *t, const struct trace *trace)
{
	u32 n = 0;

	for (u32 i = 0; i < trace->nparts; i++)
		n += (u32)__builtin_popcountll(trace->part[i].inlined);
	return t->heat == 1 || 2 * n >= trace->nops;
}

/* The code of the block and, if `more`, of what follows it. False: there is too much of it, or it does not pay. */
static bool emit_trace(struct cpu *c, struct block *b, bool more)
{
	struct translator *t = c->translator;
	struct xlate *x = &t->x;

	begin(c, b);
	trace_begin(x);
	if (more)
		trace_grow(x, t->heat);
	share_plan(x);
	flags_plan(x);
	if (t->count_len)
		count(x);
	assert(emit_offset(&x->e) == t->used + t->count_len);
	emit_entries(x);
	emit_ops(x);
	turn(x);
	emit_careful(x);
	tr_emit_stubs(x);
	return !x->e.full && pays(t, &x->trace);
}

/* By itself where it does not pay with what follows it: that may follow it seldom from now on. */
bool tr_translate(struct cpu *c, struct block *b)
{
	struct translator *t = c->translator;

	if (!has_room_left(t) || t->ncodes == t->max_codes) {
		t->full = true;
		return false;
	}
	if (!emit_trace(c, b, !t->check_every && !t->count_len) &&
	    (t->x.trace.nparts == 1 || !emit_trace(c, b, false)))
		return false;
	keep(&t->x, t->used);
	t->patched = true;
	return true;
}

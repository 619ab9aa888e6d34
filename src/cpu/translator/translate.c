/* SPDX-License-Identifier: MIT */
/*
 * translator/translate.c: a block becomes code; and what is kept of it.
 */
#include "cpu/translator/internal.h"
#include "cpu/translator/perfmap.h"
#include "cpu/translator/vector.h"

#include <assert.h>
#include <stdlib.h>
#include "base/own.h"
#include "base/pagemem.h"
#include "base/pext.h"
#include "cpu/code/ends.h"

#define CODE_ALIGN 16
/* More than any block needs: for its code; for its stubs, careful copies and list of accesses. */
#define ROOM	   (16u << 10)
#define COLD_ROOM  (40u << 10)
/* Of the area so many eighths are for what is not cold: about the proportion of boots and compilers. */
#define HOT_EIGHTHS 3
#define BYTES_A_BLOCK 128 /* and more: what is kept of a block beside its code is room for so many */

const s8 tr_host[16] = {
	[RAX] = RAX, [RCX] = R13, [RDX] = RDX, [RBX] = RBX, [RSP] = R12, [RBP] = RBP,
	[RSI] = RSI, [RDI] = RDI, [R8] = R8, [R9] = R9, [R10] = IN_MEMORY, [R11] = IN_MEMORY,
	[R12] = R10, [R13] = R11, [R14] = IN_MEMORY, [R15] = IN_MEMORY,
};

int tr_get(struct xlate *x, int g, int scratch)
{
	if (tr_host[g] != IN_MEMORY)
		return tr_host[g];
	emit_load(&x->e, scratch, GPR_FIELD(g));
	return scratch;
}

void tr_put(struct xlate *x, int g, int host)
{
	if (tr_host[g] == IN_MEMORY)
		emit_store(&x->e, GPR_FIELD(g), host);
}

u32 tr_what(const struct xlate *x, enum tr_reason reason, u32 op)
{
	u64 at = (u64)((u8 *)x->b - x->c->code->arena) / 64;

	return (u32)reason << TR_REASON_SHIFT | (u32)at << TR_OP_BITS | op;
}

void tr_stub_aside(struct xlate *x, u8 *jump, u32 what, enum tr_then then)
{
	if (x->nstubs == MAX_STUBS) {
		x->e.full = true;
		return;
	}
	x->stub[x->nstubs++] = (struct stub){.jump = jump, .what = what, .then = (u8)then, .careful = x->careful,
					      .saved = x->saved,
					      .op = (u8)x->nop};
}

void tr_far_stub(struct xlate *x, u8 *jump, const struct tr_look *look)
{
	struct stub *s = &x->stub[x->nstubs];

	tr_stub_aside(x, jump, 0, THEN_NOTHING);
	if (x->e.full)
		return;
	s->back = x->e.p;
	s->look = *look;
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
	if (x->check || x->e.full)
		return;
	s->look_at = look_at;
	s->look = *look;
}

void tr_access(struct xlate *x)
{
	if (x->nsites == MAX_SITES) {
		x->e.full = true;
		return;
	}
	x->site[x->nsites++] = (struct tr_site){.at = emit_offset(&x->e), .op = (u16)x->nop, .saved = x->saved};
}

static bool has_bit(u64 ops, u32 op)
{
	return op < BLOCK_MAX_OPS && ops >> op & 1;
}

/* The code of `op` for one that comes from C, where slots are not to be relied on any more. */
static u8 *after_c(const struct xlate *x, u32 op)
{
	return x->op_at[has_bit(x->share.inside, op) ? CAREFUL : PLAIN][op];
}

static void call_helper(struct xlate *x, u32 what, bool saved)
{
	emit_constant(&x->e, R15, what);
	emit_call_field(&x->e, saved ? FIELD(gen.helper_saved) : FIELD(gen.helper));
}

void tr_stop(struct xlate *x, u32 op)
{
	call_helper(x, tr_what(x, TR_CHECK, op), x->saved || has_bit(x->flags.saved & ~x->flags.save, op));
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

static const u8 *op_bytes(struct xlate *x, u32 op)
{
	const struct block *b = x->b;

	if (b->page2) { /* a block of one op */
		code_block_bytes(b, &b->op[op], x->straddler);
		return x->straddler;
	}
	return b->page->copy + (b->gpa & ~PAGE_MASK) + b->op[op].off;
}

/* The block's ops, from their bytes. */
static void take_apart(struct xlate *x)
{
	const struct block *b = x->b;

	for (u32 i = 0; i < b->nops; i++) {
		const struct op *o = &b->op[i];
		struct insn *in = &x->insn[i];

		insn_parse(op_bytes(x, i), o->len, b->rip + o->off + o->len, tr_code32(b), in);
		if (o->fn == op_raise || !tr_has_target(o, in))
			in->kind = INSN_OTHER;
		else if (in->kind == INSN_OTHER)
			tr_vector_look(x, i, op_bytes(x, i));
	}
}

enum how { BY_HANDLER, INLINE, INLINE_END };

static void begin_op(struct xlate *x)
{
	if (has_bit(x->flags.save, x->nop)) {
		emit_flags_save(x);
		if (!x->nop && !x->careful)
			x->host_saved = emit_offset(&x->e);
	}
	if (x->careful)
		x->begun_at[x->nop] = x->e.p;
	x->saved = has_bit(x->flags.saved, x->nop);
}

static enum how emit_op(struct xlate *x)
{
	const struct op *o = &x->b->op[x->nop];
	const struct insn *in = &x->insn[x->nop];
	enum how how = BY_HANDLER;

	begin_op(x);
	if (tr_integer(x, in, op_bytes(x, x->nop), o->len) || tr_bmi(x, in) || tr_stack(x, in) || tr_vector(x, in) ||
	    tr_system(x, in))
		how = INLINE;
	else if (tr_branch(x, in))
		how = INLINE_END;
	x->saved = false;
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
	x->check = x->careful = x->saved = false;
	x->tests = t->tests && !t->count_len;
	x->vectors = 0;
	x->e = emitter_at(t, t->used, ROOM, borrows);
	x->cold = emitter_at(t, t->cold_used, COLD_ROOM - sizeof(x->site) - 64, borrows);
}

/* From here on the other kind of code. */
static void turn(struct xlate *x)
{
	struct emitter e = x->e;

	x->e = x->cold;
	x->cold = e;
	x->e.full |= e.full;
}

/* RCX and R14 are a look's scratch; tr_refill_entry() uses no other register. */
static void emit_refill(struct xlate *x, const struct stub *s)
{
	u8 *no;

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

	emit8(&x->e, s->saved ? CMP_EAX : TEST_EAX);
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

static void emit_stubs(struct xlate *x)
{
	for (u32 i = 0; i < x->nstubs && !x->e.full; i++) {
		const struct stub *s = &x->stub[i];

		if (s->back) {
			emit_land(&x->e, s->jump);
			x->nop = s->op;
			x->careful = s->careful;
			x->saved = s->saved;
			tr_look_further(x, &s->look);
			emit_jump_to(&x->e, s->back);
			continue;
		}
		land(x, s);
		if (s->look_at)
			emit_refill(x, s);
		if (s->then == THEN_CAREFUL) {
			emit_jump_to(&x->e, x->begun_at[s->op]);
			continue;
		}
		call_helper(x, s->what, s->saved);
		if (s->edge)
			emit_edge_place(x, s);
		if (s->then == THEN_AGAIN)
			emit_jump_to(&x->e, x->op_at[s->careful][s->op]);
		else if (s->then == THEN_BEHIND)
			emit_jump_to(&x->e, after_c(x, s->op + 1u));
	}
}

/*
 * Is there nothing to look at behind the block? It may end so because its one instruction lies on two
 * pages, or because that changes what code depends on, which what is in line does not.
 */
static bool falls_through(const struct xlate *x, bool in_line)
{
	const struct block *b = x->b;

	return b->op[b->nops].fn == op_end ||
	       (in_line && (b->page2 || tr_system_falls(x, &x->insn[b->nops - 1])));
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
	struct block *b = x->b;
	bool by_handler = false;
	enum how how = INLINE;

	for (x->nop = 0; x->nop < b->nops; x->nop++) {
		x->op_at[PLAIN][x->nop] = x->e.p;
		x->vectors_before[x->nop] = x->vectors;
		how = emit_op(x);
		if (how != BY_HANDLER)
			b->inlined |= 1ULL << x->nop;
		else if (!by_handler)
			call_helper(x, tr_what(x, TR_RUN, x->nop), has_bit(x->flags.saved, x->nop));
		by_handler = how == BY_HANDLER;
		if (by_handler && (has_bit(x->share.inside, x->nop + 1) || has_bit(x->flags.unread, x->nop)))
			x->e.full = true; /* the plan took it for one that has code */
	}
	x->op_at[PLAIN][b->nops] = x->e.p;
	if (how == INLINE_END)
		return;
	x->nop = b->nops - 1u;
	b->falls_through = falls_through(x, how == INLINE);
	if (b->op[b->nops].fn == op_end_shadow) {
		b->falls_through = true;
		end_shadow(x);
	}
	if (b->falls_through)
		tr_fall_through(x);
	else if (!by_handler)
		call_helper(x, tr_what(x, TR_RUN, b->nops), false);
}

/* Those that share an access once more, each by itself; none of them is a handler's. */
static void emit_careful(struct xlate *x)
{
	const struct block *b = x->b;
	enum how how = INLINE;

	x->careful = true;
	for (x->nop = 0; x->nop < b->nops; x->nop++) {
		if (!has_bit(x->share.careful, x->nop))
			continue;
		x->op_at[CAREFUL][x->nop] = x->e.p;
		x->vectors = x->vectors_before[x->nop];
		how = emit_op(x);
		if (how == INLINE && !has_bit(x->share.inside, x->nop + 1))
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

	if (x->tests && !has_bit(x->flags.save | x->flags.unread, 0))
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
	take_apart(x);
	share_plan(x);
	flags_plan(x);
	emit_ops_to_check(x);
	turn(x);
	emit_stubs(x);
	tr_serialize();
	return x->e.full ? NULL : t->area.run + t->used;
}

/* The list of accesses goes behind the cold code, which is the one at hand. */
static void keep(struct xlate *x, u32 start)
{
	struct translator *t = x->c->translator;
	u32 n = x->nsites;
	struct tr_site *list = (struct tr_site *)ALIGN_UP((u64)x->e.p, 8);
	struct tr_code *code = &t->codes[t->ncodes++];

	for (u32 i = 0; i < n; i++) {
		x->site[i].resume = (u32)(after_c(x, x->site[i].op + 1) - t->area.write);
		list[i] = x->site[i];
	}
	perfmap_add(t->area.run + start, emit_offset(&x->cold) - start, x->b->rip, x->b->key & BLOCK_KEY_CPL3);
	perfmap_add(t->area.run + t->cold_used, emit_offset(&x->e) - t->cold_used, x->b->rip,
		    x->b->key & BLOCK_KEY_CPL3);
	x->c->stat.code.translated++;
	x->c->stat.code.blocks = t->ncodes;
	x->c->stat.code.instructions += x->b->nops;
	*code = (struct tr_code){.at = start,
				 .len = emit_offset(&x->cold) - start,
				 .cold_at = t->cold_used,
				 .cold_len = emit_offset(&x->e) - t->cold_used,
				 .nsites = n,
				 .b = x->b,
				 .site = list};
	x->b->host = x->host;
	x->b->host_saved = x->host_saved;
	t->ncells = x->ncells;
	t->ways[t->space_list].blocks += (s64)x->b->rip >= 0;
	t->used = (u32)ALIGN_UP((u64)(x->cold.p - t->area.write), CODE_ALIGN);
	t->cold_used = (u32)ALIGN_UP((u64)((u8 *)(list + n) - t->area.write), CODE_ALIGN);
	x->c->stat.code.bytes = t->used + t->cold_used - t->cold;
}

static bool wanted(const struct block *b)
{
	u32 mode = b->key & BLOCK_KEY_MODE, flat = BLOCK_KEY_FLAT | BLOCK_KEY_SS32;

	if (mode != MODE_LONG && ((mode != MODE_PROT32 && mode != MODE_COMPAT32) || (b->key & flat) != flat))
		return false;
	return !(b->key & BLOCK_KEY_STEP) &&
	       (b->key & BLOCK_KEY_TLB) != BLOCK_KEY_TLB_NEVER;
}

/* Is most of it in line? Going in and out costs more than handlers do. */
static bool pays(const struct translator *t, const struct block *b)
{
	return t->heat == 1 || 2 * (u32)__builtin_popcountll(b->inlined) >= b->nops;
}

bool tr_translate(struct cpu *c, struct block *b)
{
	struct translator *t = c->translator;
	struct xlate *x = &t->x;

	if (!has_room_left(t) || t->ncodes == t->max_codes) {
		t->full = true;
		return false;
	}
	begin(c, b);
	b->inlined = 0;
	b->falls_through = false;
	take_apart(x);
	share_plan(x);
	flags_plan(x);
	if (t->count_len)
		count(x);
	assert(emit_offset(&x->e) == t->used + t->count_len);
	emit_entries(x);
	emit_ops(x);
	turn(x);
	emit_careful(x);
	emit_stubs(x);
	if (x->e.full || !pays(t, b))
		return false;
	keep(x, t->used);
	t->patched = true;
	return true;
}

/* -- the engine, as cpu/code/ sees it */

static const struct op *enter_block(struct cpu *c, const struct op *o)
{
	const struct op *next;

	if (tr_check_due(c))
		return tr_check(c, c->block);
	c->op = NULL;
	tr_use_table(c, c->block);
	c->stat.code.place = STATPAGE_GENERATED;
	tr_see_patches(c->translator);
	next = tr_enter(c, c->translator->area.run + c->block->host);
	c->stat.code.place = STATPAGE_INTERPRETER;
	return next;
}

/* A block's entry until it is translated. */
static const struct op *count_block(struct cpu *c, const struct op *o)
{
	struct block *b = c->block;

	if (likely(++b->heat < c->translator->heat))
		return b->op[0].fn(c, b->op);
	if (!tr_translate(c, b)) {
		b->entry = b->op;
		return b->op[0].fn(c, b->op);
	}
	b->head.fn = enter_block;
	return enter_block(c, o);
}

static void made(struct cpu *c, struct block *b)
{
	if (!wanted(b))
		return;
	b->head = (struct op){.fn = count_block};
	b->entry = &b->head;
}

static bool full(const struct cpu *c)
{
	return c->translator->full;
}

static void cleared(struct cpu *c)
{
	c->translator->used = 0;
	c->translator->cold_used = c->translator->cold;
	c->translator->ncodes = c->translator->ncells = 0;
	c->translator->full = false;
	c->stat.code.blocks = c->stat.code.instructions = c->stat.code.bytes = 0;
	tr_ways_cleared(c);
}

static const struct code_engine engine = {
	.made = made,
	.full = full,
	.cleared = cleared,
	.forget = tr_forget,
	.switch_space = tr_switch_space,
	.forget_page = tr_forget_page,
	.forget_address = tr_forget_address,
	.suspend = tr_suspend,
	.resume = tr_resume,
};

static void free_memory(struct translator *t)
{
	area_destroy(&t->area);
	pagemem_free(t->codes, t->max_codes * sizeof(*t->codes));
	for (u32 i = 0; i < NR_WAYS; i++)
		pagemem_free(t->ways[i].way, TR_WAYS * sizeof(struct tr_way));
}

/* As much of `size` as there is address space for; a quarter where a limit says that there is little. */
static int make_area(struct translator *t, u32 size)
{
	int r;

	if (own_space_limited())
		size = MAX(size / 4, TRANSLATOR_CACHE_LEAST);
	do {
		r = area_create(&t->area, size, (void *)tr_fixup);
		size /= 2;
	} while (r == -ENOMEM && size >= TRANSLATOR_CACHE_LEAST);
	if (r)
		return r;
	t->cold = t->cold_used = t->area.size / 8 * HOT_EIGHTHS;
	t->max_codes = t->area.size / BYTES_A_BLOCK;
	t->codes = pagemem_alloc(t->max_codes * sizeof(*t->codes));
	r = t->codes ? tr_ways_create(t) : -ENOMEM;
	if (r)
		free_memory(t);
	return r;
}

static void prepare(struct cpu *c)
{
	c->gen.helper = (void *)tr_helper_entry;
	c->gen.helper_saved = (void *)tr_helper_saved_entry;
	c->gen.refill = (void *)tr_refill_entry;
	for (u32 i = 0; i < ARRAY_SIZE(c->align_mask); i++)
		c->align_mask[i] = BIT(i) - 1;
	c->vec.low_out = c->vec.high_out = 1;
	c->gen.mask_index = (u64)(TLB_ENTRIES - 1) << PAGE_SHIFT;
	c->gen.mask_page = PAGE_MASK;
	for (u32 i = 0; i < ARRAY_SIZE(c->gen.mask_aligned); i++)
		c->gen.mask_aligned[i] = PAGE_MASK | (BIT(i) - 1);
	c->gen.mask_jump = (CODE_JUMPS - 1) << 1;
	c->gen.mask_af = 1ULL << 56 | (FL_STATUS & 0xff);
	c->gen.mask_status = FL_STATUS;
	tr_ways_prepare(c);
}

static void choose_checks(struct translator *t, enum translator_checks checks)
{
	t->loops = checks == CHECKS_FOR_HOST ? host_has_fast_loop() : checks == CHECKS_BY_LOOP;
	t->tests = checks == CHECKS_BY_FLAGS || (checks == CHECKS_FOR_HOST && !t->loops);
	t->borrows = !t->loops;
	t->borrows_always = checks == CHECKS_BY_BORROW;
}

int translator_create(struct cpu *c, const struct translator_options *o)
{
	struct translator *t;
	int r;

	if (!host_has_fast_pext())
		return -ENOTSUP;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->check_every = o->check_every;
	t->heat = o->heat;
	t->count_len = o->count ? TR_COUNT_LEN : 0;
	choose_checks(t, o->checks);
	perfmap_open();
	r = make_area(t, o->cache);
	if (r) {
		free(t);
		return r;
	}
	prepare(c);
	c->translator = t;
	c->code->engine = &engine;
	return 0;
}

void translator_destroy(struct cpu *c)
{
	struct translator *t = c->translator;

	if (!t)
		return;
	free_memory(t);
	free(t);
	c->translator = NULL;
}

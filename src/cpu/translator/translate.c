/* SPDX-License-Identifier: MIT */
/*
 * translator/translate.c: a block becomes code; and what is kept of it.
 */
#include "cpu/translator/internal.h"
#include "cpu/translator/vector.h"

#include <assert.h>
#include <cpuid.h>
#include <stdlib.h>
#include "base/pagemem.h"
#include "cpu/code/ends.h"

#define CODE_ALIGN 16
/* More than any block needs: its code, its stubs and its list of accesses. */
#define ROOM	   (64u << 10)
#define MAX_CODES  (AREA_SLICE / 128)

bool translator_eager;

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

void tr_stub(struct xlate *x, u8 *jump, u32 what, int resume)
{
	/* What is only tried stops here. */
	if (x->check) {
		what = tr_what(x, TR_CHECK, x->nop);
		resume = -1;
	}
	if (x->nstubs == MAX_STUBS) {
		x->e.full = true;
		return;
	}
	x->stub[x->nstubs++] = (struct stub){jump, what, (s16)resume};
}

void tr_access(struct xlate *x)
{
	if (x->nsites == MAX_SITES) {
		x->e.full = true;
		return;
	}
	x->site[x->nsites++] = (struct tr_site){.at = emit_offset(&x->e), .op = x->nop};
}

static void call_helper(struct xlate *x, u32 what)
{
	emit_constant(&x->e, R15, what);
	emit_call_field(&x->e, FIELD(gen.helper));
}

void tr_stop(struct xlate *x, u32 op)
{
	call_helper(x, tr_what(x, TR_CHECK, op));
}

/* Instructions are counted block by block, as the interpreter counts them. */
static void count(struct xlate *x)
{
	u32 field = (u32)offsetof(struct cpu, stat.instructions);

	emit_load(&x->e, R14, field);
	emit_lea(&x->e, R14, R14, NO_INDEX, 0, x->b->nops, true);
	emit_store(&x->e, field, R14);
}

/* The op at hand taken apart, from its bytes. */
static const u8 *parse_op(const struct xlate *x, struct insn *in)
{
	const struct block *b = x->b;
	const struct op *o = &b->op[x->nop];
	const u8 *bytes = b->page->copy + (b->gpa & ~PAGE_MASK) + o->off;

	insn_parse(bytes, o->len, b->rip + o->off + o->len, in);
	if (o->fn == op_raise)
		in->kind = INSN_OTHER;
	return bytes;
}

enum how { BY_HANDLER, INLINE, INLINE_END };

static enum how emit_op(struct xlate *x)
{
	const struct op *o = &x->b->op[x->nop];
	struct insn in;
	const u8 *bytes = parse_op(x, &in);

	if (tr_integer(x, &in, bytes, o->len) || tr_stack(x, &in) || tr_vector(x, o, bytes))
		return INLINE;
	return tr_branch(x, &in) ? INLINE_END : BY_HANDLER;
}

static void begin(struct cpu *c, struct block *b)
{
	struct translator *t = c->translator;
	struct xlate *x = &t->x;

	x->c = c;
	x->b = b;
	x->nstubs = x->nsites = x->nshadows = 0;
	x->check = false;
	x->vectors = 0;
	x->edge[0] = x->edge[1] = 0;
	x->e = (struct emitter){.start = t->area.write + t->used,
				.p = t->area.write + t->used,
				.end = t->area.write + t->used + ROOM - sizeof(x->site) - 64};
}

static void emit_stubs(struct xlate *x)
{
	for (u32 i = 0; i < x->nstubs && !x->e.full; i++) {
		emit_land(&x->e, x->stub[i].jump);
		call_helper(x, x->stub[i].what);
		if (x->stub[i].resume >= 0)
			emit_jump_to(&x->e, x->op_at[x->stub[i].resume]);
	}
}

/* The ops, in order; what has no code is run up to what has, from the first of them on. */
static void emit_ops(struct xlate *x)
{
	struct block *b = x->b;
	bool by_handler = false;
	enum how how = INLINE;

	for (x->nop = 0; x->nop < b->nops; x->nop++) {
		x->op_at[x->nop] = x->e.p;
		how = emit_op(x);
		if (how != BY_HANDLER)
			b->inlined |= 1ULL << x->nop;
		else if (!by_handler)
			call_helper(x, tr_what(x, TR_RUN, x->nop));
		by_handler = how == BY_HANDLER;
	}
	x->op_at[b->nops] = x->e.p;
	if (how == INLINE_END)
		return;
	b->falls_through = b->op[b->nops].fn == op_end;
	x->nop = b->nops - 1u;
	if (b->falls_through)
		tr_fall_through(x);
	else if (!by_handler)
		call_helper(x, tr_what(x, TR_RUN, b->nops));
}

/*
 * Ops from the first on, up to one that has no code, or that loads behind a store: what is stored
 * goes to c->tried, where it would not be found.
 */
static void emit_ops_to_check(struct xlate *x)
{
	const struct block *b = x->b;

	for (x->nop = 0; x->nop < b->nops; x->nop++) {
		struct insn in;
		enum how how;

		x->shadows_before[x->nop] = (u8)x->nshadows;
		parse_op(x, &in);
		if (x->nshadows && insn_loads(&in))
			break;
		how = emit_op(x);
		if (how == INLINE_END)
			return;
		if (how == BY_HANDLER)
			break;
	}
	if (x->nop == b->nops)
		x->shadows_before[x->nop] = (u8)x->nshadows;
	if (x->nop == b->nops && b->op[b->nops].fn == op_end)
		tr_stop(x, TR_CHECK_FALLS);
	else
		tr_stop(x, x->nop);
}

u8 *tr_translate_to_check(struct cpu *c, struct block *b)
{
	struct translator *t = c->translator;
	struct xlate *x = &t->x;

	if (t->used + ROOM > AREA_SLICE)
		return NULL;
	begin(c, b);
	x->check = true;
	emit_ops_to_check(x);
	emit_stubs(x);
	tr_serialize();
	return x->e.full ? NULL : t->area.run + t->used;
}

/* The list of accesses goes behind the code. */
static void keep(struct xlate *x, u32 start)
{
	struct translator *t = x->c->translator;
	u32 n = x->nsites;
	struct tr_site *list = (struct tr_site *)ALIGN_UP((u64)x->e.p, 8);
	struct tr_code *code = &t->codes[t->ncodes++];

	for (u32 i = 0; i < n; i++) {
		x->site[i].at += start;
		x->site[i].resume = (u32)(x->op_at[x->site[i].op + 1] - t->area.write);
		list[i] = x->site[i];
	}
	*code = (struct tr_code){.at = start, .nsites = n, .b = x->b, .site = list};
	x->b->host = start + TR_COUNT_LEN;
	for (unsigned i = 0; i < 2; i++)
		x->b->edge[i] = x->edge[i] ? start + x->edge[i] : 0;
	t->used = (u32)ALIGN_UP((u64)((u8 *)(list + n) - t->area.write), CODE_ALIGN);
}

static bool wanted(const struct block *b)
{
	return (b->key & BLOCK_KEY_MODE) == MODE_LONG && !(b->key & BLOCK_KEY_STEP) &&
	       (b->key & BLOCK_KEY_TLB) != BLOCK_KEY_TLB_NEVER && !b->page2;
}

/* Is most of it in line? Going in and out costs more than handlers do. */
static bool pays(const struct block *b)
{
	return translator_eager || 2 * (u32)__builtin_popcountll(b->inlined) >= b->nops;
}

bool tr_translate(struct cpu *c, struct block *b)
{
	struct translator *t = c->translator;
	struct xlate *x = &t->x;

	if (t->used + ROOM > AREA_SLICE || t->ncodes == t->max_codes) {
		t->full = true;
		return false;
	}
	begin(c, b);
	b->inlined = 0;
	b->falls_through = false;
	count(x);
	assert(emit_offset(&x->e) == TR_COUNT_LEN);
	emit_ops(x);
	emit_stubs(x);
	if (x->e.full || !pays(b))
		return false;
	keep(x, t->used);
	tr_serialize();
	return true;
}

/* -- where code leads to */

void tr_learn_edge(struct cpu *c, struct block *from, unsigned which, struct block *to)
{
	struct translator *t = c->translator;
	u32 at = t->check_every ? 0 : from->edge[which]; /* else blocks are left one by one */
	s32 disp = (s32)(to->host - TR_COUNT_LEN - (at + 4));

	if (!at)
		return;
	memcpy(t->area.write + at, &disp, 4);
	tr_serialize();
}

static void jump_clear(struct code_jump *j, u32 slot)
{
	/* Zero would match address 0, whose slot is 0. */
	j->neg = slot ? 0 : ~0ULL;
}

void tr_forget(struct cpu *c)
{
	struct translator *t = c->translator;

	if (t->journal_full) {
		memset(c->jump, 0, sizeof(c->jump));
		for (u32 m = 0; m < TLB_MODES; m++)
			jump_clear(&c->jump[m][0], 0);
	}
	for (u32 i = 0; !t->journal_full && i < t->njournal; i++) {
		u32 m = t->journal[i] / CODE_JUMPS, slot = t->journal[i] % CODE_JUMPS;

		jump_clear(&c->jump[m][slot], slot);
	}
	t->njournal = 0;
	t->journal_full = false;
}

void tr_use_table(struct cpu *c, const struct block *b)
{
	struct translator *t = c->translator;
	u32 *key = &t->table_key[(b->key & BLOCK_KEY_TLB) >> BLOCK_KEY_TLB_SHIFT];

	if (likely(*key == b->key))
		return;
	tr_forget(c);
	*key = b->key;
}

void tr_learn_jump(struct cpu *c, struct block *to)
{
	struct translator *t = c->translator;
	u32 mode = (to->key & BLOCK_KEY_TLB) >> BLOCK_KEY_TLB_SHIFT;
	u32 slot = tr_jump_slot(to->rip);
	struct code_jump *j = &c->jump[mode][slot];

	if (t->check_every)
		return;
	j->neg = -to->rip;
	j->host = (u64)(t->area.run + to->host - TR_COUNT_LEN);
	if (t->njournal == TR_JOURNAL)
		t->journal_full = true;
	else if (!t->journal_full)
		t->journal[t->njournal++] = (u16)(mode * CODE_JUMPS + slot);
}

/* -- the engine, as cpu/code/ sees it */

static const struct op *enter_block(struct cpu *c, const struct op *o)
{
	if (tr_check_due(c))
		return tr_check(c, c->block);
	c->op = NULL;
	tr_use_table(c, c->block);
	return tr_enter(c, c->translator->area.run + c->block->host);
}

/* A block's entry until it is translated. */
static const struct op *count_block(struct cpu *c, const struct op *o)
{
	struct block *b = c->block;

	if (likely(++b->heat < TR_HOT) && !translator_eager)
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
	c->translator->ncodes = 0;
	c->translator->full = false;
	tr_forget(c);
}

static const struct code_engine engine = {.made = made, .full = full, .cleared = cleared, .forget = tr_forget};

/* PEXT is microcode on AMD's processors before family 19h. */
static bool host_has_fast_pext(void)
{
	u32 a, b, c, d, max, family;

	__cpuid(0, max, b, c, d);
	if (max < 7)
		return false;
	__cpuid(1, a, b, c, d);
	family = (a >> 8 & 15) == 15 ? 15 + (a >> 20 & 255) : a >> 8 & 15;
	__cpuid(0, a, b, c, d);
	if (b == signature_AMD_ebx && family < 0x19)
		return false;
	__cpuid_count(7, 0, a, b, c, d);
	return b & bit_BMI2;
}

int translator_create(struct cpu *c, u32 check_every)
{
	struct translator *t;
	int r;

	if (!host_has_fast_pext())
		return -ENOTSUP;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->max_codes = MAX_CODES;
	t->check_every = check_every;
	t->codes = pagemem_alloc(t->max_codes * sizeof(*t->codes));
	r = t->codes ? area_get(&t->area, (void *)tr_fixup) : -ENOMEM;
	if (r) {
		pagemem_free(t->codes, t->max_codes * sizeof(*t->codes));
		free(t);
		return r;
	}
	c->gen.helper = (void *)tr_helper_entry;
	for (u32 i = 0; i < ARRAY_SIZE(c->align_mask); i++)
		c->align_mask[i] = BIT(i) - 1;
	c->vec.low_out = c->vec.high_out = 1;
	c->gen.mask_index = (u64)(TLB_ENTRIES - 1) << PAGE_SHIFT;
	c->gen.mask_page = PAGE_MASK;
	c->gen.mask_jump = CODE_JUMPS - 1;
	c->translator = t;
	t->journal_full = true;
	tr_forget(c);
	c->code->engine = &engine;
	return 0;
}

void translator_destroy(struct cpu *c)
{
	struct translator *t = c->translator;

	if (!t)
		return;
	area_put(&t->area);
	pagemem_free(t->codes, t->max_codes * sizeof(*t->codes));
	free(t);
	c->translator = NULL;
}

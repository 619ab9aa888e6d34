/* SPDX-License-Identifier: MIT */
/*
 * translator/vcpu.c: a vCPU's translator: how it is made and ends, and what cpu/code/ calls of it.
 */
#include "cpu/translator/internal.h"
#include "cpu/translator/perfmap.h"

#include <stdlib.h>
#include "base/own.h"
#include "base/pagemem.h"
#include "base/pext.h"
#include "sync/atomic.h"

/* Of the area so many sixteenths are for what is not cold: about the proportion of boots and compilers. */
#define HOT_SIXTEENTHS 5
#define BYTES_A_BLOCK 128 /* and more: what is kept of a block beside its code is room for so many */

static u32 ntranslators; /* in the process; atomic */

bool tr_is_alone(void)
{
	return sync_load(&ntranslators) == 1;
}

static bool wanted(const struct block *b)
{
	u32 mode = b->key & BLOCK_KEY_MODE, flat = BLOCK_KEY_FLAT | BLOCK_KEY_SS32;

	if (mode != MODE_LONG && ((mode != MODE_PROT32 && mode != MODE_COMPAT32) || (b->key & flat) != flat))
		return false;
	return !(b->key & BLOCK_KEY_STEP) &&
	       (b->key & BLOCK_KEY_TLB) != BLOCK_KEY_TLB_NEVER;
}

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

/* Where the first block's may be. */
static u32 first_code(const struct translator *t)
{
	return (u32)ALIGN_UP(t->shared_end, TR_CODE_ALIGN);
}

static void cleared(struct cpu *c)
{
	c->translator->used = first_code(c->translator);
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

/* For one more vCPU. */
static u32 cache_size(void)
{
	u64 n = sync_load(&ntranslators) + 1;
	u32 size = TRANSLATOR_CACHE;

	while (size > TRANSLATOR_CACHE_MANY && size * n > TRANSLATOR_CACHE_ALL)
		size /= 2;
	return size;
}

/* As much of `size` as there is address space for; a quarter where a limit says that there is little. */
static int make_area(struct translator *t, u32 size)
{
	int r;

	if (own_space_limited())
		size = MAX(size / 4, TRANSLATOR_CACHE_LEAST);
	do {
		r = area_create(&t->area, size, (void *)tr_fixup, TR_SP_ZERO);
		size /= 2;
	} while (r == -ENOMEM && size >= TRANSLATOR_CACHE_LEAST);
	if (r)
		return r;
	tr_returns_create(t);
	t->used = first_code(t);
	t->cold = t->cold_used = t->area.size / 16 * HOT_SIXTEENTHS;
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
	c->gen.mask_returns = (CODE_RETURNS - 1) << 3;
	c->gen.mask_jump = (CODE_JUMPS - 1) << 1;
	c->gen.mask_af = 1ULL << 56 | (FL_STATUS & 0xff);
	c->gen.mask_status = FL_STATUS;
}

static void choose_checks(struct translator *t, enum translator_checks checks)
{
	t->loops = checks == CHECKS_FOR_HOST ? host_has_fast_loop() : checks == CHECKS_BY_LOOP;
	t->tests = checks != CHECKS_BY_BORROW && host_clears_af();
	t->shifts_settle = host_shifts_settle_flags();
	t->products_settle = host_products_settle_flags();
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
	r = make_area(t, o->cache ? o->cache : cache_size());
	if (r) {
		free(t);
		return r;
	}
	prepare(c);
	c->translator = t;
	tr_ways_prepare(c);
	sync_add(&ntranslators, 1);
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
	sync_sub(&ntranslators, 1);
}

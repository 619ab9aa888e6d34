/* SPDX-License-Identifier: MIT */
/*
 * The code cache of one vCPU: which blocks there are, and whether they still are what memory
 * holds. A page's 64-byte lines are tracked (mmu_code_track) before they are read, so a guest
 * store to them moves mmu.epoch; what the VMM or a changed mapping does to them is found by
 * comparing. Memory is one arena: dropped blocks stay in it, unreachable, until it is full and
 * everything is forgotten at once, which only happens between blocks.
 */
#include <stdlib.h>

#include "base/pagemem.h"
#include "cpu/access.h"
#include "cpu/code/flow.h"
#include "cpu/fault.h"

#define KEY_DEAD 0xffffffffu
/* Room that making one block may need: itself and two pages. */
#define ARENA_STEP                                                                                 \
	(sizeof(struct block) + (BLOCK_MAX_OPS + 1) * sizeof(struct op) +                          \
	 2 * sizeof(struct code_page) + 256)

static void bump_gen(struct cpu *c)
{
	struct code_cache *cc = c->code;

	cc->gen += 1ULL << FLOW_KEY_BITS;
	if (cc->engine)
		cc->engine->forget(c);
}

int code_cache_create(struct cpu *c)
{
	struct code_cache *cc = aligned_alloc(64, ALIGN_UP(sizeof(*cc), 64));

	if (!cc)
		return -ENOMEM;
	memset(cc, 0, sizeof(*cc));
	cc->arena = pagemem_alloc(FLOW_ARENA);
	if (!cc->arena) {
		free(cc);
		return -ENOMEM;
	}
	cc->trust = cc->map = 1;
	cc->gen = 1ULL << FLOW_KEY_BITS;
	c->code = cc;
	return 0;
}

void code_cache_destroy(struct cpu *c)
{
	struct code_cache *cc = c->code;

	if (!cc)
		return;
	pagemem_free(cc->arena, FLOW_ARENA);
	free(cc);
	c->code = NULL;
}

void code_cache_distrust(struct cpu *c)
{
	c->code->trust++;
	bump_gen(c);
}

void code_cache_remap(struct cpu *c)
{
	c->code->map++;
	bump_gen(c);
}

void code_cache_clear(struct cpu *c)
{
	struct code_cache *cc = c->code;

	memset(cc->hash, 0, sizeof(cc->hash));
	memset(cc->pages, 0, sizeof(cc->pages));
	memset(cc->exec, 0, sizeof(cc->exec));
	cc->used = 0;
	if (cc->engine)
		cc->engine->cleared(c);
	bump_gen(c);
}

/* Take note of requests answered since. True when there were any. */
static bool catch_up(struct cpu *c)
{
	struct code_cache *cc = c->code;

	if (cc->epoch == c->mmu.epoch)
		return false;
	cc->epoch = c->mmu.epoch;
	cc->map++;
	cc->trust++;
	bump_gen(c);
	return true;
}

static void *arena_alloc(struct code_cache *cc, size_t size)
{
	void *p = cc->arena + cc->used;

	cc->used += ALIGN_UP(size, 64);
	return p;
}

static struct code_page *page_get(struct code_cache *cc, gpa_t gpa)
{
	struct code_page **head = &cc->pages[(gpa >> PAGE_SHIFT) & (FLOW_PAGE_HASH - 1)];
	struct code_page *p;

	for (p = *head; p; p = p->hash_next) {
		if (p->gpa == gpa)
			return p;
	}
	p = arena_alloc(cc, sizeof(*p));
	memset(p, 0, offsetof(struct code_page, copy));
	p->gpa = gpa;
	p->hash_next = *head;
	*head = p;
	return p;
}

static void page_drop_blocks(struct cpu *c, struct code_page *p)
{
	struct block *b;

	for (b = p->blocks; b; b = b->next)
		b->key = KEY_DEAD;
	for (b = p->straddlers; b; b = b->next2)
		b->key = KEY_DEAD;
	p->blocks = p->straddlers = NULL;
	p->lines = 0;
	bump_gen(c);
}

/* Mark lines as code and say where the page's bytes are now. False: another page is there. */
static bool page_track(struct cpu *c, u64 la, const struct code_page *p, u64 lines, u8 **host)
{
	gpa_t gpa;
	int r = mmu_code_track(&c->mmu, p->gpa, lines);

	if (r == -EINTR)
		cpu_restart(c);
	if (r == -ENOMEM)
		cpu_leave(c, CPU_EXIT_NOMEM);
	/* Any other error: what backed the page is gone, and the fetch will say how. */
	access_fetch(c, la, &gpa, host);
	return !r && (gpa & PAGE_MASK) == p->gpa;
}

static bool lines_equal(const struct code_page *p, const u8 *now)
{
	for (u64 left = p->lines; left; left &= left - 1) {
		unsigned at = (unsigned)__builtin_ctzll(left) * 64;

		if (memcmp(p->copy + at, now + at, 64))
			return false;
	}
	return true;
}

static void page_verify(struct cpu *c, u64 la, struct code_page *p)
{
	u8 now[PAGE_SIZE];
	u8 *host;

	if (p->lines) {
		if (!page_track(c, la, p, p->lines, &host))
			return; /* still unverified: flow_find() goes round again */
		if (guard_copy_from(now, (void *)((u64)host & PAGE_MASK), PAGE_SIZE))
			access_died(c, la, false);
		if (!lines_equal(p, now))
			page_drop_blocks(c, p);
	}
	p->verified = c->code->trust;
}

struct code_page *flow_exec_page(struct cpu *c, u64 la)
{
	struct code_cache *cc = c->code;
	struct flow_exec *e = &cc->exec[(la >> PAGE_SHIFT) & (FLOW_EXEC - 1)];
	/* Whose page it is decides whether it may be executed (U/S, SMEP). */
	u64 tag = (la & PAGE_MASK) | 1 | (c->cpl == 3 ? 2 : 0);

	if (e->la != tag || e->map != cc->map) {
		gpa_t gpa;
		u8 *host;

		access_fetch(c, la, &gpa, &host);
		e->page = page_get(cc, gpa & PAGE_MASK);
		e->map = cc->map;
		e->la = tag;
	}
	if (e->page->verified != cc->trust)
		page_verify(c, la, e->page);
	return e->page;
}

bool flow_page_bytes(struct cpu *c, u64 la, struct code_page *page, u32 off, u32 len)
{
	/* A line more than asked for: most blocks need it next. */
	u32 first = off / 64, last = MIN((off + len - 1) / 64 + 1, 63);
	u64 need = (~0ULL >> (63 - last)) & (~0ULL << first) & ~page->lines;
	u32 must = (off + len - 1) / 64;
	u8 *host;

	if (!(need & (~0ULL >> (63 - must))))
		return true;
	if (!page_track(c, la, page, need, &host))
		return false;
	host = (u8 *)((u64)host & PAGE_MASK);
	for (u64 left = need; left; left &= left - 1) {
		unsigned at = (unsigned)__builtin_ctzll(left) * 64;

		if (guard_copy_from(page->copy + at, host + at, 64))
			access_died(c, la, false);
	}
	page->lines |= need;
	return c->code->epoch == c->mmu.epoch;
}

void code_cache_bytes(const struct cpu *c, const struct op *o, u8 *bytes)
{
	const struct block *b = c->block;
	u32 at = (u32)(b->gpa & ~PAGE_MASK) + o->off;
	u32 first = MIN((u32)o->len, (u32)PAGE_SIZE - at);

	memcpy(bytes, b->page->copy + at, first);
	if (first < o->len)
		memcpy(bytes + first, b->page2->copy, o->len - first);
}

static struct block **hash_head(struct code_cache *cc, gpa_t gpa, u64 rip, u32 key)
{
	u64 h = (gpa ^ rip << 20 ^ (u64)key << 40) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */

	return &cc->hash[h >> 48 & (FLOW_HASH - 1)];
}

static struct block *hash_find(struct cpu *c, struct block **head, u64 la, gpa_t gpa, u64 rip,
			       u32 key)
{
	for (struct block **at = head, *b; (b = *at);) {
		if (b->key == KEY_DEAD) {
			*at = b->hash_next;
			continue;
		}
		if (b->gpa == gpa && b->rip == rip && b->key == key &&
		    (!b->page2 || flow_exec_page(c, ALIGN_DOWN(la, PAGE_SIZE) + PAGE_SIZE) == b->page2) &&
		    b->key == key)
			return b;
		at = &b->hash_next;
	}
	return NULL;
}

static struct block *make(struct cpu *c, struct block **head, u64 la, u64 rip, u32 key,
			  struct code_page *page)
{
	struct code_cache *cc = c->code;
	struct block *b = (struct block *)(cc->arena + cc->used);

	/* A straddler's second page is allocated while the block is being made: above it. */
	cc->used += ALIGN_UP(sizeof(*b) + (BLOCK_MAX_OPS + 1) * sizeof(struct op), 64);
	if (!decode_block(c, b, la, rip, key, page))
		return NULL;
	if (!b->page2) /* give back what it did not need */
		cc->used = ALIGN_UP((u64)((u8 *)&b->op[b->nops + 1] - cc->arena), 64);
	b->next = page->blocks;
	page->blocks = b;
	if (b->page2) {
		b->next2 = b->page2->straddlers;
		b->page2->straddlers = b;
	}
	b->hash_next = *head;
	*head = b;
	b->entry = b->op;
	if (cc->engine)
		cc->engine->made(c, b);
	return b;
}

bool flow_within_limit(const struct cpu *c, u64 rip, u32 len, u32 key)
{
	return (key & BLOCK_KEY_MODE) == MODE_LONG || (key & BLOCK_KEY_FLAT) ||
	       rip + len <= (u64)c->seg[SEG_CS].limit + 1; /* len is 0 where nothing decodes */
}

static struct block *find_page(struct cpu *c, u64 la, u64 rip, u32 key)
{
	struct code_cache *cc = c->code;

	for (;;) {
		struct code_page *page;
		struct block **head, *b;
		gpa_t gpa;

		catch_up(c);
		if (cc->used + ARENA_STEP > FLOW_ARENA || (cc->engine && cc->engine->full(c)))
			code_cache_clear(c);
		page = flow_exec_page(c, la);
		if (page->verified != cc->trust) {
			cc->map++; /* it is not there any more */
			continue;
		}
		gpa = page->gpa | (la & ~PAGE_MASK);
		head = hash_head(cc, gpa, rip, key);
		b = hash_find(c, head, la, gpa, rip, key);
		if (!b)
			b = make(c, head, la, rip, key, page);
		if (b && !catch_up(c))
			return b;
	}
}

struct block *flow_find(struct cpu *c, u64 rip, u32 key)
{
	struct code_cache *cc = c->code;
	u64 la = rip;
	struct flow_jump *j;

	c->rip = rip;
	c->op = NULL;
	if ((key & BLOCK_KEY_MODE) != MODE_LONG) {
		la = (u32)(rip + c->seg[SEG_CS].base);
		if (!flow_within_limit(c, rip, 1, key))
			cpu_raise_error(c, VEC_GP, 0);
	}
	catch_up(c);
	j = flow_jump_slot(cc, la);
	if (j->la != la || j->tag != flow_tag(cc, key) || j->b->rip != rip) {
		struct block *b = find_page(c, la, rip, key);

		j->b = b;
		j->la = la;
		j->tag = flow_tag(cc, key);
	}
	if (unlikely(!flow_within_limit(c, rip, j->b->bytes, key))) {
		if (key & BLOCK_KEY_STEP)
			cpu_raise_error(c, VEC_GP, 0);
		return flow_find(c, rip, key | BLOCK_KEY_STEP);
	}
	return j->b;
}

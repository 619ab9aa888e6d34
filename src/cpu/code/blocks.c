/* SPDX-License-Identifier: MIT */
/*
 * The code cache of one vCPU: which blocks there are, and whether they still are what memory
 * holds. A page's 64-byte lines are tracked (mmu_code_track) before they are read, so a guest
 * store to them moves mmu.code_epoch; what the VMM or a changed mapping does to them is found by
 * comparing. Memory is one arena: dropped blocks stay in it, unreachable, until it is full and
 * everything is forgotten at once, which only happens between blocks.
 */
#include "base/own.h"
#include "base/pagemem.h"
#include "cpu/access.h"
#include "cpu/code/decode.h"
#include "cpu/code/flow.h"
#include "cpu/code/trust.h"
#include "cpu/fault.h"

/* A page whose code changed so often has data beside it: lines are tracked when they are needed. */
#define DROPS_OF_DATA 3
/* Room that making one block may need: itself and two pages. */
#define ARENA_STEP                                                                                 \
	(sizeof(struct block) + (BLOCK_MAX_OPS + 1) * sizeof(struct op) +                          \
	 2 * sizeof(struct code_page) + 256)

/* Nobody knows any more where a jump to another page leads. */
static void forget_jumps(struct cpu *c)
{
	struct code_cache *cc = c->code;

	code_bump_gen(c);
	memset(cc->pages_met, 0, sizeof(cc->pages_met));
	if (cc->engine)
		cc->engine->forget(c);
}

int code_cache_create(struct cpu *c)
{
	struct code_cache *cc = pagemem_alloc(sizeof(*cc));

	if (!cc)
		return -ENOMEM;
	cc->size = own_space_limited() ? FLOW_ARENA_LESS : FLOW_ARENA;
	cc->arena = pagemem_alloc(cc->size);
	if (!cc->arena) {
		pagemem_free(cc, sizeof(*cc));
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
	pagemem_free(cc->arena, cc->size);
	pagemem_free(cc, sizeof(*cc));
	c->code = NULL;
}

void code_cache_remap(struct cpu *c)
{
	c->code->map++;
	forget_jumps(c);
}

void code_cache_switch(struct cpu *c)
{
	if (c->code->engine)
		c->code->engine->switch_space(c);
}

static u64 *met_word(struct code_cache *cc, u64 la)
{
	return &cc->pages_met[(la >> PAGE_SHIFT & (FLOW_PAGES_MET - 1)) / 64];
}

static struct flow_exec *exec_slot(const struct cpu *c, u64 la)
{
	return &c->code->exec[(la >> PAGE_SHIFT ^ flow_mix_space(c, la)) & (FLOW_EXEC - 1)];
}

void flow_meet(struct cpu *c, u64 la, const struct block *b)
{
	u64 last = la + b->bytes - 1;

	*met_word(c->code, la) |= 1ULL << (la >> PAGE_SHIFT & 63);
	*met_word(c->code, last) |= 1ULL << (last >> PAGE_SHIFT & 63);
}

/* Does a jump lead to one of the pages? A page, or whole words of them. */
static bool has_met(struct code_cache *cc, u64 la, u64 size)
{
	u64 pages = size == PAGE_SIZE ? 1ULL << (la >> PAGE_SHIFT & 63) : ~0ULL, met = 0;

	for (u64 at = la; at - la < size; at += 64 * PAGE_SIZE)
		met |= *met_word(cc, at) & pages;
	return met;
}

/* Most pages that are invalidated never held code. */
void code_cache_unmap(struct cpu *c, u64 la, u64 size)
{
	for (u64 at = la; at - la < size; at += PAGE_SIZE) {
		struct flow_exec *e = exec_slot(c, at);

		if (!((e->la ^ at) & PAGE_MASK))
			e->la = 0;
	}
	if (!has_met(c->code, la, size))
		return;
	code_bump_gen(c);
	if (c->code->engine)
		c->code->engine->forget_address(c, la, size);
}

void code_cache_clear(struct cpu *c)
{
	struct code_cache *cc = c->code;

	pagemem_zero(cc->hash, sizeof(cc->hash));
	pagemem_zero(cc->twin, sizeof(cc->twin));
	memset(cc->pages, 0, sizeof(cc->pages));
	memset(cc->exec, 0, sizeof(cc->exec));
	cc->ntrusted = cc->nuser = 0;
	cc->used = 0;
	cc->crowded = false;
	cc->clears++;
	c->stat.code.evicted++;
	if (cc->engine)
		cc->engine->cleared(c);
	code_bump_gen(c);
	memset(cc->pages_met, 0, sizeof(cc->pages_met));
}

/* Take note of requests answered since. True when there were any. */
static bool catch_up(struct cpu *c)
{
	struct code_cache *cc = c->code;

	if (cc->epoch == c->mmu.code_epoch)
		return false;
	cc->epoch = c->mmu.code_epoch;
	cc->map++;
	code_note_look(c);
	code_lose_trust(cc);
	forget_jumps(c);
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
	u32 n = 0;

	for (p = *head; p; p = p->hash_next, n++) {
		if (p->gpa == gpa)
			return p;
	}
	cc->crowded |= n > FLOW_LONGEST;
	p = arena_alloc(cc, sizeof(*p));
	memset(p, 0, offsetof(struct code_page, copy));
	p->gpa = gpa;
	p->hash_next = *head;
	*head = p;
	return p;
}

/* However many there are: a page can have a block for each linear address that it is executed at. */
static void page_drop_blocks(struct cpu *c, struct code_page *p)
{
	p->lines = 0;
	p->drops++;
	c->stat.code.invalidated++;
	code_bump_gen(c);
	if (c->code->engine)
		c->code->engine->forget_page(c, p);
}

/* Mark lines as code and find out where the page's bytes are now. False: another page is there. */
static bool page_track(struct cpu *c, u64 la, struct code_page *p, u64 lines)
{
	u64 epoch = c->mmu.code_epoch, answers = c->mmu.epoch;
	u8 *host;
	gpa_t gpa;
	int r = mmu_code_track(&c->mmu, p->gpa, p->lines | lines);

	if (r == -EINTR)
		cpu_restart(c);
	if (r == -ENOMEM)
		cpu_leave(c, CPU_EXIT_NOMEM);
	/*
	 * A mark that was new has waited for every other vCPU, and a block may need several: what is
	 * asked of this one meanwhile, a signal say, is heard first. The mark stays. And where stage 2
	 * has been zapped, what the TLB may hold until the flush is answered finds a page for the fetch
	 * that the mark does not.
	 */
	if ((r || c->mmu.epoch != answers) && sync_load(&c->mmu.requests))
		cpu_restart(c);
	/* Any other error: what backed the page is gone, and the fetch will say how. */
	access_fetch(c, la, &gpa, &host);
	if (r || (gpa & PAGE_MASK) != p->gpa) {
		/* The guest may have changed its tables without a word: what was kept of them is the older. */
		exec_slot(c, la)->la = 0;
		return false;
	}
	p->host = (u8 *)((u64)host & PAGE_MASK);
	p->host_epoch = epoch; /* what has changed meanwhile makes it stale at once */
	return true;
}

static void page_verify(struct cpu *c, u64 la, struct code_page *p)
{
	if (p->lines) {
		if (!code_host_known(c, p) && !page_track(c, la, p, 0))
			return; /* still unverified: flow_find() goes round again */
		switch (code_compare(p)) {
		case EQUAL:
			break;
		case DIFFERENT:
			page_drop_blocks(c, p);
			break;
		case UNKNOWN:
			access_died(c, la, false);
		}
	}
	code_trust(c, p);
}

/* What is kept of an address is kept for one space, or for all: of the upper half's global pages. */
static u64 space_for(const struct cpu *c, u64 la, bool global)
{
	return global && (s64)la < 0 ? TLB_EVERY_SPACE : c->mmu.space;
}

/*
 * The page that la is executed from now. One that comes there anew may have been loaded by a device
 * since it was last executed, with nothing but memory to tell the guest: it is compared.
 */
static void exec_fill(struct cpu *c, u64 la, struct flow_exec *e, u64 tag)
{
	struct code_cache *cc = c->code;
	struct code_page *p;
	bool global;
	gpa_t gpa;
	u8 *host;

	global = access_fetch(c, la, &gpa, &host);
	p = page_get(cc, gpa & PAGE_MASK);
	if ((e->la != tag || e->page != p) && p->lines && code_host_known(c, p) && code_compare(p) != EQUAL)
		p->verified = 0;
	e->page = p;
	e->space = space_for(c, la, global);
	e->map = cc->map;
	e->la = tag;
}

struct code_page *flow_exec_page(struct cpu *c, u64 la)
{
	struct code_cache *cc = c->code;
	struct flow_exec *e = exec_slot(c, la);
	/* Whose page it is decides whether it may be executed (U/S, SMEP). */
	u64 tag = (la & PAGE_MASK) | 1 | (c->cpl == 3 ? 2 : 0);

	if (e->la != tag || e->map != cc->map || !flow_in_space(c, e->space))
		exec_fill(c, la, e, tag);
	if (e->page->verified != cc->trust)
		page_verify(c, la, e->page);
	if (c->cpl == 3)
		code_enter_user(c, e->page);
	return e->page;
}

bool flow_page_bytes(struct cpu *c, u64 la, struct code_page *page, u32 off, u32 len)
{
	u32 first = off / 64, must = (off + len - 1) / 64;
	/* A line more than asked for: most blocks need it next. */
	u32 last = page->drops < DROPS_OF_DATA ? MIN(must + 1, 63) : must;
	u64 need = (~0ULL >> (63 - last)) & (~0ULL << first) & ~page->lines;

	if (!(need & (~0ULL >> (63 - must))))
		return true;
	/* A mark takes long. One of code that nothing has changed is the page's. */
	if (!page_track(c, la, page, page->drops ? need : ~0ULL))
		return false;
	for (u64 left = need; left; left &= left - 1) {
		unsigned at = (unsigned)__builtin_ctzll(left) * 64;

		if (guard_copy_from(page->copy + at, page->host + at, 64))
			access_died(c, la, false);
	}
	page->lines |= need;
	return c->code->epoch == c->mmu.code_epoch;
}

void code_block_bytes(const struct block *b, const struct op *o, u8 *bytes)
{
	u32 at = (u32)(b->gpa & ~PAGE_MASK) + o->off;
	u32 first = MIN((u32)o->len, (u32)PAGE_SIZE - at);

	memcpy(bytes, b->page->copy + at, first);
	if (first < o->len)
		memcpy(bytes + first, b->page2->copy, o->len - first);
}

void code_cache_bytes(const struct cpu *c, const struct op *o, u8 *bytes)
{
	code_block_bytes(c->block, o, bytes);
}

static struct block **hash_head(struct code_cache *cc, gpa_t gpa, u64 rip, u32 key)
{
	u64 h = (gpa ^ rip << 20 ^ (u64)key << 40) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */

	return &cc->hash[h >> (64 - FLOW_HASH_BITS)];
}

static bool is_dead(const struct block *b)
{
	return b->drops != b->page->drops || (b->page2 && b->drops2 != b->page2->drops);
}

static struct block *hash_find(struct cpu *c, struct block **head, u64 la, gpa_t gpa, u64 rip,
			       u32 key)
{
	struct block **at = head, *b;

	for (u32 n = 0; (b = *at) && n < FLOW_LONGEST; n++) {
		bool found = b->gpa == gpa && b->rip == rip && b->key == key;

		if (found && is_dead(b)) {
			*at = b->hash_next;
			continue;
		}
		if (found && (!b->page2 || flow_exec_page(c, ALIGN_DOWN(la, PAGE_SIZE) + PAGE_SIZE) == b->page2) &&
		    !is_dead(b))
			return b;
		at = &b->hash_next;
	}
	*at = NULL;
	return NULL;
}

static struct block **twin_slot(struct code_cache *cc, gpa_t gpa, u32 key)
{
	u64 h = (gpa ^ (u64)key << 40) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */

	return &cc->twin[h >> (64 - FLOW_TWIN_BITS)];
}

/* A block of the same bytes at another rip that can be copied. `page` is trusted. */
static const struct block *twin_of(struct code_cache *cc, const struct code_page *page, gpa_t gpa, u32 key)
{
	const struct block *b = *twin_slot(cc, gpa, key);

	if (!b || b->gpa != gpa || b->key != key || b->page != page || b->page2 || is_dead(b) ||
	    (key & BLOCK_KEY_MODE) != MODE_LONG)
		return NULL;
	return b;
}

static struct block *make(struct cpu *c, struct block **head, u64 la, u64 rip, u32 key,
			  struct code_page *page)
{
	struct code_cache *cc = c->code;
	struct block *b = (struct block *)(cc->arena + cc->used);
	gpa_t gpa = page->gpa | (la & ~PAGE_MASK);
	const struct block *twin = twin_of(cc, page, gpa, key);

	/* A straddler's second page is allocated while the block is being made: above it. */
	cc->used += ALIGN_UP(sizeof(*b) + (BLOCK_MAX_OPS + 1) * sizeof(struct op), 64);
	if (twin)
		decode_block_like(c, b, twin, rip);
	else if (!decode_block(c, b, la, rip, key, page))
		return NULL;
	*twin_slot(cc, gpa, key) = b;
	if (!b->page2) /* give back what it did not need */
		cc->used = ALIGN_UP((u64)((u8 *)&b->op[b->nops + 1] - cc->arena), 64);
	b->drops = page->drops;
	b->drops2 = b->page2 ? b->page2->drops : 0;
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

	for (bool again = false;; again = true) {
		struct code_page *page;
		struct block **head, *b;
		gpa_t gpa;

		/* However often what is decoded changes under it: who asks for the vCPU meanwhile is heard. */
		if (again && sync_load(&c->mmu.requests))
			cpu_restart(c);
		catch_up(c);
		if (cc->used + ARENA_STEP > cc->size || cc->crowded || (cc->engine && cc->engine->full(c)))
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

/* Does the block, just found at `la`, lie on global pages? */
static bool is_global(const struct cpu *c, u64 la, const struct block *b)
{
	const struct flow_exec *e = exec_slot(c, la);

	/* Of two pages the second is not asked. */
	return !b->page2 && e->page == b->page && (e->la & PAGE_MASK) == (la & PAGE_MASK) &&
	       e->space == TLB_EVERY_SPACE;
}

bool flow_is_global(const struct cpu *c, u64 la)
{
	const struct flow_jump *j = flow_jump_slot(c, la);

	return j->la == la && j->tag == (c->code->gen | c->key) && j->space == TLB_EVERY_SPACE;
}

struct block *flow_find(struct cpu *c, u64 rip, u32 key)
{
	struct code_cache *cc = c->code;
	u64 la = rip;
	struct flow_jump *j;

	c->rip = rip;
	c->op = NULL;
	if (unlikely(c->block && c->block->serializes))
		code_serialized(c, c->block->serializes);
	if ((key & BLOCK_KEY_MODE) != MODE_LONG) {
		la = (u32)(rip + c->seg[SEG_CS].base);
		if (!flow_within_limit(c, rip, 1, key))
			cpu_raise_error(c, VEC_GP, 0);
	}
	catch_up(c);
	/* Single steps have slots of their own: that behind each STI is one. */
	j = flow_jump_slot(c, key & BLOCK_KEY_STEP ? la ^ FLOW_JUMPS / 2 : la);
	if (j->la != la || j->tag != flow_tag(cc, key) || j->b->rip != rip || !flow_in_space(c, j->space)) {
		struct block *b = find_page(c, la, rip, key);

		j->b = b;
		j->la = la;
		j->tag = flow_tag(cc, key);
		j->space = space_for(c, la, is_global(c, la, b));
		flow_meet(c, la, b);
	}
	if (unlikely(!flow_within_limit(c, rip, j->b->bytes, key))) {
		if (key & BLOCK_KEY_STEP)
			cpu_raise_error(c, VEC_GP, 0);
		return flow_find(c, rip, key | BLOCK_KEY_STEP);
	}
	return j->b;
}

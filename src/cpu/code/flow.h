/* SPDX-License-Identifier: MIT */
/*
 * code/flow.h: the code cache's own structures, and the way from block to block that
 * branch handlers inline.
 *
 * Three ways lead to a block, fastest first: a link of the block before (same page, same key,
 * so it is good as long as that page is), the jump cache (by linear address, good for one
 * generation), and the hash of all blocks (by guest-physical address, rip and key), which asks
 * the execute-TLB for the page and, when the bytes are not trusted any more, compares them.
 */
#ifndef CPU_CODE_FLOW_H
#define CPU_CODE_FLOW_H

#include "cpu/code/cache.h"

#define FLOW_JUMPS     16384u /* jump cache entries */
#define FLOW_EXEC      256u  /* execute-TLB entries */
#define FLOW_HASH      65536u
#define FLOW_PAGE_HASH 4096u
#define FLOW_ARENA     (64u << 20) /* bytes of blocks and page copies per vCPU */
#define BLOCK_MAX_OPS  64u

/* A page of guest memory that blocks were made from. */
struct code_page {
	gpa_t gpa;
	u64 lines;    /* 64-byte lines that are tracked and copied */
	u64 verified; /* code_cache.trust when the copy was last seen to be the memory */
	struct block *blocks;	 /* that begin here */
	struct block *straddlers; /* that end here */
	struct code_page *hash_next;
	u8 copy[PAGE_SIZE];
};

struct flow_jump {
	u64 la;
	u64 tag; /* generation and key */
	struct block *b;
	u64 unused;
};

struct flow_exec {
	u64 la;	 /* linear page | 1 | 2 for CPL 3; 0: empty */
	u64 map; /* code_cache.map when it was filled */
	struct code_page *page;
};

/* An engine that wants more than the handlers. All on the vCPU's thread. */
struct code_engine {
	void (*made)(struct cpu *c, struct block *b); /* may set its entry */
	bool (*full)(const struct cpu *c);	      /* drop every block soon */
	void (*cleared)(struct cpu *c);		      /* they were dropped */
	void (*forget)(struct cpu *c); /* a new generation: only same-page links are good */
};

struct code_cache {
	const struct code_engine *engine; /* or NULL */
	u64 epoch; /* mmu.epoch as last taken note of */
	u64 gen;   /* jump cache generation, shifted left by FLOW_KEY_BITS */
	u64 map;   /* counts changes of what linear addresses mean */
	u64 trust; /* counts reasons to compare code bytes */
	struct op scratch[2];	 /* lock.c: the unlocked form of an op, and a stop */
	u8 *arena;
	size_t used;
	struct flow_jump jump[FLOW_JUMPS];
	struct flow_exec exec[FLOW_EXEC];
	struct block *hash[FLOW_HASH];
	struct code_page *pages[FLOW_PAGE_HASH];
};

#define FLOW_KEY_BITS 16
#define FLOW_TAG_STEP 0x8000u /* above every BLOCK_KEY_* */

/* blocks.c: the block at rip (c->rip is set to it); may raise. In guest mode, between blocks. */
struct block *flow_find(struct cpu *c, u64 rip, u32 key);
/* decode.c: decode the block at `la` into room at `b`; false: the mapping moved, find again. */
bool decode_block(struct cpu *c, struct block *b, u64 la, u64 rip, u32 key,
		  struct code_page *page);
/* blocks.c, for decode.c: make [off, off + len) of the page's copy valid and tracked; false as
 * above. flow_exec_page() gives the verified page that la is fetched from. */
bool flow_page_bytes(struct cpu *c, u64 la, struct code_page *page, u32 off, u32 len);
struct code_page *flow_exec_page(struct cpu *c, u64 la);
/* Legacy modes: does CS's limit allow `len` bytes of code at rip? */
bool flow_within_limit(const struct cpu *c, u64 rip, u32 len, u32 key);

const struct op *flow_link_slow(struct cpu *c, unsigned which, u64 target);
const struct op *flow_jump_slow(struct cpu *c, u64 target);

static inline struct flow_jump *flow_jump_slot(struct code_cache *cc, u64 la)
{
	return &cc->jump[(la ^ la >> 12) & (FLOW_JUMPS - 1)];
}

/* What flow_jump() looks for; never a block of a single step. */
static inline u64 flow_tag(const struct code_cache *cc, u32 key)
{
	return cc->gen | key | (key & BLOCK_KEY_STEP ? FLOW_TAG_STEP : 0);
}

/* Is there a reason to go back to the run loop, or to distrust what is linked? */
static inline bool flow_pending(const struct cpu *c)
{
	return c->mmu.requests | (c->mmu.epoch - c->code->epoch);
}

static inline const struct op *flow_enter(struct cpu *c, struct block *b)
{
	c->block = b;
	c->stat.instructions += b->nops;
	return b->entry;
}

/* Leave the block for a target on a fixed rip; `which`: 0 fall through, 1 taken. */
static inline const struct op *flow_link(struct cpu *c, unsigned which, u64 target)
{
	struct block *b = c->block->link[which];

	if (likely(b) && likely(!flow_pending(c)))
		return flow_enter(c, b);
	return flow_link_slow(c, which, target);
}

/* The block at `target` if the jump cache has it; 64-bit mode only. */
static inline struct block *flow_cached(const struct cpu *c, u64 target)
{
	const struct flow_jump *j = flow_jump_slot(c->code, target);

	if (likely(j->la == target) && likely(j->tag == (c->code->gen | c->key)) &&
	    likely(j->b->rip == target) && likely((c->key & BLOCK_KEY_MODE) == MODE_LONG))
		return j->b;
	return NULL;
}

/* Leave the block for a target known only now. */
static inline const struct op *flow_jump(struct cpu *c, u64 target)
{
	struct block *b = flow_cached(c, target);

	if (likely(b) && likely(c->block->key == c->key) && likely(!flow_pending(c)))
		return flow_enter(c, b);
	return flow_jump_slow(c, target);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * code/flow.h: the code cache's own structures, and the way from block to block that
 * branch handlers inline.
 *
 * Three ways lead to a block, fastest first: a link of the block before (same page, same key,
 * so it is good as long as that page is), the jump cache (by linear address, good for one
 * generation and address space), and the hash of all blocks (by guest-physical address, rip and key), which asks
 * the execute-TLB for the page and, when the bytes are not trusted any more, compares them.
 */
#ifndef CPU_CODE_FLOW_H
#define CPU_CODE_FLOW_H

#include "cpu/code/cache.h"
#include "sync/atomic.h"

#define FLOW_JUMPS     65536u /* jump cache entries */
#define FLOW_EXEC      4096u /* execute-TLB entries */
#define FLOW_PAGES_MET 65536u
#define FLOW_HASH_BITS 18
#define FLOW_HASH      (1u << FLOW_HASH_BITS)
#define FLOW_PAGE_HASH 4096u
#define FLOW_TWIN_BITS 16
#define FLOW_TWINS     (1u << FLOW_TWIN_BITS)
/* Entries that are looked at in a bucket: a guest chooses addresses. What is behind them is forgotten. */
#define FLOW_LONGEST 512u
#define FLOW_ARENA     (192u << 20) /* bytes of blocks and page copies per vCPU */
#define FLOW_ARENA_LESS (48u << 20) /* the same where address space is limited */
#define FLOW_TRUSTED   8192u /* trusted pages that are listed */
#define BLOCK_MAX_OPS  64u
/*
 * Instructions that serialize, and that kernels execute all the time (IRET, WRMSR, MOV to CR3, INVLPG,
 * INVPCID), are a reason to compare when the guest has executed PAUSE or MWAIT since it was last done:
 * it waits for something to change in memory. They also are when the last reason is so many cycles old,
 * five to ten milliseconds; but then only so many pages are compared, and the others the next times.
 */
#define FLOW_LOOK_CYCLES (1ULL << 24)
#define FLOW_LOOK_PAGES  128u

#define NR_WAYS 5

/* A page of guest memory that blocks were made from. */
struct code_page {
	gpa_t gpa;
	u64 lines;    /* 64-byte lines that are tracked and copied */
	u64 drops;    /* times its blocks were dropped, since bytes changed */
	bool user;    /* was ever entered at CPL 3 */
	u64 verified; /* code_cache.trust when the copy was last seen to be the memory */
	/* Where the bytes are; with the marks of `lines`, good while mmu.code_epoch stays. */
	const u8 *host;
	u64 host_epoch;
	struct code_page *hash_next;
	/* The engine's: what jumps to the page it keeps, by kinds of its own. */
	struct {
		u32 first, era;
	} ways[NR_WAYS];
	u8 copy[PAGE_SIZE];
};

struct flow_jump {
	u64 la;
	u64 tag; /* generation and key */
	struct block *b;
	u64 space; /* mmu.space, or TLB_EVERY_SPACE */
};

struct flow_exec {
	u64 la;	 /* linear page | 1 | 2 for CPL 3; 0: empty */
	u64 map; /* code_cache.map when it was filled */
	struct code_page *page;
	u64 space; /* as flow_jump's */
};

/* An engine that wants more than the handlers. All on the vCPU's thread. */
struct code_engine {
	void (*made)(struct cpu *c, struct block *b); /* may set its entry */
	bool (*full)(const struct cpu *c);	      /* drop every block soon */
	void (*cleared)(struct cpu *c);		      /* they were dropped */
	/* The address space is another one: mmu.space. */
	void (*switch_space)(struct cpu *c);
	/* Where jumps lead from page to page is to be found anew: everywhere; to a page, whose blocks are
	 * gone; to what is at `size` bytes of linear addresses, aligned. */
	void (*forget)(struct cpu *c);
	void (*forget_page)(struct cpu *c, struct code_page *p);
	void (*forget_address)(struct cpu *c, u64 la, u64 size);
	/* A page whose bytes were trusted is to be entered through flow_find() only; until they are again. */
	void (*suspend)(struct cpu *c, struct code_page *p);
	void (*resume)(struct cpu *c, struct code_page *p);
};

struct code_cache {
	const struct code_engine *engine; /* or NULL */
	u64 epoch; /* mmu.code_epoch as last taken note of */
	u64 gen;   /* jump cache generation, shifted left by FLOW_KEY_BITS */
	u64 map;   /* counts changes of what linear addresses mean */
	u64 trust; /* counts reasons to compare code bytes */
	u64 clears; /* counts times when all blocks were dropped and their memory used anew */
	u64 affordable; /* pages that may be compared at once, by the time that has passed */
	bool crowded; /* a list of pages is too long: all is to be forgotten */
	u32 ntrusted; /* pages verified since; more than FLOW_TRUSTED: not listed */
	struct code_page *trusted[FLOW_TRUSTED];
	u32 nuser; /* the same of those that were entered at CPL 3 */
	struct code_page *user[FLOW_TRUSTED];
	u32 next_look; /* where in `trusted` the next look begins */
	u64 looked; /* host TSC at the last reason to compare */
	u64 looked_at_user; /* the same of a program's */
	struct op scratch[2];	 /* lock.c: the unlocked form of an op, and a stop */
	u8 *arena;
	size_t size; /* of it, bytes */
	size_t used;
	struct flow_jump jump[FLOW_JUMPS];
	struct flow_exec exec[FLOW_EXEC];
	/* Bit for a linear page that a jump leads to, in this generation: hashed. */
	u64 pages_met[FLOW_PAGES_MET / 64];
	struct block *hash[FLOW_HASH];
	/* One that was made of these bytes last, whatever its rip: by gpa and key, hashed. */
	struct block *twin[FLOW_TWINS];
	struct code_page *pages[FLOW_PAGE_HASH];
};

#define FLOW_KEY_BITS 16
#define FLOW_TAG_STEP 0x8000u /* above every BLOCK_KEY_* */

/* blocks.c: the block at rip (c->rip is set to it); may raise. In guest mode, between blocks. */
struct block *flow_find(struct cpu *c, u64 rip, u32 key);
/* decode.c: decode the block at `la` into room at `b`; false: the mapping moved, find again. */
bool decode_block(struct cpu *c, struct block *b, u64 la, u64 rip, u32 key,
		  struct code_page *page);
/*
 * The same of 64-bit code that was decoded already, at another rip, in a block that is as good as ever and lies on one
 * page: a program or a library that is loaded at another address each time.
 */
void decode_block_like(struct cpu *c, struct block *b, const struct block *like, u64 rip);
/* blocks.c, for decode.c: make [off, off + len) of the page's copy valid and tracked; false as
 * above. flow_exec_page() gives the verified page that la is fetched from. */
bool flow_page_bytes(struct cpu *c, u64 la, struct code_page *page, u32 off, u32 len);
struct code_page *flow_exec_page(struct cpu *c, u64 la);
/* Legacy modes: does CS's limit allow `len` bytes of code at rip? */
bool flow_within_limit(const struct cpu *c, u64 rip, u32 len, u32 key);

/* blocks.c: a jump to `b`, at `la`, is kept: until the generation ends, or this is invalidated. */
void flow_meet(struct cpu *c, u64 la, const struct block *b);
/* blocks.c: was the jump to `la`, 64-bit code, last found on a global page? */
bool flow_is_global(const struct cpu *c, u64 la);

const struct op *flow_link_slow(struct cpu *c, unsigned which, u64 target);
const struct op *flow_jump_slow(struct cpu *c, u64 target);

/*
 * Programs are linked alike and lie at like addresses: each address space has slots of its own for what
 * is in the lower half.
 */
static inline u64 flow_mix_space(const struct cpu *c, u64 la)
{
	return (s64)la < 0 ? 0 : c->mmu.space * 0x9d; /* odd, and spread over the slots */
}

static inline struct flow_jump *flow_jump_slot(const struct cpu *c, u64 la)
{
	return &c->code->jump[(la ^ la >> 12 ^ flow_mix_space(c, la)) & (FLOW_JUMPS - 1)];
}

/* Is what was filled for this space good in the current one? */
static inline bool flow_in_space(const struct cpu *c, u64 space)
{
	return space == c->mmu.space || space == TLB_EVERY_SPACE;
}

/* What flow_jump() looks for; never a block of a single step. */
static inline u64 flow_tag(const struct code_cache *cc, u32 key)
{
	return cc->gen | key | (key & BLOCK_KEY_STEP ? FLOW_TAG_STEP : 0);
}

/* Is there a reason to go back to the run loop, or to distrust what is linked? */
static inline bool flow_pending(const struct cpu *c)
{
	return sync_load(&c->mmu.requests) | (c->mmu.code_epoch - c->code->epoch);
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
	const struct flow_jump *j = flow_jump_slot(c, target);

	if (likely(j->la == target) && likely(j->tag == (c->code->gen | c->key)) &&
	    likely(j->b->rip == target) && likely(flow_in_space(c, j->space)) && likely((c->key & BLOCK_KEY_MODE) == MODE_LONG))
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

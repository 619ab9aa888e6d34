/* SPDX-License-Identifier: MIT */
/*
 * translator/internal.h: what a vCPU's translator keeps.
 */
#ifndef CPU_TRANSLATOR_INTERNAL_H
#define CPU_TRANSLATOR_INTERNAL_H

#include "cpu/translator/area.h"
#include "cpu/translator/translate.h"
#include "cpu/translator/translator.h"

#define TR_WAYS	     65536
#define TR_CODE_ALIGN 16
/*
 * Between a CALL and a POP of generated code's own, and a PUSH and a RET (returns.c), the stack pointer is not where
 * tr_fixup() has it for. No access to guest memory is there, so no fault comes, and a kick is to leave it alone.
 */
#define TR_SP_ZERO 8ULL
#define TR_COUNT_LEN 20 /* bytes of code that count a block's instructions */

/*
 * What of the area belongs to a block: where its code begins, and where what it seldom runs does, its
 * ways to the helper and careful copies. The one is kept apart from the other, so that what a guest
 * runs all the time lies dense in the host's caches.
 */
struct tr_code {
	u32 at, cold_at; /* offsets in the area; both grow from block to block */
	u32 len, cold_len; /* bytes */
	u32 nsites;
	struct block *b;
	struct tr_site *site; /* kept in the area, behind what is cold; and behind them the recipes that they name */
};

static inline const struct recipe *tr_recipes(const struct tr_code *code)
{
	return (const struct recipe *)(code->site + code->nsites);
}

/*
 * A jump that is kept (ways.c): an edge to another page that is patched, or a slot of the jump table. It is
 * in use while the bytes of the page that it leads to are trusted.
 */
struct tr_way {
	u64 la;	  /* where it leads: linear address; TR_WAY_DEAD: nowhere any more */
	struct code_page *page; /* the first one of the block there */
	/* An edge: where its displacement stands; TR_WAY_CELL and its number in c->cell; TR_WAY_SLOT and a slot's
	 * in c->jump. */
	u32 at;
	u32 code; /* the block's code, by its offset in the area */
	u32 stub; /* an edge's, for when it is out of use */
	u32 next; /* of those that lead to the same page; the first has number 1 */
};
#define TR_WAY_SLOT BIT(31)
#define TR_WAY_CELL TR_EDGE_CELL
#define TR_WAY_DEAD (1ULL << 62) /* not canonical */

struct translator {
	struct area area;
	u32 cold;	     /* where in the area what is cold begins */
	u32 used, cold_used; /* offsets behind what there is of either */
	bool full;
	struct xlate x; /* the block being translated */
	struct op scratch[2];	/* the op that is run alone, and a stop */
	const struct op *next;	/* where the interpreter goes on when generated code is left */
	struct tr_ways {
		u32 n;
		u32 era; /* counts times when all were forgotten */
		u32 straddlers; /* first of those to blocks on two pages */
		u32 blocks;	/* of its program that became code while it was in use */
		u64 space;	/* mmu.space that it is of; 0: none */
		u64 turn;	/* when that was last the current one, counted */
		struct tr_way *way; /* TR_WAYS */
	} ways[NR_WAYS]; /* to global pages; to others, in some address spaces */
	u32 space_list;	 /* the one of those that is in use */
	u64 turns;
	u64 returns_forgotten; /* code_cache.gen when they were, which ends with the pages' trust */
	u32 by_table[TLB_MODES][2]; /* returns.c: for 64-bit code, and 32-bit code */
	u32 shared_end; /* behind that; where blocks' code begins is not 0, which stands for no code in struct block */
	bool patched; /* code was written since generated code was last entered */
	bool loops, borrows; /* struct emitter; the latter of large programs */
	bool borrows_always;
	bool tests;	     /* struct xlate */
	bool shifts_settle, products_settle; /* flags, what they were before: base/pext.h */
	u32 heat; /* struct translator_options */
	u32 count_len; /* bytes before a block's code that count its instructions, or 0: nobody counts */
	u32 check_every, check_in; /* check.c: one entry in so many; in so many more */
	bool checking;
	u32 stopped_at;		   /* by TR_CHECK */
	u32 ncodes, max_codes;
	u32 ncells; /* of c->cell, given away */
	struct tr_code *codes; /* by address */
};

/* system.c: RDX:RAX become the guest's TSC: the one way in which generated code reads the host's. */
void tr_emit_tsc(struct emitter *e);

/* Translate c->block. False: it is not to be, or there is no room. */
bool tr_translate(struct cpu *c, struct block *b);
/* Only for a comparison: code that leaves by TR_CHECK. NULL: no room. */
u8 *tr_translate_to_check(struct cpu *c, struct block *b);
/* vcpu.c. Has the process no other vCPU that is translated? */
bool tr_is_alone(void);
/* check.c. In the place of running a block's code: what to run next, as an op does. */
bool tr_check_due(struct cpu *c);
const struct op *tr_check(struct cpu *c, struct block *b);
/* ways.c: forget where jumps lead: all, those to a page, to `size` bytes of linear addresses. */
void tr_forget(struct cpu *c);
void tr_forget_page(struct cpu *c, struct code_page *p);
void tr_forget_address(struct cpu *c, u64 la, u64 size);
/* mmu.space has changed: another address space. */
void tr_switch_space(struct cpu *c);
/* The page's bytes are not trusted any more, or again. */
void tr_suspend(struct cpu *c, struct code_page *p);
void tr_resume(struct cpu *c, struct code_page *p);
/* returns.c: code that all RETs share, at the area's start. And no return site is known any more. */
void tr_returns_create(struct translator *t);
void tr_returns_forget(struct cpu *c);
int tr_ways_create(struct translator *t);
void tr_ways_prepare(struct cpu *c); /* the tables of a new vCPU */
void tr_ways_cleared(struct cpu *c); /* there is no code any more */
/* Before code of `b` runs: its mode's jump table leads to blocks of its key only. */
void tr_use_table(struct cpu *c, const struct block *b);
/* `to`, which has code, is entered by the table; or from an edge, as its stub says (enum tr_edge). */
void tr_learn_jump(struct cpu *c, const struct block *to);
u64 tr_edge_place(const struct cpu *c);
void tr_learn_edge(struct cpu *c, u64 edge, const struct block *to);

/* enter.c: from the interpreter's loop, with c->block set. */
const struct op *tr_enter(struct cpu *c, u8 *host);
void tr_fixup(void);
void tr_helper_entry(void);
void tr_helper_saved_entry(void); /* the flags are in cpu->af already */
void tr_refill_entry(void);
void tr_serialize(void);
/* Before generated code is entered. */
static inline void tr_see_patches(struct translator *t)
{
	if (!t->patched)
		return;
	t->patched = false;
	tr_serialize();
}

#endif

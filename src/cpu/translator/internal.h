/* SPDX-License-Identifier: MIT */
/*
 * translator/internal.h: what a vCPU's translator keeps.
 */
#ifndef CPU_TRANSLATOR_INTERNAL_H
#define CPU_TRANSLATOR_INTERNAL_H

#include "cpu/translator/area.h"
#include "cpu/translator/translate.h"
#include "cpu/translator/translator.h"

#define TR_JOURNAL   4096
#define TR_HOT	     24 /* executions after which a block is translated */
#define TR_COUNT_LEN 20 /* bytes of code before a block's that count its instructions */

/* What of the area belongs to a block. */
struct tr_code {
	u32 at; /* offset in the area */
	u32 nsites;
	struct block *b;
	struct tr_site *site; /* sorted; kept in the area, behind the code */
};

struct translator {
	struct area area;
	u32 used; /* bytes of the area */
	bool full;
	struct xlate x; /* the block being translated */
	struct op scratch[2];	/* the op that is run alone, and a stop */
	const struct op *next;	/* where the interpreter goes on when generated code is left */
	u32 table_key[TLB_MODES]; /* key of the blocks that the jump table of a mode leads to */
	/* Slots of the jump tables that are filled. */
	u32 njournal;
	bool journal_full;
	u16 journal[TR_JOURNAL];
	u32 check_every, check_in; /* check.c: one entry in so many; in so many more */
	bool checking;
	u32 stopped_at;		   /* by TR_CHECK */
	u32 ncodes, max_codes;
	struct tr_code *codes; /* by address */
};

/* Translate c->block. False: it is not to be, or there is no room. */
bool tr_translate(struct cpu *c, struct block *b);
/* Only for a comparison: code that leaves by TR_CHECK. NULL: no room. */
u8 *tr_translate_to_check(struct cpu *c, struct block *b);
/* check.c. In the place of running a block's code: what to run next, as an op does. */
bool tr_check_due(struct cpu *c);
const struct op *tr_check(struct cpu *c, struct block *b);
/* Forget where the jump tables lead. */
void tr_forget(struct cpu *c);
/* Before code of `b` runs: its mode's jump table leads to blocks of its key only. */
void tr_use_table(struct cpu *c, const struct block *b);
/* `to`, which has code, is entered from an edge of a block that may be patched, or by the table. */
void tr_learn_jump(struct cpu *c, struct block *to);
void tr_learn_edge(struct cpu *c, struct block *from, unsigned which, struct block *to);

/* enter.c: from the interpreter's loop, with c->block set. */
const struct op *tr_enter(struct cpu *c, u8 *host);
void tr_fixup(void);
void tr_helper_entry(void);
void tr_serialize(void);

#endif

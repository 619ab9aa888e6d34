/* SPDX-License-Identifier: MIT */
/*
 * translator/flags.h: where in a block nobody wants the status flags but for a fault.
 *
 * At an instruction's start they are dead if the next one that has to do with them sets all of them, and asks
 * for none. A look at the TLB may then use them, which makes it shorter (memory.c); but a fault, and C, want to
 * know what they were. So the first look of such a run of instructions is preceded by code that puts them where C
 * has them, in cpu->af: there they are true until the run's end, whatever the host's flags are. Nothing is put anywhere
 * where what set them, in the same trace, can be done again (recipe.h).
 *
 * A call, a return and a jump through a register have looks and comparisons of their own, so they save the
 * flags in any case, and leave the block so. A block therefore has a second entry, for who comes with the flags in
 * cpu->af: behind the code that saves them where it begins with a run, else before code that loads them.
 */
#ifndef CPU_TRANSLATOR_FLAGS_H
#define CPU_TRANSLATOR_FLAGS_H

#include "cpu/code/flow.h"
#include "cpu/translator/recipe.h"

struct xlate;

/* Where the flags are: FLAGS_BY_RECIPE and more, the plan's recipe of that number. But in the host's, those are free. */
enum flags_at { FLAGS_IN_HOST, FLAGS_IN_AF, FLAGS_BY_RECIPE };

#define FLAGS_RECIPES 16

struct flags_plan {
	u64 saved;  /* ops, a bit each: from their start on the host's flags are free */
	u64 save;   /* before these ops they are put into cpu->af */
	u64 unread; /* ops at the block's start that nobody leaves, before all are set: it matters to no one where
		       the flags are */
	u32 nrecipes;
	struct recipe recipe[FLAGS_RECIPES];
	u8 at[BLOCK_MAX_OPS]; /* enum flags_at, of those that are saved */
	u8 behind[BLOCK_MAX_OPS]; /* FLAGS_BY_RECIPE and more: of branches behind which the flags can be had again; or 0 */
};

/* Of a block whose ops are taken apart, and whose accesses share looks as they will. */
void flags_plan(struct xlate *x);
/* At the start of an op. */
u8 flags_at(const struct xlate *x, u32 op);
void emit_flags_save(struct xlate *x);
void emit_flags_load(struct xlate *x);
/* From where they are (enum flags_at) to where C may have them from: the host's flags, or cpu->af. True: it is the latter. */
bool emit_flags_for_c(struct xlate *x, u8 at);

#endif

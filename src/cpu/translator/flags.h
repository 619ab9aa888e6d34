/* SPDX-License-Identifier: MIT */
/*
 * translator/flags.h: where in a block nobody wants the status flags but for a fault.
 *
 * At an instruction's start they are dead if the next one that has to do with them sets all of them, and asks
 * for none. A look at the TLB may then use them, which makes it shorter (memory.c); but a fault, and C, want to
 * know what they were. So the first look of such a run of instructions is preceded by code that puts them where C
 * has them, in cpu->af: there they are true until the run's end, whatever the host's flags are.
 *
 * A call, a return and a jump through a register have looks and comparisons of their own, so they save the
 * flags in any case, and leave the block so. A block therefore has a second entry, for who comes with the flags in
 * cpu->af: behind the code that saves them where it begins with a run, else before code that loads them.
 */
#ifndef CPU_TRANSLATOR_FLAGS_H
#define CPU_TRANSLATOR_FLAGS_H

#include "base/types.h"

struct xlate;

struct flags_plan {
	u64 saved;  /* ops, a bit each: from their start on cpu->af has the flags, and the host's are free */
	u64 save;   /* before these ops they are put there */
	u64 unread; /* ops at the block's start that nobody leaves, before all are set: it matters to no one where
		       the flags are */
};

/* Of a block whose ops are taken apart, and whose accesses share looks as they will. */
void flags_plan(struct xlate *x);
void emit_flags_save(struct xlate *x);
void emit_flags_load(struct xlate *x);

#endif

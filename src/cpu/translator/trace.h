/* SPDX-License-Identifier: MIT */
/*
 * translator/trace.h: the blocks that become one piece of code.
 *
 * A block that is translated takes those along that its branches lead to most of the time, as the executions
 * that were counted until then have it. Accesses share looks across them, flags stay saved, and a branch that is
 * followed costs nothing, or is a conditional jump that is not taken. Each block remains its own to the
 * interpreter: what leaves for C does so from its block, and a block of a trace may be translated once more, as
 * the first of another, when it is entered in other ways often enough.
 *
 * All parts lie in one page and have one key, so that they are dropped together. None lies before the first, which
 * may be a part again: a short loop is there several times. So an edge forwards, where nobody looks at requests,
 * leads behind where its trace began, and no cycle is made of such edges alone.
 */
#ifndef CPU_TRANSLATOR_TRACE_H
#define CPU_TRANSLATOR_TRACE_H

#include "cpu/code/flow.h"

#define TRACE_PARTS 8
#define TRACE_OPS   32 /* a part more is not begun where there would be more; the first may be longer */

struct trace {
	u32 nparts, nops;
	struct trace_part {
		struct block *b;
		u32 first;    /* of its ops */
		bool taken;   /* goes on where its branch is taken, and not behind it */
		u64 inlined;  /* bit for each of its own ops: has code */
	} part[TRACE_PARTS];
	u8 of[BLOCK_MAX_OPS + 1]; /* each op's part; the one behind the last is the last part's */
};

struct xlate;

/* Of x->b alone; its ops are taken apart. */
void trace_begin(struct xlate *x);
/* And what follows it, if the block was executed `heat` times before this. */
void trace_grow(struct xlate *x, u32 heat);

#endif

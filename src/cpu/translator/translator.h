/* SPDX-License-Identifier: MIT */
/*
 * translator/translator.h: the second engine: blocks of guest code (cpu/code/) that are executed
 * often become host code, which runs until something needs C.
 *
 * The interpreter's loop drives it: a block's entry op counts, then runs the block's code. Blocks it
 * does not take (16-bit and segmented code, single steps) stay with their handlers, and so does,
 * one op at a time, whatever the translator does not know. docs/cpu.md has the whole picture.
 *
 * files:	layout.h	which register holds what
 *		emit.[ch]	host instructions
 *		insn.[ch]	which of the guest's are carried out in line
 *		trace.[ch]	which blocks become one piece of code
 *		translate.[ch]	that piece
 *		share.[ch], flags.[ch]	which looks are needed, and where flags are dead
 *		integer.c, bmi.c, stack.c, system.c, branch.c, memory.c	its parts
 *		vector.[ch]	vector instructions, and where vector state is
 *		check.c		comparing both engines as a guest runs
 *		enter.c		in and out of generated code; faults
 *		area.[ch]	memory for code
 *		perfmap.[ch]	its names, for perf
 *
 * Everything here is for the vCPU's own thread, in guest mode.
 */
#ifndef CPU_TRANSLATOR_TRANSLATOR_H
#define CPU_TRANSLATOR_TRANSLATOR_H

#include "cpu/state.h"

/*
 * Bytes of code that a vCPU may have: what it is given, and what it may be told to have. A compiler that is run again
 * and again fills half of it, and begins anew when it is full. Of more vCPUs than would fill TRANSLATOR_CACHE_ALL the
 * later ones are given less.
 */
#define TRANSLATOR_CACHE       (256u << 20)
#define TRANSLATOR_CACHE_ALL   (1u << 30)
#define TRANSLATOR_CACHE_MANY  (8u << 20) /* but no less than this */
#define TRANSLATOR_CACHE_LEAST (256u << 10)
#define TRANSLATOR_CACHE_MOST  (1u << 30)

/* Executions after which a block is translated. */
#define TRANSLATOR_HEAT 12

/*
 * How generated code checks addresses and requests (emit.h, flags.h): as is best on this host; as on one where LOOP is
 * quick; by a borrow wherever that can be, and never by flags; or as where nothing is but flags.
 */
enum translator_checks { CHECKS_FOR_HOST, CHECKS_BY_LOOP, CHECKS_BY_BORROW, CHECKS_BY_FLAGS };

struct translator_options {
	u32 cache;	 /* bytes, 0: as many as there are for it; where address space is short it becomes less */
	u32 check_every; /* not 0: one in so many entries of blocks is compared with the interpreter */
	u32 heat;	 /* 1: every block at its first entry, whether or not it pays */
	u8 checks;	 /* enum translator_checks */
	bool count;	 /* the guest's instructions, as the interpreter does: a twentieth of the time */
};

/* 0, or why this vCPU is to be interpreted: -ENOTSUP: the host lacks BMI2 or its PEXT is slow; else
 * what memory for code was refused with. */
int translator_create(struct cpu *c, const struct translator_options *o);
void translator_destroy(struct cpu *c);

/* Slot of the jump table for a linear address. */
static inline u32 tr_jump_slot(u64 la)
{
	return (u32)((la + (la >> 12)) >> 1 & (CODE_JUMPS - 1));
}

#endif

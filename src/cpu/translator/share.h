/* SPDX-License-Identifier: MIT */
/*
 * translator/share.h: which accesses of a block can do with one look at the TLB.
 *
 * Accesses off one value of a base register, at most SHARE_REACH bytes apart, form a class. The first
 * of them looks up the whole stretch that the class touches, and leaves its host address in a slot of
 * the vCPU's; the others go through the slot. Nothing between them can change what the TLB said: a
 * request is answered between blocks, and an op that is C ends the class (share_plan() knows which are,
 * and the emitter what to do where it was wrong).
 *
 * Where that one look fails, for whatever reason, nothing has happened yet, and the block goes on in a
 * second, careful copy of the ops that share, each of which looks up for itself. So does a block whose
 * op had to be C after all. Faults are exact there, as without this.
 */
#ifndef CPU_TRANSLATOR_SHARE_H
#define CPU_TRANSLATOR_SHARE_H

#include "cpu/code/flow.h"

#define SHARE_SLOTS   8
#define SHARE_CLASSES 32
#define SHARE_REACH   1024

/* What accesses of a class have in common; their distance from it is their offset. */
struct share_key {
	u8 seg, scale;
	u16 base, index; /* what values they had: share.c */
	u64 page;	 /* of a constant address */
};

struct share_class {
	struct share_key key;
	s64 first, last;  /* offsets: the stretch's, `last` not in it any more */
	u8 leader, end;	  /* its first op and its last */
	u16 members;
	u8 exits;	  /* ways out of the trace before the first */
	s8 slot;	  /* -1: not worth it, or none was free */
	bool write;
	bool near;	  /* a member is on the stack */
	bool open;	  /* while planning: more may come */
	bool ready;	  /* while emitting: the slot holds the stretch's address from here on */
};

enum share_which { SHARE_OPERAND, SHARE_STACK, SHARE_PLACES };

struct share {
	u32 nclasses;
	u64 careful; /* ops that have a careful copy */
	u64 inside;  /* ops before which a slot may hold something that they or later ops use */
	struct share_class class[SHARE_CLASSES];
	struct share_place {
		s8 class;
		s64 offset;
	} place[BLOCK_MAX_OPS][SHARE_PLACES];
};

struct xlate;

/* Of a block whose ops are taken apart already (x->insn). */
void share_plan(struct xlate *x);

/* The class of the op at hand's access, or NULL where it looks up for itself. */
static inline struct share_class *share_class_of(struct share *s, u32 op, enum share_which which)
{
	s8 n = s->place[op][which].class;

	return n < 0 ? NULL : &s->class[n];
}

#endif

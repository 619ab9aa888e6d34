/* SPDX-License-Identifier: MIT */
/*
 * translator/recipe.h: flags that need no place, because what set them can be done again.
 *
 * A comparison sets the flags by two registers, an addition by its result and what was added. While those registers
 * keep their values the flags can be had again, so generated code may use the host's flags behind it and put the
 * guest's nowhere. Who leaves the block meanwhile follows the recipe: a stub by an instruction or three, and
 * a host fault at an access in C.
 */
#ifndef CPU_TRANSLATOR_RECIPE_H
#define CPU_TRANSLATOR_RECIPE_H

#include "cpu/state.h"

struct insn;
struct xlate;

enum recipe_kind {
	RECIPE_NONE,
	RECIPE_ZERO, /* a register XORed with itself, subtracted from itself, compared with itself */
	RECIPE_TEST, /* of `a` AND `b`, neither of which need be a result */
	RECIPE_CMP,  /* of `a` less `b` */
	RECIPE_SUB,  /* `a` is what is left, `b` was taken off */
	RECIPE_ADD,  /* `a` is the sum, `b` was added */
};

struct recipe {
	u8 kind; /* enum recipe_kind */
	u8 size; /* of the operands, in bytes */
	u8 a;	 /* a general register of the guest's */
	s8 b;	 /* another, or -1: the immediate */
	s32 imm;
};

/* Of the flags behind an instruction that sets all of them; RECIPE_NONE where there is none. */
struct recipe recipe_of(const struct insn *in);
/* The registers that it needs, a bit each. */
u16 recipe_reads(const struct recipe *r);
/* The host's flags become what they were. Uses R14 and R15. */
void emit_recipe(struct xlate *x, const struct recipe *r);
/* The same as c->af has them, from c->reg. */
u16 recipe_flags(const struct cpu *c, const struct recipe *r);

#endif

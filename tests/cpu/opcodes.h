/* SPDX-License-Identifier: MIT */
/*
 * cpu/opcodes.h: the whole opcode space, form by form: every opcode of every map with every
 * mandatory prefix, W, L and broadcast bit, each ModRM register field and both kinds of
 * ModRM.rm.
 */
#ifndef TESTS_CPU_OPCODES_H
#define TESTS_CPU_OPCODES_H

#include "base/types.h"

enum opcode_kind { OPCODE_LEGACY, OPCODE_VEX, OPCODE_EVEX, OPCODE_XOP, OPCODE_3DNOW };

struct opcode_form {
	u8 kind; /* enum opcode_kind */
	u8 map;	 /* 0: one-byte opcodes, 1: 0F, 2: 0F38, 3: 0F3A; VEX and EVEX: mmmmm */
	u8 pp;	 /* 0: none, 1: 66, 2: F3, 3: F2 */
	u8 opcode;
	u8 w;
	u8 l; /* VEX.L, EVEX.L'L */
	u8 b; /* EVEX.b */
	u8 modrm;
};

/* The fields a form leaves open. */
struct opcode_fill {
	u8 rxb;	   /* REX.RXB, not inverted */
	u8 r2;	   /* EVEX.R', not inverted */
	u8 vvvv;   /* not inverted */
	u8 v2;	   /* EVEX.V', not inverted */
	u8 aaa, z; /* EVEX mask */
	bool rex;  /* REX even when empty */
	bool long_mode;
};

/* Into b (room for 15): from the mandatory prefix to ModRM. Bytes written. */
unsigned opcode_put(const struct opcode_form *f, const struct opcode_fill *fill, u8 *b);
/* An instruction of the form, into b (15 zeroes); false: in this mode it is another form's. */
bool opcode_example(const struct opcode_form *f, bool long_mode, u8 *b);
/* Each form once. */
void opcode_walk(void (*visit)(const struct opcode_form *f, void *arg), void *arg);

#endif

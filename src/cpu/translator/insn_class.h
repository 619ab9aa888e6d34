/* SPDX-License-Identifier: MIT */
/*
 * translator/insn_class.h: between insn.c, which takes an instruction apart, and insn_class.c, which says what an opcode is.
 */
#ifndef CPU_TRANSLATOR_INSN_CLASS_H
#define CPU_TRANSLATOR_INSN_CLASS_H

#include "cpu/translator/insn.h"

#define REX_W 8
#define REX_R 4
#define REX_X 2
#define REX_B 1

struct insn_cursor {
	const u8 *p, *end;
	bool lock, op16;
	bool address; /* prefix 67 */
	bool no_modrm;
	u8 rep;
};

/* By its opcode, map and prefixes: kind, attributes, and the operand size where that is a byte. */
void insn_classify(struct insn *in, struct insn_cursor *k);

#endif

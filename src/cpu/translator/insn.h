/* SPDX-License-Identifier: MIT */
/*
 * translator/insn.h: the guest's bytes of an instruction that Zydis has already accepted, taken
 * apart once more, quickly, and only as far as the translator carries the instruction out itself.
 * What insn_parse() does not know is left to the interpreter's handler; so the list of opcodes here
 * is one of what may be copied into generated code, and default deny stays the table's business.
 *
 * 64-bit code only.
 */
#ifndef CPU_TRANSLATOR_INSN_H
#define CPU_TRANSLATOR_INSN_H

#include "cpu/state.h"

enum insn_kind {
	INSN_OTHER, /* the interpreter's */
	INSN_RM,    /* ModRM: operands E (register or memory) and G (register, or part of the opcode) */
	INSN_REG,   /* the register in the opcode's low three bits */
	INSN_COPY,  /* registers that are the same in the host, and no memory */
	INSN_NOP,
	INSN_LEA,
	INSN_PUSH, INSN_PUSH_IMM, INSN_POP, INSN_LEAVE,
	INSN_JCC, INSN_JMP, INSN_CALL, INSN_RET, INSN_JMP_INDIRECT, INSN_CALL_INDIRECT,
};

/* INSN_RM's and INSN_REG's operands. */
#define E_READ	0x001
#define E_WRITE 0x002
#define G_READ	0x004
#define G_WRITE 0x008
#define NO_G	0x010 /* ModRM.reg belongs to the opcode */
#define BYTES	0x020 /* G, and E unless said otherwise, are 8 bits wide */
#define E_BYTE	0x040
#define E_WORD	0x080
#define E_DWORD 0x100
#define BY_CL	0x200
#define REG_ONLY 0x400 /* with a memory operand the interpreter's */

struct insn {
	u8 kind; /* enum insn_kind */
	u16 attr;
	u8 map;	   /* 0: one byte, 1: 0F */
	u8 opcode;
	u8 size;   /* operand size: 2, 4, 8; 1 with BYTES */
	u8 rex;	   /* 0: none */
	u8 rep;	   /* F2 or F3 that belongs to the opcode, or 0 */
	bool lock; /* prefix F0 */
	bool locked; /* one access for others to see: that, or XCHG with memory */
	bool mem;
	u8 reg, rm; /* ModRM's, with REX */
	s8 base, index; /* guest registers; -1: none */
	u8 scale;
	u8 seg;	   /* SEG_FS, SEG_GS or 0 */
	bool riprel;
	s64 disp;  /* displacement, or the absolute address where riprel */
	const u8 *imm;
	u8 nimm;
};

/* next: rip of the instruction after it. */
void insn_parse(const u8 *bytes, u8 len, u64 next, struct insn *in);

/* Bytes that the memory operand has. */
u32 insn_memory_size(const struct insn *in);
/* The immediate, sign-extended. */
s64 insn_imm(const struct insn *in);
/* Does it read memory? */
bool insn_loads(const struct insn *in);
/* Does it name AH, CH, DH or BH? */
bool insn_has_high_byte(const struct insn *in);

#endif

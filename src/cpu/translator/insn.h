/* SPDX-License-Identifier: MIT */
/*
 * translator/insn.h: the guest's bytes of an instruction that Zydis has already accepted, taken
 * apart once more, quickly, and only as far as the translator carries the instruction out itself.
 * What insn_parse() does not know is left to the interpreter's handler; so the list of opcodes here
 * is one of what may be copied into generated code, and default deny stays the table's business.
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
	INSN_VECTOR, INSN_VZEROUPPER, /* found by tr_vector_look() */
	INSN_SYSTEM, /* system.c: which one says in->sys */
	INSN_VEX,   /* ModRM and VEX.vvvv: general registers and a source in memory (bmi.c) */
	INSN_PUSH, INSN_PUSHF, INSN_PUSH_IMM, INSN_PUSH_MEM, INSN_POP, INSN_LEAVE,
	INSN_JCC, INSN_JMP, INSN_CALL, INSN_RET, INSN_JMP_INDIRECT, INSN_CALL_INDIRECT,
};

/* INSN_SYSTEM. SYS_FROM_CR is MOV from CR0, CR2, CR3 or CR4, which in->reg says, to in->rm. */
enum insn_system {
	SYS_CLI, SYS_STI, SYS_CLD, SYS_SWAPGS, SYS_RDTSC, SYS_RDTSCP, SYS_FROM_CR, SYS_STAC, SYS_CLAC,
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
#define V_READ	0x800 /* INSN_VEX's third operand */
#define V_WRITE 0x1000
#define E_PAIR	0x4000 /* E is two words; RCX:RBX is what may be put there */
#define FAULTS	0x2000 /* whatever its operands are */

struct insn {
	u8 kind; /* enum insn_kind */
	u8 sys;	 /* enum insn_system */
	u16 attr;
	u8 map;	   /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
	u8 opcode;
	u8 size;   /* operand size: 2, 4, 8; 1 with BYTES */
	u8 rex;	   /* 0: none */
	u8 rep;	   /* 66, F2 or F3 that belongs to the opcode, or 0 */
	u8 pp, vvvv; /* INSN_VEX: those fields, the latter as a register's number */
	bool lock; /* prefix F0 */
	bool locked; /* one access for others to see: that, or XCHG with memory */
	bool mem;
	bool code32; /* addresses have 32 bits, and so do words on the stack */
	u8 reg, rm; /* ModRM's, with REX */
	s8 base, index; /* guest registers; -1: none */
	u8 scale;
	u8 seg;	   /* SEG_FS, SEG_GS or 0 */
	s64 disp;  /* displacement, or the absolute address where there is neither base nor index */
	const u8 *imm;
	u8 nimm;
	u16 writes; /* INSN_VECTOR: general registers, a bit each */
};

/* next: rip of the instruction after it; code32: flat 32-bit code, else 64-bit code. */
void insn_parse(const u8 *bytes, u8 len, u64 next, bool code32, struct insn *in);

/* Bytes that the memory operand has. */
u32 insn_memory_size(const struct insn *in);
/* The immediate, sign-extended. */
s64 insn_imm(const struct insn *in);
/* Does it read memory? Does its memory operand change? */
bool insn_loads(const struct insn *in);
bool insn_stores(const struct insn *in);
/* Is its memory operand at a distance from RSP? */
bool insn_on_stack(const struct insn *in);
/* Is it a kind that is carried out in line, and does nothing besides what the functions here tell? */
bool insn_in_line(const struct insn *in);
/* General registers that it may change, a bit each. */
u16 insn_writes(const struct insn *in);
/* bmi.c: an INSN_VEX's opcode and operand size, to be judged by its map and pp. ModRM.reg is given. */
void insn_classify_vex(struct insn *in, u8 reg);
/* Does it name AH, CH, DH or BH? */
bool insn_has_high_byte(const struct insn *in);

#endif

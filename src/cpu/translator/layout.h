/* SPDX-License-Identifier: MIT */
/*
 * translator/layout.h: which host register holds what while generated code runs, and how generated
 * code addresses the vCPU. Used by the emitter and by the assembly in enter.c.
 *
 *	guest			host
 *	RAX RDX RBX RBP RSI RDI	the same: implied by MUL, CQO and the like; AH, BH and DH can be
 *	R8 R9			encoded in RAX, RBX and RDX only
 *	RCX			R13: RCX is what JRCXZ looks at, the one branch without flags
 *	RSP			R12
 *	R12 R13			R10 R11: compilers keep values in them across calls
 *	R10 R11 R14 R15		memory
 *	status flags		the host's
 *
 * RCX, R14 and R15 are scratch. RSP is GEN_SP bytes into struct cpu: a signal's frame goes below
 * the red zone, which ends below the struct, and what is hot is an 8-bit displacement away. A CALL
 * in generated code pushes its return address over c->rip, which means nothing there.
 */
#ifndef CPU_TRANSLATOR_LAYOUT_H
#define CPU_TRANSLATOR_LAYOUT_H

#define GEN_SP 144

/* Offsets in struct cpu for the assembly; enter.c asserts that they are right. */
#define OFF_RIP	   136
#define OFF_AF	   144
#define OFF_SP	   200
#define OFF_HELPER 208
#define OFF_RESUME 232
#define OFF_TMP0   304
#define OFF_TMP1   312
#define OFF_TMP2   320
#define OFF_GEN_AF 424

#define GEN_LA	  R15 /* scratch: a linear address, then a host one's base */
#define GEN_INDEX R14 /* scratch: index into the TLB, then the distance to the host address */
#define GEN_CHECK RCX /* scratch: zero where the lookup hits */

#define IN_MEMORY (-1)

#endif

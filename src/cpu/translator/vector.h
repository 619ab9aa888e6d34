/* SPDX-License-Identifier: MIT */
/*
 * translator/vector.h: the guest's vector state in the host's registers.
 *
 * XMM, YMM and ZMM registers 0 to 15 and MXCSR are one part of it, ZMM registers 16 to 31 and the mask
 * registers the other. A part is either in struct cpu or in the host's registers, and `cpu->vec` says
 * which. Generated code brings in what a block needs, and it stays there from block to block. C code
 * always finds everything in struct cpu: what is in registers is stored before it is called, and loaded
 * again when it returns to generated code. C may unwind: then it stays stored.
 */
#ifndef CPU_TRANSLATOR_VECTOR_H
#define CPU_TRANSLATOR_VECTOR_H

#include "cpu/translator/translate.h"

enum vector_part {
	VECTOR_LOW = 1,	 /* registers 0 to 15, MXCSR */
	VECTOR_HIGH = 2, /* registers 16 to 31, k0 to k7 */
};

/* Store the parts that are in registers; which ones (enum vector_part). */
unsigned tr_vectors_out(struct cpu *c);
/* Load these, and those that generated code has asked for meanwhile. */
void tr_vectors_in(struct cpu *c, unsigned parts);
/* From the helper: these parts are to be loaded before generated code goes on. */
void tr_vectors_want(struct cpu *c, unsigned parts);

/* Op number `op` of the block, whose bytes these are, if native/ runs it by a stub: in x->insn it becomes
 * INSN_VECTOR or INSN_VZEROUPPER. */
void tr_vector_look(struct xlate *x, u32 op, const u8 *bytes);
/* The op at hand, if it was found to be one. False: its handler's. */
bool tr_vector(struct xlate *x, const struct insn *in);

#endif

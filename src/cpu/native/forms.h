/* SPDX-License-Identifier: MIT */
/*
 * native/forms.h: the decode functions of native/ for the table, one per kind of instruction.
 * Each takes the forms of a mnemonic that it knows and refuses the rest.
 */
#ifndef CPU_NATIVE_FORMS_H
#define CPU_NATIVE_FORMS_H

#include "cpu/native/stub.h"

/* Registers and at most one ordinary memory operand; native_decode() for those that neither read
 * nor write MXCSR, this for those that do. */
bool native_decode_fp(struct decoder *d, struct op *op);
/* x87 arithmetic, loads and stores. */
bool native_decode_x87(struct decoder *d, struct op *op);
/* The same, not waiting for pending exceptions. */
bool native_decode_x87_c(struct decoder *d, struct op *op);
/* In C, each with its own file. */
bool native_decode_emms(struct decoder *d, struct op *op);
bool native_decode_vzero(struct decoder *d, struct op *op);
op_fn native_vzeroupper;
bool native_decode_mxcsr(struct decoder *d, struct op *op);
bool native_decode_maskmov(struct decoder *d, struct op *op);
bool native_decode_vmaskmov(struct decoder *d, struct op *op);
bool native_decode_gather(struct decoder *d, struct op *op);
bool native_decode_scatter(struct decoder *d, struct op *op);
bool native_decode_fxsave(struct decoder *d, struct op *op);
bool native_decode_xsave(struct decoder *d, struct op *op);
bool native_decode_xcr(struct decoder *d, struct op *op);

/*
 * Is the unit the instruction needs switched on? NULL, or the handler that raises what the
 * processor raises: #UD before #NM (SDM vol. 3, table 2-11 and 13.1).
 */
op_fn *native_trap(const struct decoder *d, enum native_unit unit, bool avx512);
op_fn native_raise_ud, native_raise_nm;

/* The (only) memory operand, or NULL; fills op's memory fields, r0 with its bytes. */
const ZydisDecodedOperand *native_memory(struct decoder *d, struct op *op);
/* Bytes a memory operand must be aligned to, less one. */
u8 native_alignment(const struct decoder *d, const ZydisDecodedOperand *o);

/* op->aux of a form whose memory elements are masked; see masked.c. */
bool native_masked(const struct decoder *d, const ZydisDecodedOperand *mem, bool fp,
		   struct op *op);

/* Handlers of MMX stubs, and the change to MMX state by hand. */
op_fn native_mmx_reg, native_mmx_load, native_mmx_store;
void native_mmx_enter(struct cpu *c);

/* x87 fields of c->fx (FXSAVE's layout, SDM vol. 1, 10.5.1). */
#define FX_FCW	0
#define FX_FSW	2
#define FX_FTW	4 /* one bit per physical register: not empty */
#define FX_FOP	6
#define FX_FIP	8
#define FX_FDP	16
#define FX_MXCSR 24
#define FX_MXCSR_MASK 28
#define FX_ST	32
#define FX_XMM	160

#define FCW_INIT 0x037f /* what FNINIT sets */

#define FSW_ES 0x0080
#define FSW_B  0x8000
#define FSW_TOP 0x3800

static inline u16 *native_fx16(struct cpu *c, u32 at)
{
	return (u16 *)(c->fx + at);
}

/* Instructions that wait report an exception a former one left pending. */
void native_check_mf(struct cpu *c, const struct op *o);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * interpreter/families.h: the decode functions of the integer families, for the table.
 */
#ifndef CPU_INTERPRETER_FAMILIES_H
#define CPU_INTERPRETER_FAMILIES_H

#include "cpu/code/decode.h"

decode_fn decode_alu, decode_unary, decode_shift, decode_double_shift, decode_muldiv,
	decode_sign_extend;				   /* alu, unary, shift, muldiv */
decode_fn decode_mov, decode_widen, decode_movbe, decode_bswap, decode_cmov, decode_setcc,
	decode_lea, decode_xlat;			   /* mov.c */
decode_fn decode_xchg, decode_xchg_r8, decode_xadd, decode_cmpxchg, decode_cmpxchg_wide; /* xchg.c */
decode_fn decode_bt, decode_scan, decode_crc32;		   /* bits.c */
decode_fn decode_bmi, decode_rorx, decode_mulx, decode_adx, decode_random; /* bmi.c */
decode_fn decode_push, decode_pop, decode_pusha, decode_enter, decode_leave; /* stack.c */
decode_fn decode_jmp, decode_call, decode_ret, decode_jcc, decode_jcxz, decode_loop; /* branch.c */
decode_fn decode_string;				   /* string.c */
decode_fn decode_legacy, decode_bound;			   /* legacy.c */
decode_fn decode_nop, decode_pause, decode_fence, decode_cache, decode_ud, decode_flag; /* misc.c */

#endif

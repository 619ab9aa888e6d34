/* SPDX-License-Identifier: MIT */
/*
 * system/decode.h: decode functions of system forms whose mnemonic has integer forms too. The
 * integer family owns those mnemonics' table lines and hands the forms named here over.
 */
#ifndef CPU_SYSTEM_DECODE_H
#define CPU_SYSTEM_DECODE_H

#include "cpu/code/decode.h"

/* MOV whose either operand is a segment, control or debug register. */
decode_fn system_decode_mov;
/* PUSH or POP of a segment register. */
decode_fn system_decode_push_seg, system_decode_pop_seg;
/* JMP, CALL and RET with branch_type FAR (immediate pointer or memory). */
decode_fn system_decode_far_jump, system_decode_far_call, system_decode_far_return;

/*
 * May the current program use these ports (IOPL, the TSS's permission bitmap; SDM vol. 1, 19.5)?
 * Raises #GP(0) if not. c->op is the current op. For IN, OUT, INS and OUTS.
 */
void io_check(struct cpu *c, u16 port, u32 size);

#endif

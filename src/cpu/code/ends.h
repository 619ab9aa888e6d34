/* SPDX-License-Identifier: MIT */
/*
 * code/ends.h: the ops the decoder adds of its own.
 */
#ifndef CPU_CODE_ENDS_H
#define CPU_CODE_ENDS_H

#include "cpu/code/op.h"

/* The block is over, go on at o->disp: nothing that matters has changed ... */
op_fn op_end;
/* ... or the key, the mapping or the shadow may have. */
op_fn op_end_sync;
/* Behind an instruction that may be in STI's shadow: it ends, and an interrupt may be due. */
op_fn op_end_shadow;
/* Raise vector o->imm. */
op_fn op_raise;

#endif

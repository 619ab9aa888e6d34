/* SPDX-License-Identifier: MIT */
/*
 * interpreter/ends.h: the ops the decoder adds of its own.
 */
#ifndef CPU_INTERPRETER_ENDS_H
#define CPU_INTERPRETER_ENDS_H

#include "cpu/interpreter/op.h"

/* The block is over, go on at o->disp: nothing that matters has changed ... */
op_fn op_end;
/* ... or the key, the mapping or the shadow may have. */
op_fn op_end_sync;
/* Raise vector o->imm. */
op_fn op_raise;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * native/run.h: the handlers that run a stub. op->imm is the stub; with a memory operand, r0 is
 * its bytes and r1 its alignment less one.
 */
#ifndef CPU_NATIVE_RUN_H
#define CPU_NATIVE_RUN_H

#include "cpu/native/stub.h"

op_fn native_run_reg, native_run_reg_fp;
op_fn native_run_load, native_run_load_fp;
op_fn native_run_store, native_run_store_fp;
op_fn native_run_masked;
op_fn native_run_uncached; /* needs no stub: makes one each time */

#endif

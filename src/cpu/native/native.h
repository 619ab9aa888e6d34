/* SPDX-License-Identifier: MIT */
/*
 * native/native.h: instructions carried out by themselves. A stub of generated code loads the
 * registers the instruction names from struct cpu, executes the very instruction with its memory
 * operand redirected to a host pointer, and stores back what it wrote. Used for x87, MMX, SSE,
 * AVX, AVX-512, AES, SHA, BMI and the like: none is re-implemented.
 *
 * Stubs live in a code cache mapped twice (write, execute), shared by the process, keyed by the
 * instruction's bytes without displacement; a host fault in one unwinds to the guest instruction.
 */
#ifndef CPU_NATIVE_NATIVE_H
#define CPU_NATIVE_NATIVE_H

#include "cpu/interpreter/decode.h"

/* Once per process. 0 or -errno (a system that refuses executable memfds). */
int native_init(void);
/* At the start of cpu_run(): take down the thread's own MXCSR and x87 control word, which every
 * stub that changes them puts back. Reading them around each would cost more than the stub. */
void native_enter(struct cpu *c);
/* The decode function behind every CLASS_NATIVE line. */
bool native_decode(struct decoder *d, struct op *op);

#endif
